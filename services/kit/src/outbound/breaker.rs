//! Stops calling a target that fails, and tries it again with one call at a time: closed while
//! all is well, open for a while after too many failures, half-open with a probe after that. Calls that began before the state changed have no say in the new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics::of_target;
use crate::{Gauge, Metrics, Unit};

/// Failures are counted for so long, slot by slot.
const WINDOW: Duration = Duration::from_secs(10);
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);
/// Below this a single failure would already be a high rate.
const CALLS_MIN: u32 = 10;
/// Open where one call in so many fails, or more.
const CALLS_PER_FAILURE: u32 = 2;
const OPEN_MIN: Duration = Duration::from_secs(1);
/// Doubled each time that a probe fails, up to here.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// The breaker of one target. Copies are of the same one.
#[derive(Clone)]
pub(crate) struct Breaker {
    name: &'static str,
    state: Arc<Mutex<State>>,
    /// 0 closed, 1 half-open, 2 open.
    gauge: Gauge,
}

/// How long a call can wait for its answer. Half-open there is one probe of each kind at a time:
/// who has the whole time never waits for a call that may give up any moment, and where all callers
/// have less (a chain of services passes on a little less each time), the target is tried all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLeft {
    /// That of an attempt.
    Whole,
    Short,
}

/// Leave to make one call. Dropped without a result, it has no influence, and a probe that it
/// was may be made by somebody else.
pub(crate) struct Permit {
    breaker: Breaker,
    generation: u64,
    time: TimeLeft,
}

/// No calls for so long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpenError {
    pub(crate) rest: Duration,
}

struct State {
    phase: Phase,
    /// How many times the phase has changed.
    generation: u64,
    /// For how long it opens the next time.
    open_time: Duration,
}

enum Phase {
    Closed(Window),
    Open {
        until: Instant,
    },
    /// Which probes are under way, by their `TimeLeft`.
    HalfOpen {
        probes: [bool; 2],
    },
}

impl Breaker {
    pub(crate) fn new(name: &'static str, metrics: &Metrics) -> Self {
        let state = State {
            phase: Phase::Closed(Window::default()),
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
            Phase::Closed(_) => {}
            Phase::Open { until } if now < *until => {
                return Err(BreakerOpenError { rest: *until - now });
            }
            Phase::Open { .. } => {
                let mut probes = [false; 2];
                probes[time as usize] = true;
                self.change(&mut state, Phase::HalfOpen { probes });
            }
            Phase::HalfOpen { probes } if probes[time as usize] => {
                let rest = Duration::ZERO;
                return Err(BreakerOpenError { rest });
            }
            Phase::HalfOpen { probes } => probes[time as usize] = true,
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
        matches!(self.state().phase, Phase::Open { .. })
    }

    fn record(&self, generation: u64, is_failure: bool, now: Instant) {
        let mut state = self.state();
        if generation != state.generation {
            return;
        }
        match (&mut state.phase, is_failure) {
            (Phase::Closed(window), _) => {
                window.record(is_failure, now);
                if is_failure && window.has_too_many_failures() {
                    self.open(&mut state, now);
                }
            }
            (Phase::HalfOpen { .. }, true) => self.open(&mut state, now),
            (Phase::HalfOpen { .. }, false) => {
                state.open_time = OPEN_MIN;
                self.change(&mut state, Phase::Closed(Window::default()));
                tracing::info!(breaker = self.name, "the breaker closed");
            }
            (Phase::Open { .. }, _) => {}
        }
    }

    /// The call was given up: who made it knows nothing of the target.
    fn release(&self, generation: u64, time: TimeLeft) {
        let mut state = self.state();
        if generation == state.generation
            && let Phase::HalfOpen { probes } = &mut state.phase
        {
            probes[time as usize] = false;
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        let open_time = state.open_time;
        state.open_time = (open_time * 2).min(OPEN_MAX);
        let until = now + open_time;
        self.change(state, Phase::Open { until });
        let open_ms = open_time.as_millis();
        tracing::warn!(breaker = self.name, open_ms, "the breaker opened");
    }

    fn change(&self, state: &mut State, phase: Phase) {
        self.gauge.set(match phase {
            Phase::Closed(_) => 0.0,
            Phase::HalfOpen { .. } => 1.0,
            Phase::Open { .. } => 2.0,
        });
        state.phase = phase;
        state.generation += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    pub(crate) fn record(self, is_failure: bool, now: Instant) {
        self.breaker.record(self.generation, is_failure, now);
    }
}

impl Drop for Permit {
    /// After a result there is nothing left to give back: the probe's result changed the phase.
    fn drop(&mut self) {
        self.breaker.release(self.generation, self.time);
    }
}

/// Calls and failures of the last ten seconds, second by second.
#[derive(Default)]
struct Window {
    slots: [Slot; SLOTS],
    newest: usize,
    /// When the newest slot began; none before the first call.
    began: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    calls: u32,
    failures: u32,
}

impl Window {
    fn record(&mut self, is_failure: bool, now: Instant) {
        let mut began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            *self = Self::default();
            began = now;
        }
        while now.saturating_duration_since(began) >= SLOT {
            began += SLOT;
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = Slot::default();
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
