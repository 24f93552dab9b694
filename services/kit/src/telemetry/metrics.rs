//! Counters and gauges. Recording is one atomic operation on a handle that was made at the start;
//! `Emf` reports the values.

pub(super) mod requests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use requests::RequestMetrics;

/// Units, as CloudWatch names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Microseconds,
    Milliseconds,
    Seconds,
    None,
}

/// Names and values of a metric's dimensions, such as the target of a call.
pub type Dimensions = &'static [(&'static str, &'static str)];

/// The dimensions of metrics about one target of calls. The memory is never freed: a program makes
/// its few targets once, when it starts.
pub(crate) fn of_target(target: &'static str) -> Dimensions {
    Box::leak(Box::new([("target", target)]))
}

/// Clones share the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<MetricsInner>);

#[derive(Debug, Default)]
struct MetricsInner {
    series: Mutex<Vec<Series>>,
    requests: RequestMetrics,
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) dimensions: Dimensions,
    pub(super) value: MetricValue,
}

#[derive(Clone, Debug)]
pub(super) enum MetricValue {
    Counter(Counter),
    Gauge(Unit, Gauge),
    Level(Level),
    Peak(Unit, Peak),
}

/// Reported as the increase since the last report.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Reported as its value at the time of the report.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

/// How many of something there are, counted up and down; reported as a gauge is.
#[derive(Clone, Debug, Default)]
pub struct Level(Arc<AtomicUsize>);

/// Reported as its highest value since the last report.
#[derive(Clone, Debug, Default)]
pub struct Peak(Arc<PeakValues>);

#[derive(Debug, Default)]
struct PeakValues {
    last: AtomicU64,
    highest: AtomicU64,
}

impl Metrics {
    /// The counter of this name and these dimensions; the same one at each call.
    pub fn counter(&self, name: &'static str, dimensions: Dimensions) -> Counter {
        let of = |value: &MetricValue| match value {
            MetricValue::Counter(counter) => Some(counter.clone()),
            _ => None,
        };
        self.known_or_new((name, dimensions), of, MetricValue::Counter)
    }

    /// The gauge of this name and these dimensions; the same one at each call.
    pub fn gauge(&self, name: &'static str, unit: Unit, dimensions: Dimensions) -> Gauge {
        let of = |value: &MetricValue| match value {
            MetricValue::Gauge(_, gauge) => Some(gauge.clone()),
            _ => None,
        };
        let new = |gauge| MetricValue::Gauge(unit, gauge);
        self.known_or_new((name, dimensions), of, new)
    }

    /// The level of this name, without dimensions; the same one at each call.
    pub fn level(&self, name: &'static str) -> Level {
        let of = |value: &MetricValue| match value {
            MetricValue::Level(level) => Some(level.clone()),
            _ => None,
        };
        self.known_or_new((name, &[]), of, MetricValue::Level)
    }

    /// The peak of this name, without dimensions; the same one at each call.
    pub fn peak(&self, name: &'static str, unit: Unit) -> Peak {
        let of = |value: &MetricValue| match value {
            MetricValue::Peak(_, peak) => Some(peak.clone()),
            _ => None,
        };
        self.known_or_new((name, &[]), of, |peak| MetricValue::Peak(unit, peak))
    }

    fn known_or_new<M: Clone + Default>(
        &self,
        (name, dimensions): (&'static str, Dimensions),
        of: impl Fn(&MetricValue) -> Option<M>,
        new: impl FnOnce(M) -> MetricValue,
    ) -> M {
        let mut series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        let same = { series.iter() }.filter(|it| (it.name, it.dimensions) == (name, dimensions));
        if let Some(known) = { same }.find_map(|it| of(&it.value)) {
            return known;
        }
        let metric = M::default();
        series.push(Series {
            name,
            dimensions,
            value: new(metric.clone()),
        });
        metric
    }

    pub(crate) fn requests(&self) -> &RequestMetrics {
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
            Self::Microseconds => "Microseconds",
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

    /// The increase since the last call.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Level {
    /// One more. Returns how many there were.
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// One less. Returns how many there were.
    pub fn remove(&self) -> usize {
        self.0.fetch_sub(1, Ordering::Relaxed)
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Peak {
    pub fn set(&self, value: u64) {
        self.0.last.store(value, Ordering::Relaxed);
        self.0.highest.fetch_max(value, Ordering::Relaxed);
    }

    /// The highest value since the last call, that of then included.
    pub fn take(&self) -> u64 {
        let last = self.0.last.load(Ordering::Relaxed);
        self.0.highest.swap(last, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_the_highest_since_the_last_report() {
        let peak = Metrics::default().peak("connections", Unit::Count);
        assert_eq!(peak.take(), 0);
        for value in [1, 7, 3] {
            peak.set(value);
        }
        assert_eq!((peak.take(), peak.take()), (7, 3));
        peak.set(2);
        assert_eq!((peak.take(), peak.take()), (3, 2));
    }

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
