//! What the process is at: starting, ready or draining. The server moves it, health and the
//! inbound stack look at it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;

#[derive(Clone, Default)]
pub struct Lifecycle(Arc<State>);

#[derive(Default)]
struct State {
    /// Set once, when the start is over; holds the revision where ECS told it.
    ready: OnceLock<Option<HeaderValue>>,
    draining: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Draining,
}

impl Lifecycle {
    /// The start is over. `task_revision` is ECS's `family:n`, if this is a task of ECS.
    pub fn ready(&self, task_revision: Option<HeaderValue>) {
        self.0.ready.get_or_init(|| task_revision);
    }

    /// From now on health says no, and connections are asked to close.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.0.draining.load(Ordering::Relaxed) {
            Phase::Draining
        } else if self.0.ready.get().is_some() {
            Phase::Ready
        } else {
            Phase::Starting
        }
    }

    pub(crate) fn task_revision(&self) -> Option<&HeaderValue> {
        self.0.ready.get()?.as_ref()
    }
}
