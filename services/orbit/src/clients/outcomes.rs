//! How the calls to one target end: counted as the metric `calls`, and noted on the access line of
//! the request.

use std::sync::Arc;

use service_kit::outbound::CallError;
use service_kit::{Counter, Metrics, RequestContext};

/// The outcomes of calls to any target in which the target did not answer.
const UNANSWERED: [&str; 4] = [TIMEOUT, BREAKER_OPEN, DEADLINE, CALLERS_DEADLINE];
const TIMEOUT: &str = "timeout";
const BREAKER_OPEN: &str = "breaker_open";
/// The deadline of the request that the call was made for passed.
const DEADLINE: &str = "deadline";
/// The same where the caller set the deadline, which is no failure of the target.
const CALLERS_DEADLINE: &str = "callers_deadline";

#[derive(Clone)]
pub(crate) struct Outcomes {
    target: &'static str,
    counters: Arc<[(&'static str, Counter)]>,
}

impl Outcomes {
    /// `answered` are the outcomes of calls that the target answered. Every counter exists from the
    /// start, so that each metric is reported as 0 before its first event.
    pub(crate) fn new(target: &'static str, answered: &[&'static str], metrics: &Metrics) -> Self {
        let counter = |outcome: &&'static str| {
            // Leaked: the program names a few outcomes, and makes their counters once.
            let dimensions = Box::leak(Box::new([("target", target), ("outcome", *outcome)]));
            (*outcome, metrics.counter("calls", dimensions))
        };
        Self {
            target,
            counters: answered.iter().chain(&UNANSWERED).map(counter).collect(),
        }
    }

    /// `of_answer` and `of_failure` say which outcome an answer, or a failure of the target's
    /// own, is.
    pub(crate) fn record<T, E>(
        &self,
        context: &RequestContext,
        result: &Result<T, CallError<E>>,
        of_answer: impl FnOnce(&T) -> &'static str,
        of_failure: impl FnOnce(&E) -> &'static str,
    ) {
        let outcome = match result {
            Ok(answer) => of_answer(answer),
            Err(CallError::Failed(error)) => of_failure(error),
            Err(CallError::Timeout(_)) => TIMEOUT,
            Err(CallError::BreakerOpen { .. }) => BREAKER_OPEN,
            Err(CallError::Deadline) if context.deadline_is_callers() => CALLERS_DEADLINE,
            Err(CallError::Deadline) => DEADLINE,
        };
        context.note(self.target, outcome);
        let mut counters = self.counters.iter();
        if let Some((_, counter)) = counters.find(|(known, _)| *known == outcome) {
            counter.add(1);
        }
    }
}
