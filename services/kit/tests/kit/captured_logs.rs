//! Captures log lines and parses them as JSON.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use service_kit::{Clock, LogLayer, ServiceIdentity};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Clone, Default)]
pub(crate) struct CapturedLogs(Arc<Mutex<Vec<u8>>>);

impl CapturedLogs {
    /// Captures the logs of this thread until the guard is dropped.
    pub(crate) fn start(service: ServiceIdentity, levels: &str) -> (Self, DefaultGuard) {
        let logs = Self::default();
        let clock = Clock::fixed("2026-01-02T03:04:05.678Z".parse().unwrap());
        let written = Arc::clone(&logs.0);
        let levels: Targets = levels.parse().unwrap();
        let layer = LogLayer::new(service, levels, clock, move |line| {
            written.lock().unwrap().extend_from_slice(line);
        });
        let subscriber = tracing_subscriber::registry().with(layer);
        (logs, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Panics where a line is not a JSON object.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let line = |line| serde_json::from_str::<Value>(line).expect(line);
        let lines: Vec<Value> = text.lines().map(line).collect();
        assert!(lines.iter().all(Value::is_object), "{text}");
        lines
    }
}
