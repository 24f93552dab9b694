//! How many requests may be in flight at once. The limit follows the time that answers take, because
//! what a service calls gets slower when it is asked for more than it can do: then fewer requests
//! in flight are more answers in time.
//!
//! It grows by its square root each second in which it is needed. Where more than a tenth of the
//! answers are late it is halved, and where most are, it becomes a quarter: additive increase and
//! multiplicative decrease, as in TCP. The measure is our own deadline and not the best time that
//! was seen: a target that got slower and still answers in time is not held back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Base;
use crate::{Gauge, Metrics, Unit};

/// An answer that takes more than this part of the deadline is late. A call that fails once then
/// still leaves time for others.
const LATE_SHARE_OF_DEADLINE: u32 = 4;
/// The time between two decisions, and the least number of answers for one.
const WINDOW: Duration = Duration::from_secs(1);
const ANSWERS_MIN: usize = 10;
/// One late answer in so many is still well: functions have cold starts.
const ANSWERS_PER_LATE: usize = 10;

pub(super) struct InFlightLimit {
    /// Where both are the same, the limit is fixed.
    min: usize,
    max: usize,
    late: Duration,
    limit: AtomicUsize,
    window: Mutex<AnswerWindow>,
    gauge: Gauge,
}

/// What has ended since the last decision.
struct AnswerWindow {
    began: Instant,
    in_time: usize,
    late: usize,
    in_flight_peak: usize,
    /// What was admitted before this is known to be late, and does not count again.
    lowered: Instant,
}

impl InFlightLimit {
    pub(super) fn new(base: &Base, metrics: &Metrics) -> Self {
        let now = Instant::now();
        let limit = Self {
            min: base.in_flight_min,
            max: base.in_flight_max,
            late: Duration::from_millis(base.deadline_ms) / LATE_SHARE_OF_DEADLINE,
            limit: AtomicUsize::new(0),
            window: Mutex::new(AnswerWindow::new(now, now)),
            gauge: metrics.gauge("in_flight_limit", Unit::Count, &[]),
        };
        limit.set(base.in_flight_max);
        limit
    }

    pub(super) fn get(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// A request that was admitted then has ended, as one of so many. Where it ended without an
    /// answer, because its caller left or gave it little time, it counts only if it was late.
    pub(super) fn ended(&self, admitted: Instant, in_flight: usize, is_answered: bool) {
        if self.min == self.max {
            return;
        }
        let now = Instant::now();
        let is_late = now - admitted >= self.late;
        if !is_answered && !is_late {
            return;
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted < window.lowered {
            return;
        }
        window.in_flight_peak = window.in_flight_peak.max(in_flight);
        if is_late {
            window.late += 1;
        } else {
            window.in_time += 1;
        }
        let answers = window.late + window.in_time;
        if answers < ANSWERS_MIN || now - window.began < WINDOW {
            return;
        }
        let limit = self.get();
        let mut lowered = window.lowered;
        if window.late * ANSWERS_PER_LATE > answers {
            lowered = now;
            let divisor = if window.late * 2 > answers { 4 } else { 2 };
            self.set((limit / divisor).max(self.min));
        } else if window.in_flight_peak * 2 >= limit {
            self.set((limit + limit.isqrt()).min(self.max));
        }
        *window = AnswerWindow::new(now, lowered);
    }

    fn set(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.gauge
            .set(f64::from(u32::try_from(limit).unwrap_or(u32::MAX)));
    }
}

impl AnswerWindow {
    fn new(began: Instant, lowered: Instant) -> Self {
        Self {
            began,
            in_time: 0,
            late: 0,
            in_flight_peak: 0,
            lowered,
        }
    }
}
