//! Answers that whoever asked has not taken yet. Their requests are over and hold no place, so what
//! they keep of the memory has a limit of its own: beyond it, the connections that have kept some
//! of it longest are closed.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Far above one answer of ours.
pub(super) const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

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
