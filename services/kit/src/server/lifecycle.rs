//! The phase of the process: starting, ready or draining. The program and the server set it; health
//! and the inbound stack read it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;

/// Clones share one phase.
#[derive(Clone, Default)]
pub struct Lifecycle(Arc<LifecycleState>);

#[derive(Default)]
struct LifecycleState {
    /// Set once, when the service is ready; holds the task revision that ECS reports.
    ready: OnceLock<Option<HeaderValue>>,
    draining: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifecyclePhase {
    Starting,
    Ready,
    Draining,
}

impl Lifecycle {
    /// Marks the service as ready. `task_revision` is ECS's `family:n`; `None` outside ECS.
    pub fn ready(&self, task_revision: Option<HeaderValue>) {
        self.0.ready.get_or_init(|| task_revision);
    }

    /// From now on `/health` answers 503, and responses ask for the connection to be closed.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> LifecyclePhase {
        if self.0.draining.load(Ordering::Relaxed) {
            LifecyclePhase::Draining
        } else if self.0.ready.get().is_some() {
            LifecyclePhase::Ready
        } else {
            LifecyclePhase::Starting
        }
    }

    pub(crate) fn task_revision(&self) -> Option<&HeaderValue> {
        self.0.ready.get()?.as_ref()
    }
}
