//! Guards the calls to one target by the deadline, retries within a budget, the breaker and the
//! time limit of one attempt. The caller supplies the attempt.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tower::retry::budget::{Budget as _, TpsBudget};

use super::breaker::{Breaker, BreakerOpenError, TimeLeft};
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
    breaker: Breaker,
    budget: TpsBudget,
    jitter: Jitter,
    retries: Counter,
    budget_exhausted: Counter,
}

impl Guard {
    pub(super) fn new(name: &'static str, attempt_timeout: Duration, metrics: &Metrics) -> Self {
        Self::with_jitter(name, attempt_timeout, metrics, full_jitter)
    }

    fn with_jitter(
        name: &'static str,
        attempt_timeout: Duration,
        metrics: &Metrics,
        jitter: Jitter,
    ) -> Self {
        let budget = TpsBudget::new(BUDGET_WINDOW, BUDGET_MIN_PER_SECOND, BUDGET_SHARE);
        Self {
            attempt_timeout,
            breaker: Breaker::new(name, metrics),
            budget,
            jitter,
            retries: metrics.counter("retries", of_target(name)),
            budget_exhausted: metrics.counter("retry_budget_exhausted", of_target(name)),
        }
    }

    /// Retries the attempt as far as its outcome, the deadline, the budget and the breaker allow,
    /// and returns the last result. `attempt` gets the time at which it is cut off; `outcome`
    /// classifies its result.
    pub(super) async fn call<T, E, F>(
        &self,
        deadline: Instant,
        is_repeatable: bool,
        attempt: impl Fn(Instant) -> F,
        outcome: impl Fn(&Result<T, E>) -> AttemptOutcome,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut last = self.attempt(deadline, &attempt, &outcome).await;
        if last.0 != AttemptOutcome::Abandoned {
            self.budget.deposit();
        }
        for retry in 0..ATTEMPTS_MAX - 1 {
            if !last.0.is_retried(is_repeatable) {
                break;
            }
            let pause = pause(retry, last.0, self.jitter);
            let fits = Instant::now() + pause < deadline;
            if !fits || self.breaker.is_open() || !self.withdraw() {
                break;
            }
            sleep(pause).await;
            match self.attempt(deadline, &attempt, &outcome).await {
                // The result before it says more.
                (_, Err(CallError::BreakerOpen { .. })) => break,
                next => last = next,
            }
        }
        last.1
    }

    async fn attempt<T, E, F>(
        &self,
        deadline: Instant,
        attempt: &impl Fn(Instant) -> F,
        outcome: &impl Fn(&Result<T, E>) -> AttemptOutcome,
    ) -> (AttemptOutcome, Result<T, CallError<E>>)
    where
        F: Future<Output = Result<T, E>>,
    {
        let now = Instant::now();
        if deadline <= now {
            return (AttemptOutcome::Abandoned, Err(CallError::Deadline));
        }
        let time = if deadline - now < self.attempt_timeout {
            TimeLeft::Short
        } else {
            TimeLeft::Whole
        };
        let permit = match self.breaker.permit(now, time) {
            Ok(permit) => permit,
            Err(BreakerOpenError { retry_after }) => {
                return (
                    AttemptOutcome::Abandoned,
                    Err(CallError::BreakerOpen { retry_after }),
                );
            }
        };
        let until = deadline.min(now + self.attempt_timeout);
        let ended = timeout_at(until, pin!(attempt(until))).await.ok();
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
            permit.record(outcome.is_failure(), Instant::now());
        }
        (outcome, result)
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

#[cfg(test)]
mod tests;
