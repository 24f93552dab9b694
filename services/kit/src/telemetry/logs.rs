//! Logs: one JSON object a line, on one stream. A line also has the fields of its spans and the
//! ids of the request that is being answered.

mod buffer;
mod escape;
pub(crate) mod levels;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::panic::PanicHookInfo;

use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::error_chain::with_causes;
use crate::{Clock, Counter, RequestContext, ServiceIdentity, hex};
use buffer::LogBuffer;
use levels::LogLevels;

/// The log of the process. Dropping it flushes it.
pub(crate) struct ProcessLog(LogBuffer);

/// Sends all events and panics of the process through one `LogLayer` to stdout. `dropped` counts
/// the lines that were lost because stdout was blocked.
pub(crate) fn start(
    service: ServiceIdentity,
    levels: LogLevels,
    clock: Clock,
    dropped: Counter,
) -> ProcessLog {
    let buffer = LogBuffer::start(std::io::stdout(), move |count| {
        dropped.add(count);
        tracing::warn!(count, "log lines were dropped: they were not read");
    });
    let lines = buffer.clone();
    let layer = LogLayer::new(service, levels, clock, move |line| lines.push(line));
    tracing::subscriber::set_global_default(Registry::default().with(layer))
        .expect("logs are started once, where the program starts");
    let lines = buffer.clone();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        // The process may end after it.
        lines.flush();
    }));
    ProcessLog(buffer)
}

impl ProcessLog {
    /// Appends a formatted line, which ends with its line break.
    pub(crate) fn push(&self, line: &[u8]) {
        self.0.push(line);
    }
}

impl Drop for ProcessLog {
    fn drop(&mut self) {
        self.0.flush();
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    tracing::error!(
        location = panic.location().map(ToString::to_string),
        "panicked: {}",
        panic
            .payload_as_str()
            .unwrap_or("with a value that is not text")
    );
}

tokio::task_local! {
    static REQUEST: RequestContext;
}

/// Lines that `work` logs carry the ids of the request, at any level. It is not a span, because
/// creating one costs as much as writing the access line.
pub(crate) fn with_request_ids<F: Future>(
    context: &RequestContext,
    work: F,
) -> impl Future<Output = F::Output> {
    REQUEST.scope(context.clone(), work)
}

thread_local! {
    static MORE_FIELDS: RefCell<Vec<(&'static str, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// Adds these fields to the event that `event` logs: `tracing` needs static field names.
pub(crate) fn with_fields(fields: Vec<(&'static str, &'static str)>, event: impl FnOnce()) {
    MORE_FIELDS.set(fields);
    event();
    MORE_FIELDS.set(Vec::new());
}

/// Formats events and gives each to `write`, as one line.
pub struct LogLayer<F> {
    /// The member `service`, formatted.
    service: Vec<u8>,
    levels: LogLevels,
    clock: Clock,
    write: F,
}

impl<F: Fn(&[u8])> LogLayer<F> {
    pub fn new(
        service: ServiceIdentity,
        levels: impl Into<LogLevels>,
        clock: Clock,
        write: F,
    ) -> Self {
        let mut member = b",\"service\":".to_vec();
        write_json(&mut member, service.name);
        Self {
            service: member,
            levels: levels.into(),
            clock,
            write,
        }
    }

    /// Writes the members that every line has.
    fn begin(&self, line: &mut LineWriter, event: &Event<'_>) {
        line.text.extend_from_slice(b"{\"timestamp\":\"");
        line.text.extend_from_slice(&self.clock.now_bytes());
        line.text.extend_from_slice(b"\",\"level\":\"");
        line.text
            .extend_from_slice(event.metadata().level().as_str().as_bytes());
        line.text.extend_from_slice(b"\",\"message\":");
        let before = line.text.len();
        event.record(&mut FieldVisitor(&mut MessageWriter(&mut line.text)));
        if line.text.len() == before {
            line.text.extend_from_slice(b"\"\"");
        }
        line.text.extend_from_slice(b",\"target\":");
        write_json(&mut line.text, event.metadata().target());
        line.text.extend_from_slice(&self.service);
        line.names
            .extend(["timestamp", "level", MESSAGE, "target", "service"]);
    }
}

impl<S, F> Layer<S> for LogLayer<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(&[u8]) + 'static,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.levels.would_enable(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span is in the registry");
        let mut fields = SpanFields::default();
        attributes.record(&mut FieldVisitor(&mut fields));
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context
            .span(id)
            .expect("a span that records is in the registry");
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(&mut FieldVisitor(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = LineWriter::take();
        self.begin(&mut line, event);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                line.copy_members(fields);
            }
        }
        line.add_ids();
        event.record(&mut FieldVisitor(&mut line));
        line.add_more_fields();
        line.text.extend_from_slice(b"}\n");
        escape::escape(&mut line.text);
        (self.write)(&line.text);
        line.recycle();
    }
}

const MESSAGE: &str = "message";

/// The fields of a span as members of an object, formatted once for all its lines.
#[derive(Default)]
struct SpanFields {
    text: Vec<u8>,
    members: Vec<(&'static str, Range<usize>)>,
}

/// A JSON object that is being written. The first member of a name counts.
#[derive(Default)]
struct LineWriter {
    text: Vec<u8>,
    names: Vec<&'static str>,
}

/// Writes only the message, which comes near the beginning of a line.
struct MessageWriter<'a>(&'a mut Vec<u8>);

/// A longer line is rare, and its buffer not kept.
const KEPT_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// The buffers of the last line, for the next one.
    static LINE: Cell<Option<LineWriter>> = const { Cell::new(None) };
}

impl LineWriter {
    /// New buffers where a value logs while it is formatted, or the thread is ending.
    fn take() -> Self {
        let mut line = LINE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        line.text.clear();
        line.names.clear();
        line
    }

    fn recycle(self) {
        if self.text.capacity() <= KEPT_BYTES_MAX {
            let _ = LINE.try_with(|kept| kept.set(Some(self)));
        }
    }

    /// The ids of the request that is being answered, if there is one.
    fn add_ids(&mut self) {
        let _ = REQUEST.try_with(|context| {
            self.member("correlation_id", context.correlation_id().as_str());
            let digits: [u8; 32] = hex::encode(&context.trace().trace_id().to_be_bytes());
            self.member("trace_id", str::from_utf8(&digits).unwrap_or_default());
        });
    }

    /// Thread-locals are gone while a thread ends.
    fn add_more_fields(&mut self) {
        let _ = MORE_FIELDS.try_with(|fields| {
            for (name, value) in fields.borrow().iter() {
                self.member(name, *value);
            }
        });
    }

    /// Most names differ in their first letter, and a comparison of that takes less time than a
    /// call that compares two texts.
    fn is_new(&mut self, name: &'static str) -> bool {
        let first = |name: &str| name.as_bytes().first().copied();
        let mut known = self.names.iter();
        let is_new = !known.any(|known| first(known) == first(name) && *known == name);
        if is_new {
            self.names.push(name);
        }
        is_new
    }

    fn copy_members(&mut self, fields: &SpanFields) {
        for (name, range) in &fields.members {
            if self.is_new(name) {
                self.text.push(b',');
                self.text.extend_from_slice(&fields.text[range.clone()]);
            }
        }
    }
}

/// Receives fields as members of a JSON object.
trait MemberWriter {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized));
}

impl MemberWriter for LineWriter {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if self.is_new(name) {
            self.text.push(b',');
            write_member(&mut self.text, name, value);
        }
    }
}

impl MemberWriter for MessageWriter<'_> {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if name == MESSAGE {
            write_json(self.0, value);
        }
    }
}

impl MemberWriter for SpanFields {
    /// The last value of a name counts. The text of an earlier one stays, unused.
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.members.retain(|(known, _)| *known != name);
        let begin = self.text.len();
        write_member(&mut self.text, name, value);
        self.members.push((name, begin..self.text.len()));
    }
}

struct FieldVisitor<'a, M>(&'a mut M);

impl<M: MemberWriter> Visit for FieldVisitor<'_, M> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.member(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.member(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.member(field.name(), &value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.0.member(field.name(), &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.0.member(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.member(field.name(), &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.member(field.name(), &with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.member(field.name(), &DebugText(value));
    }
}

/// The `Debug` text of a value, serialized without an intermediate string.
struct DebugText<'a>(&'a dyn fmt::Debug);

impl Serialize for DebugText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

fn write_member(text: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    write_json(text, name);
    text.push(b':');
    write_json(text, value);
}

fn write_json(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(text, value).expect("strings, numbers and booleans are JSON");
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use serde_json::Value;
    use tracing::Level;
    use tracing_subscriber::filter::Targets;

    use super::*;

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let service = ServiceIdentity {
            name: "tested",
            version: "",
        };
        let levels = Targets::new().with_default(Level::INFO);
        let layer = LogLayer::new(service, levels, Clock::system(), move |line| {
            (&writer).write_all(line).unwrap();
        });
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
            "panicked: with a value that is not text"
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
