//! Answers that whoever asked has not taken yet. Their requests are over and hold no place, so what
//! they keep of the memory has a limit of its own: beyond it, the connections that have kept some
//! of it longest are closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use super::connection::Activity;

/// Far above one answer of ours.
pub(super) const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What hyper is given at once. It asks for more when the peer has taken nearly all of it.
pub(super) const PIECE_BYTES: usize = 16 * 1024;
/// What an answer costs besides its body, about.
const ANSWER_BYTES: usize = 1024;

/// Of all connections.
#[derive(Default)]
pub(super) struct Unsent {
    bytes: AtomicUsize,
    too_much: Notify,
}

impl Unsent {
    /// Comes when it is more than `UNSENT_BYTES_MAX`.
    pub(super) async fn too_much(&self) {
        self.too_much.notified().await;
    }

    pub(super) fn add(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > UNSENT_BYTES_MAX {
            self.too_much.notify_one();
        }
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// An answer's body until hyper has taken all of it.
pub(super) struct Leaving {
    body: Body,
    /// Of a frame that is too large to be given at once.
    rest: Bytes,
    activity: Arc<Activity>,
    bytes: usize,
}

impl Leaving {
    pub(super) fn new(body: Body, activity: Arc<Activity>) -> Self {
        let known = usize::try_from(body.size_hint().lower()).unwrap_or(UNSENT_BYTES_MAX);
        let bytes = known.saturating_add(ANSWER_BYTES);
        activity.add_unsent(bytes);
        Self {
            body,
            rest: Bytes::new(),
            activity,
            bytes,
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.activity.remove_unsent(self.bytes);
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE_BYTES => self.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        // Copied: a part of it would keep the whole.
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = Bytes::copy_from_slice(&self.rest.split_to(bytes));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
