//! Logs: one JSON object a line, all on one stream. Fields of the spans around a line are on the
//! line itself, so each line of a request carries its correlation id.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::outbound::with_causes;
use crate::{Clock, Service};

/// From here on everything that the process says, panics included, goes through the one layer.
pub(crate) fn start(service: Service, levels: Targets, clock: Clock) {
    let layer = LogLayer::new(service, levels, clock, std::io::stdout());
    tracing::subscriber::set_global_default(Registry::default().with(layer))
        .expect("logs are started once, where the program starts");
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    tracing::error!(
        location = panic.location().map(ToString::to_string),
        "panicked: {}",
        panic
            .payload_as_str()
            .unwrap_or("with a value that is no text")
    );
}

/// Formats events and writes each with one call.
pub struct LogLayer<W> {
    service: Service,
    levels: Targets,
    clock: Clock,
    writer: Mutex<W>,
}

impl<W: Write> LogLayer<W> {
    pub fn new(service: Service, levels: Targets, clock: Clock, writer: W) -> Self {
        Self {
            service,
            levels,
            clock,
            writer: Mutex::new(writer),
        }
    }

    fn write_line(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the stream is gone there is nobody left to tell.
        drop(writer.write_all(&line));
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    /// Spans of level error stay whatever the levels are: the request's holds the correlation id.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        (metadata.is_span() && *metadata.level() == Level::ERROR)
            || self
                .levels
                .would_enable(metadata.target(), metadata.level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span is in the registry");
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context
            .span(id)
            .expect("a span that records is in the registry");
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_else(|| json(""));
        let metadata = event.metadata();
        let mut line = Line::default();
        line.member("timestamp", &json(&self.clock.now_text()));
        line.member("level", &json(metadata.level().as_str()));
        line.member("message", &message);
        line.member("target", &json(metadata.target()));
        line.member("service", &json(self.service.name));
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.members(fields);
            }
        }
        line.members(&fields);
        self.write_line(line.finish());
    }
}

/// Fields with their values as JSON text.
#[derive(Default)]
struct Fields(Vec<(&'static str, Vec<u8>)>);

impl Fields {
    fn set(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        self.take(field.name());
        self.0.push((field.name(), json(value)));
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(index).1)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, &value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(field, &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field, &with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, &format!("{value:?}"));
    }
}

/// A JSON object in the making. A name that is there already is not written again: what the kit
/// says about a line comes before what the line says about itself.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    names: Vec<&'static str>,
}

impl Line {
    fn members(&mut self, fields: &Fields) {
        for (name, value) in &fields.0 {
            self.member(name, value);
        }
    }

    fn member(&mut self, name: &'static str, value: &[u8]) {
        if self.names.contains(&name) {
            return;
        }
        self.text
            .push(if self.names.is_empty() { b'{' } else { b',' });
        self.names.push(name);
        self.text.extend(json(name));
        self.text.push(b':');
        self.text.extend(value);
    }

    fn finish(mut self) -> Vec<u8> {
        self.text.push(b'}');
        self.text
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, numbers and booleans are JSON")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let service = Service {
            name: "tested",
            version: "",
        };
        let levels = Targets::new().with_default(Level::INFO);
        let layer = LogLayer::new(service, levels, Clock::system(), writer);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let _span = tracing::error_span!("request", correlation_id = "the-id").entered();
            std::panic::catch_unwind(|| panic!("it {} over", "fell")).unwrap_err();
            std::panic::catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
        });
        std::panic::set_hook(usual);

        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "panicked: it fell over");
        assert_eq!(
            lines[1]["message"],
            "panicked: with a value that is no text"
        );
        for line in lines {
            assert_eq!(
                (&line["level"], &line["correlation_id"]),
                (&"ERROR".into(), &"the-id".into())
            );
            assert!(
                line["location"].as_str().unwrap().contains("logs.rs"),
                "{line}"
            );
        }
    }
}
