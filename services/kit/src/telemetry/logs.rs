//! Logs: one JSON object a line, all on one stream. On the line itself are also the fields of the
//! spans around it, and the ids of the request that is being answered.

mod buffer;
mod escape;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::panic::PanicHookInfo;

use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::error_chain::with_causes;
use crate::{Clock, Counter, RequestContext, Service, hex};
use buffer::Buffer;

/// The log of the process. Everything is written when it is dropped.
pub(crate) struct Logs(Buffer);

/// From here on everything that the process says, panics included, goes through the one layer.
/// `dropped` counts lines that were lost because nobody read them.
pub(crate) fn start(service: Service, levels: Targets, clock: Clock, dropped: Counter) -> Logs {
    let buffer = Buffer::start(std::io::stdout(), move |count| {
        dropped.add(count);
        tracing::warn!(count, "log lines were dropped: nobody read them");
    });
    let lines = buffer.clone();
    let layer = LogLayer::new(service, levels, clock, move |line| lines.push(line));
    tracing::subscriber::set_global_default(Registry::default().with(layer))
        .expect("logs are started once, where the program starts");
    let lines = buffer.clone();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        // It may be the last that this process says.
        lines.flush();
    }));
    Logs(buffer)
}

impl Logs {
    /// Takes a line that was made elsewhere, with its line break.
    pub(crate) fn push(&self, line: &[u8]) {
        self.0.push(line);
    }
}

impl Drop for Logs {
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
            .unwrap_or("with a value that is no text")
    );
}

tokio::task_local! {
    static REQUEST: RequestContext;
}

/// What is logged while `work` goes on carries the ids of the request, whatever the levels are. No
/// span does it: making one costs a request as much as writing its access line.
pub(crate) fn of_request<F: Future>(
    context: &RequestContext,
    work: F,
) -> impl Future<Output = F::Output> {
    REQUEST.scope(context.clone(), work)
}

thread_local! {
    static MORE_FIELDS: RefCell<Vec<(&'static str, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// Logs `event` with these fields besides its own: a call site has only names that it knows.
pub(crate) fn with_fields(fields: Vec<(&'static str, &'static str)>, event: impl FnOnce()) {
    MORE_FIELDS.set(fields);
    event();
    MORE_FIELDS.set(Vec::new());
}

/// Formats events and gives each to `write`, as one line.
pub struct LogLayer<F> {
    /// As a member of a line.
    service: Vec<u8>,
    levels: Targets,
    clock: Clock,
    write: F,
}

impl<F: Fn(&[u8])> LogLayer<F> {
    pub fn new(service: Service, levels: Targets, clock: Clock, write: F) -> Self {
        let mut member = b",\"service\":".to_vec();
        write_json(&mut member, service.name);
        Self {
            service: member,
            levels,
            clock,
            write,
        }
    }

    /// What the kit says about a line comes before what the line says about itself.
    fn begin(&self, line: &mut Line, event: &Event<'_>) {
        line.text.extend_from_slice(b"{\"timestamp\":\"");
        line.text.extend_from_slice(&self.clock.now_bytes());
        line.text.extend_from_slice(b"\",\"level\":\"");
        line.text
            .extend_from_slice(event.metadata().level().as_str().as_bytes());
        line.text.extend_from_slice(b"\",\"message\":");
        let before = line.text.len();
        event.record(&mut Visitor(&mut Message(&mut line.text)));
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
        self.levels
            .would_enable(metadata.target(), metadata.level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span is in the registry");
        let mut fields = Fields::default();
        attributes.record(&mut Visitor(&mut fields));
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context
            .span(id)
            .expect("a span that records is in the registry");
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(&mut Visitor(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::take();
        self.begin(&mut line, event);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.copy_members(fields);
            }
        }
        line.add_ids();
        event.record(&mut Visitor(&mut line));
        line.add_more_fields();
        line.text.extend_from_slice(b"}\n");
        escape::escape(&mut line.text);
        (self.write)(&line.text);
        line.give_back();
    }
}

const MESSAGE: &str = "message";

/// The fields of a span, as members of an object: they are formatted once and not for each line.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    members: Vec<(&'static str, Range<usize>)>,
}

/// A JSON object in the making. A name that is there already is not written again.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    names: Vec<&'static str>,
}

/// Writes only the message: it is to be near the beginning, where people look for it.
struct Message<'a>(&'a mut Vec<u8>);

/// A longer line is rare, and its memory not worth keeping.
const KEPT_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// The last line's memory, used again.
    static LINE: Cell<Option<Line>> = const { Cell::new(None) };
}

impl Line {
    /// A value that logs while it is formatted finds none, and gets a new one; so does what is
    /// logged while a thread ends.
    fn take() -> Self {
        let mut line = LINE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        line.text.clear();
        line.names.clear();
        line
    }

    fn give_back(self) {
        if self.text.capacity() <= KEPT_BYTES_MAX {
            let _ = LINE.try_with(|kept| kept.set(Some(self)));
        }
    }

    /// Of the request that is being answered, if one is.
    fn add_ids(&mut self) {
        let _ = REQUEST.try_with(|context| {
            self.member("correlation_id", context.correlation_id().as_str());
            let digits: [u8; 32] = hex::encode(&context.trace().trace_id().to_be_bytes());
            self.member("trace_id", str::from_utf8(&digits).unwrap_or_default());
        });
    }

    /// None on a thread that ends.
    fn add_more_fields(&mut self) {
        let _ = MORE_FIELDS.try_with(|fields| {
            for (name, value) in fields.borrow().iter() {
                self.member(name, *value);
            }
        });
    }

    fn copy_members(&mut self, fields: &Fields) {
        for (name, range) in &fields.members {
            if !self.names.contains(name) {
                self.names.push(name);
                self.text.push(b',');
                self.text.extend_from_slice(&fields.text[range.clone()]);
            }
        }
    }
}

/// Where fields are written.
trait Members {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized));
}

impl Members for Line {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if !self.names.contains(&name) {
            self.names.push(name);
            self.text.push(b',');
            write_member(&mut self.text, name, value);
        }
    }
}

impl Members for Message<'_> {
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if name == MESSAGE {
            write_json(self.0, value);
        }
    }
}

impl Members for Fields {
    /// The last value counts. What an earlier one left in the text is skipped.
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.members.retain(|(known, _)| *known != name);
        let begin = self.text.len();
        write_member(&mut self.text, name, value);
        self.members.push((name, begin..self.text.len()));
    }
}

struct Visitor<'a, M>(&'a mut M);

impl<M: Members> Visit for Visitor<'_, M> {
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
        self.0.member(field.name(), &Shown(value));
    }
}

/// A value as its debugging text, written where it goes without being gathered first.
struct Shown<'a>(&'a dyn fmt::Debug);

impl Serialize for Shown<'_> {
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

    use super::*;

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let service = Service {
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
