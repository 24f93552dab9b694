//! The bytes of answers that peers have not taken yet. `IN_FLIGHT_MAX` does not bound them,
//! because their requests are over, so they have a limit of their own: beyond it, the connections
//! that have had unsent answers longest are closed. A little of each connection is not counted, so
//! that usual answers do not write a number that all connections share.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The limit for all connections: far above one answer.
pub(super) const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is not counted of each connection.
const UNCOUNTED_BYTES: usize = 4 * 1024;

/// The sum over all connections, without `UNCOUNTED_BYTES` of each.
#[derive(Default)]
pub(super) struct UnsentBytes {
    bytes: AtomicUsize,
    limit_exceeded: Notify,
}

impl UnsentBytes {
    /// Completes when the sum is above `UNSENT_BYTES_MAX`.
    pub(super) async fn limit_exceeded(&self) {
        self.limit_exceeded.notified().await;
    }

    /// Counts more bytes of a connection that had so many.
    pub(super) fn add(&self, had: usize, bytes: usize) {
        let more = counted(had + bytes) - counted(had);
        if more > 0 && self.bytes.fetch_add(more, Ordering::Relaxed) + more > UNSENT_BYTES_MAX {
            self.limit_exceeded.notify_one();
        }
    }

    /// The same with fewer.
    pub(super) fn remove(&self, had: usize, bytes: usize) {
        let less = counted(had) - counted(had - bytes);
        if less > 0 {
            self.bytes.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

fn counted(bytes: usize) -> usize {
    bytes.saturating_sub(UNCOUNTED_BYTES)
}
