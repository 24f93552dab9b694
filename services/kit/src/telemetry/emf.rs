//! Metrics as lines of the log in CloudWatch's embedded metric format, of which CloudWatch Logs
//! makes metrics: no agent, no port, no call. Once a minute, and once when the service stops. See
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::metrics::requests::Recorded;
use super::metrics::{Metrics, Series, Unit, Value};
use crate::service::HEALTH_PATH;
use crate::{Clock, Service};

/// CloudWatch keeps one value a minute of such metrics.
const PERIOD: Duration = Duration::from_mins(1);

/// Makes the lines of one service.
pub struct Emf {
    pub service: Service,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Under which CloudWatch keeps the metrics.
    pub namespace: String,
}

/// Names and values of the dimensions of a line, besides the service.
type Dimensions<'a> = Vec<(&'a str, &'a str)>;

/// A metric's name, unit and value.
type Metric<'a> = (&'a str, Unit, Json);

impl Emf {
    /// Gives `write` the lines of each minute, for ever.
    pub async fn report_every_minute(&self, write: impl Fn(&[u8])) -> Infallible {
        let mut minutes = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            self.report(&write);
        }
    }

    /// Gives `write` what was recorded since the last report, line by line.
    pub fn report(&self, write: impl Fn(&[u8])) {
        let requests = self.metrics.requests();
        let version = vec![("version", self.service.version)];
        write(&self.line(
            &version,
            &[&["version"]],
            vec![("build_info", Unit::None, json!(1))],
        ));
        for (dimensions, metrics) in by_dimensions(&self.metrics) {
            let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
            write(&self.line(&dimensions, &[&names], metrics));
        }
        for recorded in requests.take() {
            write(&self.requests_line(&recorded));
        }
    }

    /// Health answers 503 while a task starts and drains, as it should: it is no part of what the
    /// service as a whole is judged by.
    fn requests_line(&self, recorded: &Recorded<'_>) -> Vec<u8> {
        let is_failure = recorded.status.is_server_error();
        let (values, counts): (Vec<f64>, Vec<u64>) = recorded.durations.iter().copied().unzip();
        let dimensions = vec![
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
        let one_kind: &[&str] = &["route", "status"];
        let sets: &[&[&str]] = if recorded.route == HEALTH_PATH {
            &[one_kind]
        } else {
            &[&[], one_kind]
        };
        self.line(&dimensions, sets, metrics)
    }

    /// A line like all others, and what CloudWatch is to read of it: each metric once for each set
    /// of dimensions, of which the service is always one.
    fn line(
        &self,
        dimensions: &Dimensions<'_>,
        sets: &[&[&str]],
        metrics: Vec<Metric<'_>>,
    ) -> Vec<u8> {
        let Service { name, .. } = self.service;
        let sets: Vec<Vec<&str>> = sets
            .iter()
            .map(|set| [&["service"], *set].concat())
            .collect();
        let definitions: Vec<Json> = metrics
            .iter()
            .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit.as_str() }))
            .collect();
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
        for (name, _, value) in metrics {
            member(name, value);
        }
        member(
            "_aws",
            json!({
                "Timestamp": self.clock.now().as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": sets,
                    "Metrics": definitions,
                }],
            }),
        );
        let mut text = Json::Object(line).to_string().into_bytes();
        text.push(b'\n');
        text
    }
}

/// Metrics of the same dimensions share a line.
fn by_dimensions(metrics: &Metrics) -> Vec<(Dimensions<'static>, Vec<Metric<'static>>)> {
    let mut lines: Vec<(Dimensions<'_>, Vec<Metric<'_>>)> = Vec::new();
    for Series {
        name,
        dimensions,
        value,
    } in metrics.series()
    {
        let (unit, value) = match value {
            Value::Counter(counter) => (Unit::Count, json!(counter.take())),
            Value::Gauge(_, gauge) if !gauge.get().is_finite() => continue,
            Value::Gauge(unit, gauge) => (unit, json!(gauge.get())),
        };
        let metric = (name, unit, value);
        match lines.iter_mut().find(|(known, _)| *known == dimensions) {
            Some((_, metrics)) => metrics.push(metric),
            None => lines.push((dimensions.to_vec(), vec![metric])),
        }
    }
    lines
}
