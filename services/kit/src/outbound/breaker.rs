//! A circuit breaker: closed while calls succeed, open for a while after too many failures, then
//! half-open with single probes. Results of calls that began in an earlier phase are ignored.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics::of_target;
use crate::{Gauge, Metrics, Unit};

/// The window in which failures are counted, and its slots.
const WINDOW: Duration = Duration::from_secs(10);
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);
/// With fewer calls in the window it does not open: one failure would be a high rate.
const CALLS_MIN: u32 = 10;
/// It opens where at least one in so many calls fails.
const CALLS_PER_FAILURE: u32 = 2;
const OPEN_MIN: Duration = Duration::from_secs(1);
/// The open time doubles each time that a probe fails, up to here.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// The breaker of one target. Clones share its state.
#[derive(Clone)]
pub(crate) struct Breaker {
    name: &'static str,
    state: Arc<Mutex<BreakerState>>,
    /// 0 closed, 1 half-open, 2 open.
    gauge: Gauge,
}

/// How much time a call has. While half-open there is one probe of each kind at a time: a call
/// with the whole time is not blocked by a probe that may be abandoned early, and the target is
/// probed even where every call has less (each service of a chain passes on less time than it
/// got).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLeft {
    /// At least the time limit of an attempt.
    Whole,
    Short,
}

/// Permission for one call. Dropping it without a result records nothing; where it was a probe, the
/// next call may probe.
pub(crate) struct Permit {
    breaker: Breaker,
    generation: u64,
    time: TimeLeft,
}

/// The breaker permits no call, for at least this long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpenError {
    pub(crate) retry_after: Duration,
}

struct BreakerState {
    phase: BreakerPhase,
    /// How many times the phase has changed.
    generation: u64,
    /// How long it will be open the next time.
    open_time: Duration,
}

enum BreakerPhase {
    Closed(FailureWindow),
    Open {
        until: Instant,
    },
    /// Whether a probe is under way, by `TimeLeft`.
    HalfOpen {
        probes: [bool; 2],
    },
}

impl Breaker {
    pub(crate) fn new(name: &'static str, metrics: &Metrics) -> Self {
        let state = BreakerState {
            phase: BreakerPhase::Closed(FailureWindow::default()),
            generation: 0,
            open_time: OPEN_MIN,
        };
        Self {
            name,
            state: Arc::new(Mutex::new(state)),
            gauge: metrics.gauge("breaker_state", Unit::None, of_target(name)),
        }
    }

    pub(crate) fn permit(&self, now: Instant, time: TimeLeft) -> Result<Permit, BreakerOpenError> {
        let mut state = self.state();
        match &mut state.phase {
            BreakerPhase::Closed(_) => {}
            BreakerPhase::Open { until } if now < *until => {
                return Err(BreakerOpenError {
                    retry_after: *until - now,
                });
            }
            BreakerPhase::Open { .. } => {
                let mut probes = [false; 2];
                probes[time as usize] = true;
                self.change(&mut state, BreakerPhase::HalfOpen { probes });
            }
            BreakerPhase::HalfOpen { probes } if probes[time as usize] => {
                let retry_after = Duration::ZERO;
                return Err(BreakerOpenError { retry_after });
            }
            BreakerPhase::HalfOpen { probes } => probes[time as usize] = true,
        }
        let generation = state.generation;
        drop(state);
        Ok(Permit {
            breaker: self.clone(),
            generation,
            time,
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state().phase, BreakerPhase::Open { .. })
    }

    fn record(&self, generation: u64, is_failure: bool, now: Instant) {
        let mut state = self.state();
        if generation != state.generation {
            return;
        }
        match (&mut state.phase, is_failure) {
            (BreakerPhase::Closed(window), _) => {
                window.record(is_failure, now);
                if is_failure && window.has_too_many_failures() {
                    self.open(&mut state, now);
                }
            }
            (BreakerPhase::HalfOpen { .. }, true) => self.open(&mut state, now),
            (BreakerPhase::HalfOpen { .. }, false) => {
                state.open_time = OPEN_MIN;
                self.change(&mut state, BreakerPhase::Closed(FailureWindow::default()));
                tracing::info!(breaker = self.name, "the breaker closed");
            }
            (BreakerPhase::Open { .. }, _) => {}
        }
    }

    /// The call was abandoned without a result.
    fn release(&self, generation: u64, time: TimeLeft) {
        let mut state = self.state();
        if generation == state.generation
            && let BreakerPhase::HalfOpen { probes } = &mut state.phase
        {
            probes[time as usize] = false;
        }
    }

    fn open(&self, state: &mut BreakerState, now: Instant) {
        let open_time = state.open_time;
        state.open_time = (open_time * 2).min(OPEN_MAX);
        let until = now + open_time;
        self.change(state, BreakerPhase::Open { until });
        let open_ms = open_time.as_millis();
        tracing::warn!(breaker = self.name, open_ms, "the breaker opened");
    }

    fn change(&self, state: &mut BreakerState, phase: BreakerPhase) {
        self.gauge.set(match phase {
            BreakerPhase::Closed(_) => 0.0,
            BreakerPhase::HalfOpen { .. } => 1.0,
            BreakerPhase::Open { .. } => 2.0,
        });
        state.phase = phase;
        state.generation += 1;
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    pub(crate) fn record(self, is_failure: bool, now: Instant) {
        self.breaker.record(self.generation, is_failure, now);
    }
}

impl Drop for Permit {
    /// Has no effect after a result: a probe's result has changed the phase.
    fn drop(&mut self) {
        self.breaker.release(self.generation, self.time);
    }
}

/// Calls and failures of the last ten seconds, by second.
#[derive(Default)]
struct FailureWindow {
    slots: [WindowSlot; SLOTS],
    newest: usize,
    /// When the newest slot began; `None` before the first call.
    began: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct WindowSlot {
    calls: u32,
    failures: u32,
}

impl FailureWindow {
    fn record(&mut self, is_failure: bool, now: Instant) {
        let mut began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            *self = Self::default();
            began = now;
        }
        while now.saturating_duration_since(began) >= SLOT {
            began += SLOT;
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = WindowSlot::default();
        }
        self.began = Some(began);
        let slot = &mut self.slots[self.newest];
        slot.calls += 1;
        slot.failures += u32::from(is_failure);
    }

    fn has_too_many_failures(&self) -> bool {
        let calls: u32 = self.slots.iter().map(|slot| slot.calls).sum();
        let failures: u32 = self.slots.iter().map(|slot| slot.failures).sum();
        calls >= CALLS_MIN && failures * CALLS_PER_FAILURE >= calls
    }
}

#[cfg(test)]
mod tests;
