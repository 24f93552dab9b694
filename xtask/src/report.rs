//! Results go to stdout, all else to stderr: as lines for people, or as JSON, which is one document
//! on stdout (of `logs` one a line) and one event a line on stderr. The only file that prints.
//!
//! Where stderr is a terminal, the newest live line is redrawn in place; elsewhere one is printed
//! now and then, so that a CI log shows that something goes on and still reads like a story.

mod diagnostics;
mod ending;
mod github;
mod question;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

pub use diagnostics::tell_diagnostics;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
    // As for people, with annotations and groups of GitHub's workflow commands. A doc comment here
    // would make the help of every verb list the formats one a line.
    Github,
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
    streams: Mutex<Streams>,
}

struct Streams {
    data: Sink,
    talk: Sink,
    /// What the page of a workflow's job shows.
    summary: Option<Sink>,
    /// The live line that stands on the terminal now.
    live: String,
    /// When each subject's newest live line was printed, where nothing is redrawn.
    printed: BTreeMap<String, Instant>,
    /// A question stands on the terminal's line and was not answered.
    asking: bool,
    /// Nothing more can be written where results go.
    unread: bool,
    /// Why a result is not, or not all, where it belongs.
    lost: Option<io::Error>,
}

/// Width of the subject column: the longest subject is `governance`.
const SUBJECT_WIDTH: usize = 11;
/// A redrawn line must not wrap, or it could not be cleared.
const LIVE_WIDTH_MAX: usize = 100;
/// Between two live lines of one subject where nothing is redrawn.
const LIVE_INTERVAL: Duration = Duration::from_secs(10);

impl Report {
    pub fn new(mode: OutputMode, data: Sink, talk: Sink) -> Self {
        Self {
            mode,
            streams: Mutex::new(Streams {
                data,
                talk,
                summary: None,
                live: String::new(),
                printed: BTreeMap::new(),
                asking: false,
                unread: false,
                lost: None,
            }),
        }
    }

    /// A report to the process's own streams.
    pub fn to_process(mode: OutputMode) -> Self {
        Self::new(mode, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    pub fn mode(&self) -> OutputMode {
        self.mode
    }

    /// From now on results go here too.
    pub fn summarise_to(&self, summary: Sink) {
        self.streams().summary = Some(summary);
    }

    /// Something that is now so: `axon  rolled out demo-axon:4`.
    pub fn line(&self, subject: &str, text: &str) {
        self.event("line", subject, text);
    }

    /// Something that goes on and will be replaced by what comes next.
    pub fn live(&self, subject: &str, text: &str) {
        if self.mode.quiet || self.mode.format == Format::Json {
            return;
        }
        let line = text::visible(&self.harmless(&layout(subject, text)));
        let mut streams = self.streams();
        if self.mode.terminal {
            if streams.live != line {
                let shown: String = line.chars().take(LIVE_WIDTH_MAX).collect();
                drop(put(&mut streams.talk, &format!("\r\x1b[2K{shown}")));
                streams.live = line;
            }
            return;
        }
        let now = Instant::now();
        let due = |printed: &Instant| now.duration_since(*printed) >= LIVE_INTERVAL;
        if streams.printed.get(subject).is_none_or(due) {
            drop(put(&mut streams.talk, &format!("{line}\n")));
            streams.printed.insert(subject.to_owned(), now);
        }
    }

    /// Something that the user should know although nothing failed.
    pub fn warn(&self, subject: &str, text: &str) {
        self.event("warning", subject, text);
    }

    /// A block of lines that belong together: a plan, a diff, a failure's evidence.
    pub fn block(&self, text: &str) {
        match self.mode.format {
            _ if self.mode.quiet => {}
            Format::Json => self.put_talk(&json!({ "event": "block", "text": text }).to_string()),
            Format::Human => self.talk(text),
            Format::Github => match text.trim_end().split_once('\n') {
                Some((title, rest)) => self.put_talk(&github::group(title, rest)),
                None => self.talk(text),
            },
        }
    }

    /// A step's document: JSON where that was asked for, else a block for people.
    pub fn document(&self, event: &str, value: &impl Serialize, human: &str) {
        if self.mode.format != Format::Json {
            self.block(human);
        } else if !self.mode.quiet {
            self.put_talk(&json!({ "event": event, "document": value }).to_string());
        }
    }

    /// What is wrong at a place of the checkout's files, for those who look at a change of them.
    /// Other formats have no such component.
    pub fn annotate(&self, annotation: Annotation<'_>) {
        if self.mode.format == Format::Github {
            self.put_talk(&github::annotation(annotation));
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

    /// The result of the command: JSON where that was asked for, else the text for people. The only
    /// component that goes to stdout, and once; `logs` alone gives its results one by one.
    pub fn data(&self, value: &impl Serialize, human: &str) {
        let text = match self.mode.format {
            Format::Human | Format::Github => self.harmless(human),
            Format::Json => serde_json::to_string(value)
                .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string()),
        };
        let mut streams = self.streams();
        clear_line(&mut streams, self.mode);
        if !text.is_empty() {
            let line = format!("{}\n", text::visible(&text).trim_end_matches('\n'));
            let written = put(&mut streams.data, &line);
            streams.note(written);
        }
    }

    /// One line of diagnostics (`--verbose`).
    pub fn diagnostic(&self, text: &str) {
        if self.mode.format == Format::Json {
            self.put_talk(&json!({ "event": "diagnostic", "text": text }).to_string());
        } else {
            self.talk(text);
        }
    }

    fn event(&self, event: &str, subject: &str, text: &str) {
        let warning = event == "warning";
        if self.mode.quiet && !warning {
            return;
        }
        match self.mode.format {
            Format::Json => {
                let event = json!({ "event": event, "subject": subject, "text": text });
                self.put_talk(&event.to_string());
            }
            Format::Github if warning => {
                self.put_talk(&github::command("warning", &[("title", subject)], text));
            }
            _ if warning => self.talk(&layout(subject, &format!("warning: {text}"))),
            _ => self.talk(&layout(subject, text)),
        }
    }

    fn talk(&self, text: &str) {
        self.put_talk(&self.harmless(text));
    }

    /// Where commands are read in what is printed, a text must not hold any.
    fn harmless(&self, text: &str) -> String {
        if self.mode.format == Format::Github {
            github::inert(text)
        } else {
            text.to_owned()
        }
    }

    fn put_talk(&self, text: &str) {
        let line = format!("{}\n", text::visible(text).trim_end_matches('\n'));
        let mut streams = self.streams();
        clear_line(&mut streams, self.mode);
        // Where nothing can be told there is nobody to tell it to.
        drop(put(&mut streams.talk, &line));
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

/// A size as people read it: `5.9 MB` (millions of bytes).
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn layout(subject: &str, text: &str) -> String {
    format!("{subject:<SUBJECT_WIDTH$} {text}")
        .trim_end()
        .to_owned()
}

/// What stands on the terminal's line makes way for the next.
fn clear_line(streams: &mut Streams, mode: OutputMode) {
    if mode.terminal && !streams.live.is_empty() {
        drop(put(&mut streams.talk, "\r\x1b[2K"));
    }
    streams.live.clear();
    if std::mem::take(&mut streams.asking) {
        drop(put(&mut streams.talk, "\n"));
    }
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
