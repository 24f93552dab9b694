//! Results go to stdout, all else to stderr: as lines for people, or as JSON, which is one document
//! on stdout (of `logs` one a line) and one event a line on stderr. The only file that prints.
//!
//! Where stderr is a terminal, what goes on is redrawn in place; elsewhere a line of it is printed
//! now and then, so that a CI log shows that something goes on and still reads like a story.

mod diagnostics;
mod ending;
mod event;
mod github;
mod paint;
mod question;
mod screen;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

pub use diagnostics::tell_diagnostics;
pub use event::{
    ArtifactKind, BuildEvent, CauseEvidence, CleanupEvent, CommandEvent, ContainerEvidence, Event,
    InfraEvent, LockEvent, MachineEvent, RehearsedFault, ReleaseEvent, RollbackEvent, SecretChange,
    SecretsEvent, Shortcoming, TaskEvidence,
};
use event::{Shown, Tone};
use paint::Paint;
use screen::{Live, Size};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
    // As for people, with annotations and groups of GitHub's workflow commands. A doc comment here
    // would make the help of every verb list the formats one a line.
    Github,
    // Findings alone have it.
    Sarif,
}

impl Format {
    /// Whether results and events are for programs.
    fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Sarif)
    }
}

/// Something to be shown at its place in a file of the checkout.
#[derive(Debug, Clone, Copy)]
pub struct Annotation<'a> {
    /// `error`, `warning` or `notice`.
    pub level: &'a str,
    /// Below the root.
    pub file: &'a str,
    /// Counted from 1.
    pub line: Option<usize>,
    pub text: &'a str,
}

#[derive(Debug, Clone, Copy)]
pub struct OutputMode {
    pub format: Format,
    pub quiet: bool,
    pub terminal: bool,
}

type Sink = Box<dyn Write + Send>;

pub struct Report {
    mode: OutputMode,
    screen: Screen,
    streams: Mutex<Streams>,
}

/// What the terminal of stderr can do.
struct Screen {
    redraws: bool,
    paint: Paint,
    /// Of stdout, which may be another one or none.
    paint_of_results: Paint,
    size: fn() -> Size,
}

struct Streams {
    data: Sink,
    talk: Sink,
    /// What the page of a workflow's job shows.
    summary: Option<Sink>,
    /// What stands on the terminal and is redrawn.
    live: Live,
    /// When each subject's newest live line was printed, where nothing is redrawn.
    printed: BTreeMap<String, Instant>,
    /// What each subject was last said to be at, in JSON: the same is not said again.
    at: BTreeMap<String, Event>,
    /// A question stands on the terminal's line and was not answered.
    asking: bool,
    /// Nothing more can be written where results go.
    unread: bool,
    /// Why a result is not, or not all, where it belongs.
    lost: Option<io::Error>,
}

/// Width of the subject column. Most names are shorter; a longer one moves its own line.
const SUBJECT_WIDTH: usize = 11;
/// Between two live lines of one subject where nothing is redrawn.
const LIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How soon a terminal shows the time that passed, or its new size.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

impl Report {
    pub fn new(mode: OutputMode, data: Sink, talk: Sink) -> Self {
        Self {
            mode,
            screen: Screen {
                redraws: mode.terminal && !mode.format.is_json(),
                paint: Paint::PLAIN,
                paint_of_results: Paint::PLAIN,
                size: || Size::DEFAULT,
            },
            streams: Mutex::new(Streams {
                data,
                talk,
                summary: None,
                live: Live::default(),
                printed: BTreeMap::new(),
                at: BTreeMap::new(),
                asking: false,
                unread: false,
                lost: None,
            }),
        }
    }

    /// A report to the process's own streams.
    #[expect(
        clippy::disallowed_methods,
        reason = "what a terminal can do is asked for where the program starts"
    )]
    pub fn to_process(mode: OutputMode) -> Self {
        let mut report = Self::new(mode, Box::new(io::stdout()), Box::new(io::stderr()));
        let is_dumb = std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb");
        report.screen.redraws &= !is_dumb;
        report.screen.size = || Size::of(io::stderr());
        if mode.format == Format::Human {
            report.screen.paint = Paint::of(&io::stderr());
            report.screen.paint_of_results = Paint::of(&io::stdout());
        }
        report
    }

    /// Goes on showing the time that passes, on a terminal, as long as the report lives.
    pub fn keep_live(report: &Arc<Self>) {
        if !report.screen.redraws {
            return;
        }
        let report = Arc::downgrade(report);
        drop(std::thread::spawn(move || {
            while let Some(report) = report.upgrade() {
                let mut streams = report.streams();
                if !streams.asking {
                    report.redraw(&mut streams);
                }
                drop(streams);
                drop(report);
                std::thread::park_timeout(REDRAW_INTERVAL);
            }
        }));
    }

    pub fn mode(&self) -> OutputMode {
        self.mode
    }

    /// From now on results go here too.
    pub fn summarise_to(&self, summary: Sink) {
        self.streams().summary = Some(summary);
    }

    /// Something that happened, or goes on.
    pub fn emit(&self, event: impl Into<Event>) {
        let event = event.into();
        let shown = event.shown();
        if self.mode.quiet && !matches!(shown.tone, Tone::Warning | Tone::Failed) {
            return;
        }
        match self.mode.format {
            Format::Json | Format::Sarif => self.emit_json(event, &shown),
            _ if shown.tone == Tone::Live => self.live(&shown),
            Format::Human => self.put_lines(&shown.subject, &self.painted(&shown)),
            Format::Github => {
                self.put_lines(&shown.subject, &github::shown(&shown));
                for (title, text) in event.errors() {
                    let error = github::command("error", &[("title", title)], &text);
                    self.put_lines("", &error);
                }
            }
        }
    }

    fn emit_json(&self, event: Event, shown: &Shown) {
        let line = serde_json::to_string(&event).unwrap_or_else(|error| {
            json!({ "event": "error_ignored", "subject": "output", "error": error.to_string() })
                .to_string()
        });
        {
            let at = &mut self.streams().at;
            if shown.tone != Tone::Live {
                at.retain(|subject, _| !shown.subject.is_empty() && *subject != shown.subject);
            } else if at.get(&shown.subject) == Some(&event) {
                return;
            } else {
                at.insert(shown.subject.clone(), event);
            }
        }
        self.put_lines(&shown.subject, &text::visible(&line));
    }

    /// For people, each line fit for the terminal.
    fn painted(&self, shown: &Shown) -> String {
        let paint = self.screen.paint;
        let text = text::visible(&shown.text);
        let subject = text::visible(&shown.subject);
        match shown.tone {
            Tone::Done | Tone::Live => paint.subject(&self.wrapped(&layout(&subject, &text))),
            Tone::Warning => {
                let line = layout(&subject, &format!("warning: {text}"));
                paint.warning(&self.wrapped(&line))
            }
            Tone::Block => paint.title(&self.wrapped(&text)),
            Tone::Failed => paint.failed(&self.wrapped(&text)),
            Tone::Output | Tone::Diagnostic => text,
        }
    }

    /// A terminal breaks lines in the middle of a word. A log has no width.
    fn wrapped(&self, text: &str) -> String {
        if !self.screen.redraws {
            return text.to_owned();
        }
        let columns = (self.screen.size)().columns;
        // What can be copied into a shell stays one line.
        let is_command =
            |line: &str| line.contains(" $ ") || line.trim_start().starts_with("hint: ");
        let lines = text.lines().map(|line| {
            if is_command(line) {
                line.to_owned()
            } else {
                screen::wrapped(line, columns)
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn live(&self, shown: &Shown) {
        let (subject, text) = (text::visible(&shown.subject), text::visible(&shown.text));
        let mut streams = self.streams();
        if self.screen.redraws {
            streams.live.set(&subject, &text);
            if !streams.asking {
                self.redraw(&mut streams);
            }
            return;
        }
        let now = Instant::now();
        let due = |printed: &Instant| now.duration_since(*printed) >= LIVE_INTERVAL;
        if streams.printed.get(&subject).is_none_or(due) {
            let line = self.harmless(&layout(&subject, &text));
            drop(put(&mut streams.talk, &format!("{line}\n")));
            streams.printed.insert(subject, now);
        }
    }

    fn redraw(&self, streams: &mut Streams) {
        let text = streams.live.redraw((self.screen.size)(), self.screen.paint);
        if !text.is_empty() {
            drop(put(&mut streams.talk, &text));
        }
    }

    /// What is wrong at a place of the checkout's files, for those who look at a change of them.
    /// Other formats have no annotations.
    pub fn annotate(&self, annotation: Annotation<'_>) {
        if self.mode.format == Format::Github {
            self.put_lines("", &github::annotation(annotation));
        }
    }

    /// A result for the page of a workflow's job, where there is one.
    pub fn summary(&self, title: &str, text: &str) {
        let mut streams = self.streams();
        if self.mode.format == Format::Github
            && let Some(summary) = &mut streams.summary
        {
            let written = put(summary, &github::section(title, &text::visible(text)));
            streams.note(written);
        }
    }

    /// The result of the command: JSON where that was asked for, else the text for people. Nothing
    /// else goes to stdout, and this once; `logs` alone gives its results one by one.
    pub fn data(&self, value: &impl Serialize, human: &str) {
        let text = match self.mode.format {
            Format::Human | Format::Github => self.harmless(human),
            Format::Json | Format::Sarif => serde_json::to_string(value)
                .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string()),
        };
        let mut streams = self.streams();
        streams.live.end("");
        self.clear(&mut streams);
        if !text.is_empty() {
            let text = text::visible(&text);
            let text = self
                .screen
                .paint_of_results
                .result(text.trim_end_matches('\n'));
            let written = put(&mut streams.data, &format!("{text}\n"));
            streams.note(written);
        }
    }

    /// Where commands are read in what is printed, a text must not hold any.
    fn harmless(&self, text: &str) -> String {
        if self.mode.format == Format::Github {
            github::inert(text)
        } else {
            text.to_owned()
        }
    }

    /// Prints lines that are fit to be seen. The subject is not at work any more; without one,
    /// none is.
    fn put_lines(&self, subject: &str, text: &str) {
        let mut streams = self.streams();
        streams.live.end(&text::visible(subject));
        self.clear(&mut streams);
        let line = format!("{}\n", text.trim_end_matches('\n'));
        // A message that cannot be written has no other place to go.
        drop(put(&mut streams.talk, &line));
        if self.screen.redraws {
            self.redraw(&mut streams);
        }
    }

    /// What stands on the terminal's last lines makes way for others.
    fn clear(&self, streams: &mut Streams) {
        let erased = streams.live.erase((self.screen.size)());
        if !erased.is_empty() {
            drop(put(&mut streams.talk, &erased));
        }
        if std::mem::take(&mut streams.asking) {
            drop(put(&mut streams.talk, "\n"));
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A number and what is counted: `1 error`, `2 errors`.
pub fn count(number: usize, singular: &str) -> String {
    match number {
        1 => format!("1 {singular}"),
        _ => format!("{number} {singular}s"),
    }
}

/// `sha256:` and the first twelve digits, as Docker shows a digest to people. JSON has it whole.
pub fn short_digest(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

/// A size as people read it: `5.9 MB` (millions of bytes).
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn layout(subject: &str, text: &str) -> String {
    format!("{subject:<SUBJECT_WIDTH$} {text}")
        .trim_end()
        .to_owned()
}

fn put(sink: &mut Sink, text: &str) -> io::Result<()> {
    sink.write_all(text.as_bytes())?;
    sink.flush()
}

#[cfg(test)]
pub mod testing {
    //! A report whose words a test can read.

    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    pub struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub fn text(&self) -> String {
            let bytes = self.0.lock().unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The report, its stdout and its stderr.
    pub fn captured(format: Format) -> (Report, Captured, Captured) {
        let (data, talk) = (Captured::default(), Captured::default());
        let mode = OutputMode {
            format,
            quiet: false,
            terminal: false,
        };
        (
            Report::new(mode, Box::new(data.clone()), Box::new(talk.clone())),
            data,
            talk,
        )
    }
}

#[cfg(test)]
mod tests;
