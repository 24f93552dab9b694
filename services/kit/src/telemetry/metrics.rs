//! What the service counts and measures. Recording is one atomic operation on a handle that was
//! made at the start; what was recorded leaves with the log, as CloudWatch reads it.

pub(super) mod requests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use requests::Requests;

/// CloudWatch's names of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
    Seconds,
    None,
}

/// Names and values by which a metric is divided, such as the target of a call.
pub type Dimensions = &'static [(&'static str, &'static str)];

/// The dimensions of metrics about one target of calls. The memory is never freed: a program makes
/// its few targets once, when it starts.
pub(crate) fn of_target(target: &'static str) -> Dimensions {
    Box::leak(Box::new([("target", target)]))
}

/// Copies are of the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: Mutex<Vec<Series>>,
    requests: Requests,
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) dimensions: Dimensions,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Counter(Counter),
    Gauge(Unit, Gauge),
}

/// Goes up; what is reported is what came since the last report.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Is what it is at the time of the report.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Metrics {
    /// The counter of this name and these dimensions; asked for twice, it is the same one.
    pub fn counter(&self, name: &'static str, dimensions: Dimensions) -> Counter {
        let mut series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        for known in series.iter() {
            if let Value::Counter(counter) = &known.value
                && (known.name, known.dimensions) == (name, dimensions)
            {
                return counter.clone();
            }
        }
        let counter = Counter::default();
        series.push(Series {
            name,
            dimensions,
            value: Value::Counter(counter.clone()),
        });
        counter
    }

    /// The gauge of this name and these dimensions; asked for twice, it is the same one.
    pub fn gauge(&self, name: &'static str, unit: Unit, dimensions: Dimensions) -> Gauge {
        let mut series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        for known in series.iter() {
            if let Value::Gauge(_, gauge) = &known.value
                && (known.name, known.dimensions) == (name, dimensions)
            {
                return gauge.clone();
            }
        }
        let gauge = Gauge::default();
        series.push(Series {
            name,
            dimensions,
            value: Value::Gauge(unit, gauge.clone()),
        });
        gauge
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.0.requests
    }

    pub(super) fn series(&self) -> Vec<Series> {
        let series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.clone()
    }
}

impl Unit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
            Self::None => "None",
        }
    }
}

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What came since this was asked last.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// For what is counted up and down by many at once.
    pub fn add(&self, change: f64) {
        let added = |bits| Some((f64::from_bits(bits) + change).to_bits());
        let updated = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
        debug_assert!(updated.is_ok(), "the change is never refused");
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_asked_for_twice_is_the_same() {
        let metrics = Metrics::default();
        metrics.counter("retries", &[("target", "axon")]).add(2);
        metrics.counter("retries", &[("target", "axon")]).add(1);
        metrics.counter("retries", &[]).add(5);
        assert_eq!(metrics.counter("retries", &[("target", "axon")]).take(), 3);
        assert_eq!(metrics.counter("retries", &[("target", "axon")]).take(), 0);
        metrics.gauge("age", Unit::Seconds, &[]).set(1.5);
        assert!((metrics.gauge("age", Unit::Seconds, &[]).get() - 1.5).abs() < f64::EPSILON);
    }
}
