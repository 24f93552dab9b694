//! Questions at a terminal. A signal ends one at once: the read of an answer, which goes on
//! whatever comes, has a thread of its own, which is not joined.

use std::io::{self, Stdin};

use anyhow::{Context, Result};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use super::{Format, Report, put, text};

impl Report {
    /// Whether a person sees questions: at a terminal, and not in JSON.
    pub fn can_ask(&self) -> bool {
        self.mode.terminal && self.mode.format == Format::Human
    }

    /// Anything but yes is no.
    pub async fn ask(&self, question: &str) -> bool {
        if !self.can_ask() {
            return false;
        }
        let answer = self.answer(&format!("{question} [y/N] ")).await;
        answer.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// What is typed is not shown. Empty where nothing was.
    pub async fn ask_secret(&self, question: &str) -> Result<String> {
        let _hidden = Hidden::typing(io::stdin()).context("hide what is typed")?;
        let answer = self.answer(question).await;
        let line = answer.context("read an answer from the terminal")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    async fn answer(&self, question: &str) -> Result<String> {
        {
            let mut streams = self.streams();
            streams.live.end("");
            self.clear(&mut streams);
            drop(put(&mut streams.talk, &text::visible(question)));
            streams.asking = true;
        }
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = read.await??;
        self.streams().asking = !line.ends_with('\n');
        Ok(line)
    }
}

/// A terminal that shows nothing of what is typed but the end of the line, until this goes away.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn typing(terminal: Stdin) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        // Ctrl-\ would end the process where it stands, and leave the terminal so.
        hidden.special_codes[SpecialCodeIndex::VQUIT] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Fails only where the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
