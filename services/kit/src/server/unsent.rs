//! The bytes of answers that peers have not taken yet. `IN_FLIGHT_MAX` does not bound them,
//! because their requests are over, so they have a limit of their own: beyond it, the connections
//! that have had unsent answers longest are closed.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The limit for all connections: far above one answer.
pub(super) const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The sum over all connections.
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

    pub(super) fn add(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > UNSENT_BYTES_MAX {
            self.limit_exceeded.notify_one();
        }
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
