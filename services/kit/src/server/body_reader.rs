//! Bodies on their way in. A request takes its place among those that are in only when its body is
//! there, so that whoever sends one slowly, or never, is in nobody's way.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::problem::Problem;
use crate::RequestContext;

/// Far above what any route of ours is sent.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// One for all connections.
pub(crate) struct Arrivals {
    /// How long one may take.
    time: Duration,
    /// How many may be waited for: memory is bounded by it.
    waiting_max: usize,
    waiting: Mutex<Waiting>,
}

/// By their order. Who loses its sender gives way.
#[derive(Default)]
struct Waiting {
    next: u64,
    senders: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

impl Arrivals {
    pub(crate) fn new(time: Duration, waiting_max: usize) -> Self {
        Self {
            time,
            waiting_max,
            waiting: Mutex::default(),
        }
    }

    /// The whole body. What does not come in time, or has been waited for longest where too many
    /// are, is the caller's fault.
    pub(crate) async fn whole(
        &self,
        body: Body,
        context: &RequestContext,
    ) -> Result<Bytes, Problem> {
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let mut reading = pin!(read(body));
        // Nearly every body comes together with its head.
        if let Some(read) = poll_immediate(&mut reading).await {
            return read;
        }
        let until = context.deadline().min(context.began() + self.time);
        let (_place, gives_way) = self.wait();
        tokio::select! {
            biased;
            read = reading => return read,
            _ = gives_way => {}
            () = sleep_until(until) => {}
        }
        let detail = "the body did not come in time";
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    }

    /// The one that has been waited for longest gives way to the newest: a body that is under way
    /// arrives before so many others have come.
    fn wait(&self) -> (Place<'_>, oneshot::Receiver<Infallible>) {
        let (sender, gives_way) = oneshot::channel();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.senders.insert(number, sender);
        if waiting.senders.len() > self.waiting_max {
            waiting.senders.pop_first();
        }
        let arrivals = self;
        (Place { arrivals, number }, gives_way)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Place<'a> {
    arrivals: &'a Arrivals,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.arrivals.lock().senders.remove(&self.number);
    }
}

/// Pieces are copied together: each by itself would keep the buffer that it was read into. They never
/// take more than the largest body.
async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body could not be read"))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let bytes = whole.len() + piece.len();
        if bytes > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        whole.reserve_exact(bytes.next_power_of_two() - whole.len());
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
}
