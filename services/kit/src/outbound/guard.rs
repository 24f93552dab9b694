//! Guards the calls to one target by the deadline, retries within a budget, the choice of an
//! endpoint with its breaker, and the time limit of one attempt. The caller supplies the attempt.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tower::retry::budget::{Budget as _, TpsBudget};

use super::breaker::{BreakerOpenError, TimeLeft};
use super::endpoints::{Endpoint, Endpoints};
use super::retry::{ATTEMPTS_MAX, AttemptOutcome, Jitter, full_jitter, pause};
use crate::telemetry::metrics::of_target;
use crate::{Counter, Metrics};

/// How long a call counts for the budget.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Retries a second that need no calls: enough for the connections of a pool that a stopping target
/// closes.
const BUDGET_MIN_PER_SECOND: u32 = 10;
/// Retries for each call: a failing target gets at most this share more load, not three times the
/// load.
const BUDGET_SHARE: f32 = 0.2;

/// Why a call has no response. `E` is the error of an attempt.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    #[error("the deadline passed")]
    Deadline,
    #[error("the breaker is open")]
    BreakerOpen { retry_after: Duration },
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error(transparent)]
    Failed(E),
}

impl<E> CallError<E> {
    /// Applies `op` to the error of the target's own.
    pub fn map_failed<F>(self, op: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Deadline => CallError::Deadline,
            Self::BreakerOpen { retry_after } => CallError::BreakerOpen { retry_after },
            Self::Timeout(limit) => CallError::Timeout(limit),
            Self::Failed(error) => CallError::Failed(op(error)),
        }
    }
}

pub(super) struct Guard {
    attempt_timeout: Duration,
    endpoints: Endpoints,
    budget: TpsBudget,
    jitter: Jitter,
    retries: Counter,
    budget_exhausted: Counter,
}

/// How one attempt ended.
struct Attempted<T, E> {
    /// `None` where none was made.
    endpoint: Option<Arc<Endpoint>>,
    outcome: AttemptOutcome,
    result: Result<T, CallError<E>>,
}

impl Guard {
    pub(super) fn new(
        name: &'static str,
        attempt_timeout: Duration,
        endpoints: Endpoints,
        metrics: &Metrics,
    ) -> Self {
        let budget = TpsBudget::new(BUDGET_WINDOW, BUDGET_MIN_PER_SECOND, BUDGET_SHARE);
        Self {
            attempt_timeout,
            endpoints,
            budget,
            jitter: full_jitter,
            retries: metrics.counter("retries", of_target(name)),
            budget_exhausted: metrics.counter("retry_budget_exhausted", of_target(name)),
        }
    }

    /// Retries the attempt as far as its outcome, the deadline, the budget and the breakers allow,
    /// and returns the last result. `attempt` gets the endpoint and the time at which it is cut
    /// off; `outcome` classifies its result.
    pub(super) async fn call<T, E, F>(
        &self,
        deadline: Instant,
        is_repeatable: bool,
        attempt: impl Fn(Arc<Endpoint>, Instant) -> F,
        outcome: impl Fn(&Result<T, E>) -> AttemptOutcome,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut tried = Vec::new();
        let mut last = self
            .attempt(deadline, &tried, false, &attempt, &outcome)
            .await;
        if last.outcome != AttemptOutcome::Abandoned {
            self.budget.deposit();
        }
        for retry in 0..ATTEMPTS_MAX - 1 {
            // Most calls end here, without a list of what was tried.
            if !last.outcome.is_retried(is_repeatable, true) {
                break;
            }
            tried.extend(last.endpoint.take());
            let is_elsewhere = self.endpoints.has_another(&tried);
            if !last.outcome.is_retried(is_repeatable, is_elsewhere) {
                break;
            }
            let pause = pause(retry, last.outcome, is_elsewhere, self.jitter);
            let fits = Instant::now() + pause < deadline;
            if !fits || self.endpoints.is_open() || !self.withdraw() {
                break;
            }
            sleep(pause).await;
            let is_refused = last.outcome == AttemptOutcome::NotConnected;
            let next = self.attempt(deadline, &tried, is_refused, &attempt, &outcome);
            match next.await {
                // The result before it says more.
                Attempted {
                    result: Err(CallError::BreakerOpen { .. }),
                    ..
                } => break,
                next => last = next,
            }
        }
        last.result
    }

    async fn attempt<T, E, F>(
        &self,
        deadline: Instant,
        tried: &[Arc<Endpoint>],
        is_refused: bool,
        attempt: &impl Fn(Arc<Endpoint>, Instant) -> F,
        outcome: &impl Fn(&Result<T, E>) -> AttemptOutcome,
    ) -> Attempted<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let now = Instant::now();
        if deadline <= now {
            return Attempted::none(CallError::Deadline);
        }
        let time = if deadline - now < self.attempt_timeout {
            TimeLeft::Short
        } else {
            TimeLeft::Whole
        };
        let call = match self.endpoints.begin(now, time, tried, is_refused) {
            Ok(call) => call,
            Err(BreakerOpenError { retry_after }) => {
                return Attempted::none(CallError::BreakerOpen { retry_after });
            }
        };
        let endpoint = Arc::clone(&call.endpoint);
        let until = deadline.min(now + self.attempt_timeout);
        let ended = pin!(attempt(Arc::clone(&endpoint), until));
        let ended = timeout_at(until, ended).await.ok();
        let ended = ended.map(|result| (outcome(&result), result));
        let (outcome, result) =
            match ended.filter(|(outcome, _)| *outcome != AttemptOutcome::TimedOut) {
                Some((outcome, result)) => (outcome, result.map_err(CallError::Failed)),
                // The target had less than the time of an attempt, so it has not failed.
                None if time == TimeLeft::Short => {
                    (AttemptOutcome::Abandoned, Err(CallError::Deadline))
                }
                None => (
                    AttemptOutcome::TimedOut,
                    Err(CallError::Timeout(self.attempt_timeout)),
                ),
            };
        if outcome != AttemptOutcome::Abandoned {
            let is_refused = outcome == AttemptOutcome::NotConnected;
            call.record(outcome.is_failure(), is_refused, Instant::now());
        }
        Attempted {
            endpoint: Some(endpoint),
            outcome,
            result,
        }
    }

    /// Takes a retry from the budget; `false` where none is left.
    fn withdraw(&self) -> bool {
        let has_left = self.budget.withdraw();
        if has_left {
            self.retries.add(1);
        } else {
            self.budget_exhausted.add(1);
        }
        has_left
    }
}

impl<T, E> Attempted<T, E> {
    fn none(error: CallError<E>) -> Self {
        Self {
            endpoint: None,
            outcome: AttemptOutcome::Abandoned,
            result: Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
