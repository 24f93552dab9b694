//! Reads request bodies before admission: a request counts as in flight only once its body is
//! complete, so that slow or stalled uploads do not use up `IN_FLIGHT_MAX`.

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
use crate::{Metrics, Peak, RequestContext, Unit};

/// Far above what any route of ours receives.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Shared by all connections.
pub(crate) struct BodyReader {
    /// The time limit of one body.
    time_limit: Duration,
    /// The maximum number of incomplete bodies, which bounds the memory.
    incomplete_max: usize,
    incomplete: Mutex<IncompleteBodies>,
    /// How many there are: requests that wait before they are admitted.
    peak: Peak,
}

/// By arrival. A body whose sender is dropped is given up.
#[derive(Default)]
struct IncompleteBodies {
    next: u64,
    senders: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

impl BodyReader {
    pub(crate) fn new(time_limit: Duration, incomplete_max: usize, metrics: &Metrics) -> Self {
        Self {
            time_limit,
            incomplete_max,
            incomplete: Mutex::default(),
            peak: metrics.peak("incomplete_bodies", Unit::Count),
        }
    }

    /// The whole body. 413 where it is too large; 408 where it is not complete in time, or is the
    /// oldest of too many incomplete bodies.
    pub(crate) async fn read(
        &self,
        body: Body,
        context: &RequestContext,
    ) -> Result<Bytes, Problem> {
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let mut reading = pin!(collect(body));
        // Nearly every body arrives together with its head.
        if let Some(read) = poll_immediate(&mut reading).await {
            return read;
        }
        let until = context.deadline().min(context.began() + self.time_limit);
        let (_slot, evicted) = self.register();
        tokio::select! {
            biased;
            read = reading => return read,
            _ = evicted => {}
            () = sleep_until(until) => {}
        }
        let detail = "the body did not come in time";
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    }

    /// Evicts the oldest incomplete body where there are too many: one that is being sent at a
    /// normal pace is complete before so many others arrive.
    fn register(&self) -> (IncompleteSlot<'_>, oneshot::Receiver<Infallible>) {
        let (sender, evicted) = oneshot::channel();
        let mut incomplete = self.lock();
        let number = incomplete.next;
        incomplete.next += 1;
        incomplete.senders.insert(number, sender);
        if incomplete.senders.len() > self.incomplete_max {
            incomplete.senders.pop_first();
        }
        self.peak.set(incomplete.senders.len() as u64);
        let reader = self;
        (IncompleteSlot { reader, number }, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, IncompleteBodies> {
        self.incomplete
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct IncompleteSlot<'a> {
    reader: &'a BodyReader,
    number: u64,
}

impl Drop for IncompleteSlot<'_> {
    fn drop(&mut self) {
        let mut incomplete = self.reader.lock();
        incomplete.senders.remove(&self.number);
        self.reader.peak.set(incomplete.senders.len() as u64);
    }
}

/// Copies the frames of a body into one buffer of at most `BODY_BYTES_MAX`: each frame would keep
/// the buffer alive that it was read into.
async fn collect(mut body: Body) -> Result<Bytes, Problem> {
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
