//! A circuit breaker: closed while calls succeed, open for a while after too many failures, then
//! half-open with single probes. Results of calls that began in an earlier phase are ignored.
//!
//! Each endpoint of a target has its own. Where another endpoint answers, it opens after a few
//! failures in a row: that is an ejection, and ends where no other one answers any more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

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
/// An endpoint is ejected after so many failures in a row. Fewer may be those of a few requests.
pub(super) const EJECTED_AFTER: u32 = 5;

/// The breaker of one endpoint. Clones share its state.
#[derive(Clone)]
pub(crate) struct Breaker {
    /// As in logs.
    target: &'static str,
    /// `None` where all addresses of the target's name are one endpoint.
    address: Option<SocketAddr>,
    state: Arc<Mutex<BreakerState>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BreakerStanding {
    Closed,
    HalfOpen,
    Open,
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
    is_probe: bool,
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
    /// Of the last results.
    failures_in_a_row: u32,
    /// Whether the last result was a success.
    answers: bool,
    /// It is not closed, and will be where no other endpoint answers.
    is_ejected: bool,
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
    pub(super) fn new(target: &'static str, address: Option<SocketAddr>) -> Self {
        let state = BreakerState {
            phase: BreakerPhase::Closed(FailureWindow::default()),
            generation: 0,
            open_time: OPEN_MIN,
            failures_in_a_row: 0,
            answers: false,
            is_ejected: false,
        };
        Self {
            target,
            address,
            state: Arc::new(Mutex::new(state)),
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
                state.change(BreakerPhase::HalfOpen { probes });
            }
            BreakerPhase::HalfOpen { probes } if probes[time as usize] => {
                let retry_after = Duration::ZERO;
                return Err(BreakerOpenError { retry_after });
            }
            BreakerPhase::HalfOpen { probes } => probes[time as usize] = true,
        }
        let generation = state.generation;
        let is_probe = state.standing() != BreakerStanding::Closed;
        drop(state);
        Ok(Permit {
            breaker: self.clone(),
            generation,
            time,
            is_probe,
        })
    }

    pub(super) fn standing(&self) -> BreakerStanding {
        self.state().standing()
    }

    /// Whether calls are permitted and the last one succeeded.
    pub(super) fn answers(&self) -> bool {
        let state = self.state();
        state.answers && state.standing() == BreakerStanding::Closed
    }

    /// Whether it has failed so often that another endpoint which answers is to be preferred.
    pub(super) fn fails(&self) -> bool {
        let state = self.state();
        state.failures_in_a_row >= EJECTED_AFTER || state.standing() != BreakerStanding::Closed
    }

    /// Another endpoint answers, and this one fails.
    pub(super) fn eject(&self, now: Instant) {
        let mut state = self.state();
        if state.standing() == BreakerStanding::Closed {
            self.open(&mut state, now);
        }
        state.is_ejected = true;
    }

    /// No other endpoint answers any more.
    pub(super) fn end_ejection(&self) {
        let mut state = self.state();
        if state.is_ejected {
            self.close(&mut state);
        }
    }

    fn record(&self, generation: u64, is_failure: bool, now: Instant) {
        let mut state = self.state();
        if generation != state.generation {
            return;
        }
        state.answers = !is_failure;
        state.failures_in_a_row = if is_failure {
            state.failures_in_a_row.saturating_add(1)
        } else {
            0
        };
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
                self.close(&mut state);
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
        state.change(BreakerPhase::Open { until });
        let (breaker, open_ms) = (self.target, open_time.as_millis());
        tracing::warn!(
            breaker,
            address = self.shown(),
            open_ms,
            "the breaker opened"
        );
    }

    fn close(&self, state: &mut BreakerState) {
        state.failures_in_a_row = 0;
        state.is_ejected = false;
        state.change(BreakerPhase::Closed(FailureWindow::default()));
        let breaker = self.target;
        tracing::info!(breaker, address = self.shown(), "the breaker closed");
    }

    /// For a log line, which has no such field where this is `None`.
    fn shown(&self) -> Option<tracing::field::DisplayValue<SocketAddr>> {
        self.address.map(tracing::field::display)
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BreakerState {
    fn standing(&self) -> BreakerStanding {
        match self.phase {
            BreakerPhase::Closed(_) => BreakerStanding::Closed,
            BreakerPhase::HalfOpen { .. } => BreakerStanding::HalfOpen,
            BreakerPhase::Open { .. } => BreakerStanding::Open,
        }
    }

    fn change(&mut self, phase: BreakerPhase) {
        self.phase = phase;
        self.generation += 1;
    }
}

impl Permit {
    /// Whether the breaker is not closed.
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

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
