//! How the calls to one target end: counted, and told on the access line of the request.

use std::sync::Arc;

use service_kit::{Counter, Metrics, RequestContext};

/// The deadline of the request that the call was for passed.
pub(super) const DEADLINE: &str = "deadline";
/// The same where the caller set it, which says nothing of whoever was called.
pub(super) const CALLERS_DEADLINE: &str = "callers_deadline";

#[derive(Clone)]
pub(crate) struct Outcomes {
    target: &'static str,
    counters: Arc<[(&'static str, Counter)]>,
}

impl Outcomes {
    /// Of all that there are, each one has its counter from the start.
    pub(crate) fn new(target: &'static str, outcomes: &[&'static str], metrics: &Metrics) -> Self {
        let counter = |outcome: &&'static str| {
            // There are as many as the program names, made at its start.
            let dimensions = Box::leak(Box::new([("target", target), ("outcome", *outcome)]));
            (*outcome, metrics.counter("calls", dimensions))
        };
        Self {
            target,
            counters: outcomes.iter().map(counter).collect(),
        }
    }

    pub(crate) fn record(&self, context: &RequestContext, outcome: &'static str) {
        let outcome = match outcome {
            DEADLINE if context.deadline_is_callers() => CALLERS_DEADLINE,
            outcome => outcome,
        };
        context.note(self.target, outcome);
        let mut counters = self.counters.iter();
        if let Some((_, counter)) = counters.find(|(known, _)| *known == outcome) {
            counter.add(1);
        }
    }
}
