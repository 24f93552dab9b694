//! Metrics as log lines in CloudWatch's embedded metric format, from which CloudWatch Logs makes
//! metrics: no agent, no port, no call. They are written once a minute and when the service
//! stops. See
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::metrics::requests::RequestCounts;
use super::metrics::{MetricValue, Metrics, Series, Unit};
use crate::service::HEALTH_PATH;
use crate::{Clock, Lifecycle, ServiceIdentity};

/// CloudWatch stores such metrics by the minute.
const PERIOD: Duration = Duration::from_mins(1);

/// Writes the metrics of one service.
pub struct Emf {
    pub service: ServiceIdentity,
    pub clock: Clock,
    pub metrics: Metrics,
    /// The namespace of the metrics in CloudWatch.
    pub namespace: String,
    /// Knows the task's revision, a property of every line.
    pub lifecycle: Lifecycle,
    /// Whether the revision is a dimension as well, in sets of its own.
    pub by_revision: bool,
}

/// Names and values of a line's dimensions besides `service`.
type LineDimensions<'a> = Vec<(&'a str, &'a str)>;

/// A metric's name, unit and value.
type LineMetric<'a> = (&'a str, Unit, Json);

/// Metrics of a line that have the same sets of dimensions.
type MetricsInSets<'a> = (&'a [&'a [&'a str]], Vec<LineMetric<'a>>);

const REVISION: &str = "task_revision";

impl Emf {
    /// Calls `write` with the lines of each minute, for ever.
    pub async fn report_every_minute(&self, write: impl Fn(&[u8])) -> Infallible {
        let mut minutes = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            self.report(&write);
        }
    }

    /// Calls `write` with each line of what was recorded since the last report.
    pub fn report(&self, write: impl Fn(&[u8])) {
        let requests = self.metrics.requests();
        let version = vec![("version", self.service.version)];
        let build_info = vec![("build_info", Unit::None, json!(1))];
        write(&self.line(&version, vec![(&[&["version"]], build_info)]));
        for (dimensions, metrics) in by_dimensions(&self.metrics) {
            let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
            write(&self.line(&dimensions, vec![(&[&names], metrics)]));
        }
        for recorded in requests.take() {
            write(&self.requests_line(&recorded));
        }
    }

    /// `/health` answers 503 while a task starts and drains. That is no failure, so it is left
    /// out of the totals of the service.
    fn requests_line(&self, recorded: &RequestCounts<'_>) -> Vec<u8> {
        let is_failure = recorded.status.is_server_error();
        let (values, counts): (Vec<f64>, Vec<u64>) = recorded.durations.iter().copied().unzip();
        let mut dimensions = vec![
            ("route", recorded.route),
            ("status", recorded.status.as_str()),
        ];
        let metrics = vec![
            ("requests", Unit::Count, json!(recorded.count)),
            (
                "server_errors",
                Unit::Count,
                json!(if is_failure { recorded.count } else { 0 }),
            ),
            (
                "request_duration",
                Unit::Milliseconds,
                json!({ "Values": values, "Counts": counts }),
            ),
        ];
        let is_health = recorded.route == HEALTH_PATH;
        let sets = |sets: &'static [&'static [&'static str]]| &sets[usize::from(is_health)..];
        let mut in_sets = vec![(sets(&[&[], &["route", "status"]]), metrics)];
        if let Some(fault) = recorded.fault {
            dimensions.push(("fault", fault.name()));
            let failures = vec![("failures", Unit::Count, json!(recorded.count))];
            in_sets.push((sets(&[&["fault"], &["route", "fault"]]), failures));
        }
        self.line(&dimensions, in_sets)
    }

    /// A log line with the metrics as members, and `_aws`, by which CloudWatch extracts each metric
    /// once for each set of dimensions. `service` is in every set.
    fn line(&self, dimensions: &LineDimensions<'_>, in_sets: Vec<MetricsInSets<'_>>) -> Vec<u8> {
        let ServiceIdentity { name, .. } = self.service;
        let revision = self.lifecycle.task_revision();
        let revision = revision.and_then(|revision| revision.to_str().ok());
        let mut line = Map::new();
        let mut member = |name: &str, value| drop(line.insert(name.to_owned(), value));
        member("timestamp", json!(self.clock.now_text()));
        member("level", json!("INFO"));
        member("message", json!("metrics"));
        member("target", json!(module_path!()));
        member("service", json!(name));
        for (name, value) in dimensions {
            member(name, json!(value));
        }
        if let Some(revision) = revision {
            member(REVISION, json!(revision));
        }
        let by_revision = self.by_revision && revision.is_some();
        let mut directives = Vec::new();
        for (sets, metrics) in in_sets {
            let definitions: Vec<Json> = { metrics.iter() }
                .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit.as_str() }))
                .collect();
            directives.push(json!({
                "Namespace": self.namespace,
                "Dimensions": with_service(sets, by_revision),
                "Metrics": definitions,
            }));
            for (name, _, value) in metrics {
                member(name, value);
            }
        }
        member(
            "_aws",
            json!({
                "Timestamp": self.clock.now().as_millisecond(),
                "CloudWatchMetrics": directives,
            }),
        );
        let mut text = Json::Object(line).to_string().into_bytes();
        text.push(b'\n');
        text
    }
}

/// The sets with the dimension that all have, and where it is asked for, those with the revision
/// besides.
fn with_service<'a>(sets: &[&[&'a str]], by_revision: bool) -> Vec<Vec<&'a str>> {
    let sets = sets.iter().map(|set| [&["service"], *set].concat());
    let sets: Vec<Vec<&str>> = sets.collect();
    let of_revision = { sets.iter() }.map(|set| [set.as_slice(), &[REVISION]].concat());
    let of_revision: Vec<_> = of_revision.filter(|_| by_revision).collect();
    [sets, of_revision].concat()
}

/// Groups metrics of the same dimensions, which share a line.
fn by_dimensions(metrics: &Metrics) -> Vec<(LineDimensions<'static>, Vec<LineMetric<'static>>)> {
    let mut lines: Vec<(LineDimensions<'_>, Vec<LineMetric<'_>>)> = Vec::new();
    for Series {
        name,
        dimensions,
        value,
    } in metrics.series()
    {
        let (unit, value) = match value {
            MetricValue::Counter(counter) => (Unit::Count, json!(counter.take())),
            MetricValue::Gauge(_, gauge) if !gauge.get().is_finite() => continue,
            MetricValue::Gauge(unit, gauge) => (unit, json!(gauge.get())),
            MetricValue::Level(level) => (Unit::Count, json!(level.get())),
            MetricValue::Peak(unit, peak) => (unit, json!(peak.take())),
        };
        let metric = (name, unit, value);
        match lines.iter_mut().find(|(known, _)| *known == dimensions) {
            Some((_, metrics)) => metrics.push(metric),
            None => lines.push((dimensions.to_vec(), vec![metric])),
        }
    }
    lines
}
