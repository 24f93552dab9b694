//! What is logged, and what is logged while somebody looks closer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Metadata, callsite};
use tracing_subscriber::filter::Targets;

/// Clones switch together.
#[derive(Clone)]
pub struct LogLevels(Arc<LevelsInner>);

struct LevelsInner {
    usual: Targets,
    raised: Targets,
    is_raised: AtomicBool,
}

impl LogLevels {
    pub fn new(usual: Targets, raised: Targets) -> Self {
        Self(Arc::new(LevelsInner {
            usual,
            raised,
            is_raised: AtomicBool::new(false),
        }))
    }

    /// What is not logged costs a request nothing, because each place in the code remembers it;
    /// here they are asked to look again.
    pub fn raise(&self, is_raised: bool) {
        if self.0.is_raised.swap(is_raised, Ordering::Relaxed) != is_raised {
            callsite::rebuild_interest_cache();
        }
    }

    pub(super) fn would_enable(&self, metadata: &Metadata<'_>) -> bool {
        let levels = if self.0.is_raised.load(Ordering::Relaxed) {
            &self.0.raised
        } else {
            &self.0.usual
        };
        levels.would_enable(metadata.target(), metadata.level())
    }
}

/// The same, raised or not.
impl From<Targets> for LogLevels {
    fn from(levels: Targets) -> Self {
        Self::new(levels.clone(), levels)
    }
}
