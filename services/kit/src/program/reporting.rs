//! Reports metrics and spans while the service runs.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;

use super::scheduling_delay::SchedulingDelay;
use crate::outbound::span_sender;
use crate::settings::{self, Base};
use crate::telemetry::logs::ProcessLog;
use crate::{Dependencies, Emf, Exporter, Traces};

pub(crate) struct Reporting {
    emf: Option<Emf>,
    exporter: Option<Exporter>,
    delay: SchedulingDelay,
}

impl Reporting {
    /// What the settings ask for, and the `Traces` whose spans it sends.
    pub(crate) fn new(base: &Base, dependencies: &Dependencies) -> (Traces, Self) {
        let emf = match &base.metrics {
            settings::MetricsOutput::Emf {
                namespace,
                by_revision,
            } => Some(Emf {
                service: dependencies.service,
                clock: dependencies.clock.clone(),
                metrics: dependencies.metrics.clone(),
                namespace: namespace.clone(),
                lifecycle: dependencies.lifecycle.clone(),
                by_revision: *by_revision,
            }),
            settings::MetricsOutput::Off => None,
        };
        let (traces, exporter) = base
            .otlp_endpoint
            .as_ref()
            .map(|endpoint| {
                let sender = span_sender(endpoint, &base.roots);
                let Dependencies {
                    service,
                    clock,
                    metrics,
                    ..
                } = dependencies;
                let (traces, exporter) = Traces::to(sender, *service, clock.clone(), metrics);
                let slow = Duration::from_millis(base.traces_slow_ms);
                (traces.keeping_slow(slow), exporter)
            })
            .unzip();
        let delay = SchedulingDelay::new(&dependencies.metrics);
        let reporting = Self {
            emf,
            exporter,
            delay,
        };
        (traces.unwrap_or_default(), reporting)
    }

    /// Reports until `work` completes, and then once more.
    pub(crate) async fn during<T>(mut self, logs: &ProcessLog, work: impl Future<Output = T>) -> T {
        let _observed = self.delay.observe();
        let write = |line: &[u8]| logs.push(line);
        let metrics = async {
            match &self.emf {
                Some(emf) => emf.report_every_minute(write).await,
                None => pending().await,
            }
        };
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let work = async {
            let result = tokio::select! {
                result = work => result,
                never = metrics => match never {},
            };
            drop(stop);
            result
        };
        let spans = async {
            if let Some(exporter) = &mut self.exporter {
                exporter.export_until(async { drop(stopped.await) }).await;
            }
        };
        let (result, ()) = tokio::join!(work, spans);
        // After the spans, because the metrics count those that were lost.
        if let Some(emf) = &self.emf {
            emf.report(write);
        }
        result
    }
}
