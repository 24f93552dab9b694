//! How a command ends: its last word and its exit code.

use std::io;

use anyhow::Result;

use super::{CommandEvent, Event, Format, Report, github, text};
use crate::failure::{self, Failure, Kind};

impl Report {
    /// Prints why a command failed, if it did, and returns its exit code. A result that could not
    /// be written is no result, whatever it says.
    pub fn end(&self, ended: Result<()>) -> u8 {
        let lost = self.streams().lost.take();
        let error = match (ended.map_err(failure::explained), lost) {
            (Ok(()), None) => return 0,
            (Err(error), None) => error,
            (Err(error), Some(lost)) if !failure::is(&error, Kind::Changes) => {
                self.emit(CommandEvent::ErrorIgnored {
                    subject: "output".to_owned(),
                    error: format!("write the result: {lost}"),
                });
                error
            }
            (_, Some(lost)) => anyhow::Error::from(lost).context("write the result"),
        };
        self.failure(&error);
        failure::exit_code(&error)
    }

    /// What clap says when there is no command to run: help and the version are results, all else
    /// is a failure. People get it as clap prints it, with a terminal's colours.
    pub fn end_unparsed(&self, said: &clap::Error) -> u8 {
        let is_result = !said.use_stderr();
        if self.mode.format == Format::Human {
            let printed = said.print();
            if !is_result {
                return Kind::Usage.exit_code();
            }
            self.streams().note(printed);
            return self.end(Ok(()));
        }
        let text = said.render().to_string();
        if is_result {
            self.data(&text.trim_end(), &text);
            return self.end(Ok(()));
        }
        let text = text.trim().trim_start_matches("error: ");
        let (message, hint) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut failure = Failure::usage(message);
        if !hint.is_empty() {
            failure = failure.hint(hint);
        }
        self.end(Err(failure.into()))
    }

    /// What failed, why, and what to do about it.
    pub fn failure(&self, error: &anyhow::Error) {
        if failure::is(error, Kind::Changes) {
            // The command has printed its result: this is its exit code alone.
            return;
        }
        let hint = failure::of(error).and_then(|failure| failure.hint.clone());
        let event = CommandEvent::Failure {
            exit_code: failure::exit_code(error),
            error: format!("{error:#}"),
            hint,
        };
        let event = Event::from(event);
        let shown = event.shown();
        match self.mode.format {
            Format::Json | Format::Sarif => self.emit_json(event, &shown),
            Format::Github => {
                self.summary("Failed", &shown.text);
                self.put_lines("", &github::command("error", &[], &shown.text));
            }
            Format::Human => {
                let text = text::visible(&format!("error: {}", shown.text));
                self.put_lines("", &self.screen.paint.error(&self.wrapped(&text)));
            }
        }
    }

    /// Whether results still come to where they belong: not so behind `| head`, once that has
    /// what it wanted.
    pub fn is_read(&self) -> bool {
        !self.streams().unread
    }
}

impl super::Streams {
    /// A reader that went away (`xtask logs | head`) is no failure of ours; all else is.
    pub(super) fn note(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        self.unread = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.lost.get_or_insert(error);
        }
    }
}
