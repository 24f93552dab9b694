//! The body of an answer, counted as unsent until hyper has taken all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::activity::Activity;
use super::unsent::UNSENT_BYTES_MAX;

/// What hyper is given at once. It asks for more when the peer has taken nearly all of it.
pub(super) const PIECE_BYTES: usize = 16 * 1024;
/// About what an answer occupies besides its body.
const ANSWER_BYTES: usize = 1024;

/// Gives hyper at most `PIECE_BYTES` at once, and counts what is left in `Activity`.
pub(super) struct TrackedBody {
    body: Body,
    /// The rest of a frame that is larger than `PIECE_BYTES`.
    rest: Bytes,
    activity: Arc<Activity>,
    bytes: usize,
}

impl TrackedBody {
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

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.activity.remove_unsent(self.bytes);
    }
}

impl HttpBody for TrackedBody {
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
        // Copied: a slice would keep the whole frame in memory.
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
