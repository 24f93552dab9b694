//! What one connection is doing: which requests are in flight, since when it is idle, and how much
//! of its answers the peer has not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::unsent::UnsentBytes;

/// How long a new connection may take until the head of its first request is complete.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for each further request, counted from the last answer. It is above the 60 s for which
/// AWS's load balancers keep an idle connection by default: the side that asks has to close first,
/// or it asks on a connection that is being closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The state of one connection. A request updates it with a few atomic operations and no timer.
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// When the last answer was made, in milliseconds since `opened`; 0 before the first one.
    answered_ms: AtomicU64,
    /// Whether the last answer may have been made before its body was read to the end.
    unread: AtomicBool,
    unsent_total: Arc<UnsentBytes>,
    unsent_bytes: AtomicUsize,
    /// Since when there has been an unsent answer without interruption, as `answered_ms`.
    unsent_since_ms: AtomicU64,
}

impl Activity {
    pub(super) fn new(unsent_total: Arc<UnsentBytes>) -> Self {
        Self {
            unsent_total,
            unsent_bytes: AtomicUsize::new(0),
            unsent_since_ms: AtomicU64::new(0),
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            answered_ms: AtomicU64::new(0),
            unread: AtomicBool::new(false),
        }
    }

    pub(super) fn requests_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// `None` while a request is in flight.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let answered = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        (self.requests_in_flight() == 0).then(|| self.opened + answered)
    }

    pub(super) fn note_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }

    /// Whether the last answer may have been made before its request's body was read to the end.
    pub(super) fn may_have_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Counts an answer that has just been made.
    pub(super) fn add_unsent(&self, bytes: usize) {
        let had = self.unsent_bytes.fetch_add(bytes, Ordering::Relaxed);
        if had == 0 {
            let answered_ms = self.answered_ms.load(Ordering::Relaxed);
            self.unsent_since_ms.store(answered_ms, Ordering::Relaxed);
        }
        self.unsent_total.add(had, bytes);
    }

    pub(super) fn remove_unsent(&self, bytes: usize) {
        let had = self.unsent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.unsent_total.remove(had, bytes);
    }

    /// Bytes of answers that the peer has not taken, and since when there have been any.
    pub(super) fn unsent(&self) -> (usize, Instant) {
        let since = Duration::from_millis(self.unsent_since_ms.load(Ordering::Relaxed));
        (
            self.unsent_bytes.load(Ordering::Relaxed),
            self.opened + since,
        )
    }

    /// Completes when the connection has been idle for too long.
    pub(super) async fn idle_timeout(&self) {
        loop {
            let limit = match self.answered_ms.load(Ordering::Relaxed) {
                0 => FIRST_REQUEST_TIMEOUT,
                _ => IDLE_TIMEOUT,
            };
            match self.idle_since() {
                None => sleep(limit).await,
                Some(since) if since.elapsed() < limit => sleep_until(since + limit).await,
                Some(_) => return,
            }
        }
    }
}

/// A request of the connection, until it is answered or given up.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let elapsed = self.0.opened.elapsed().as_millis();
        let answered_ms = u64::try_from(elapsed).unwrap_or(u64::MAX).max(1);
        self.0.answered_ms.store(answered_ms, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
