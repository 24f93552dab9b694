//! Color and weight, where the terminal has them and they are not declined (`NO_COLOR`, `CLICOLOR`,
//! `CLICOLOR_FORCE`, `TERM`).

use std::io::Stderr;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    colored: bool,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

impl Paint {
    pub(super) const PLAIN: Self = Self { colored: false };

    pub(super) fn of(stderr: &Stderr) -> Self {
        Self {
            colored: AutoStream::choice(stderr) != ColorChoice::Never,
        }
    }

    /// The first column of a line stands out.
    pub(super) fn subject(self, line: &str) -> String {
        match line.split_once(' ') {
            Some((subject, rest)) if !subject.is_empty() => {
                format!("{} {rest}", self.styled(BOLD, subject))
            }
            _ => line.to_owned(),
        }
    }

    /// The first line of a block stands out.
    pub(super) fn title(self, text: &str) -> String {
        self.first_line(BOLD, text)
    }

    pub(super) fn failed(self, text: &str) -> String {
        self.first_line(ERROR, text)
    }

    fn first_line(self, style: Style, text: &str) -> String {
        match text.split_once('\n') {
            Some((title, rest)) => format!("{}\n{rest}", self.styled(style, title)),
            None => text.to_owned(),
        }
    }

    pub(super) fn warning(self, line: &str) -> String {
        self.word(WARNING, &self.subject(line), "warning:")
    }

    pub(super) fn error(self, text: &str) -> String {
        let mut lines = text.lines();
        let first = self.word(ERROR, lines.next().unwrap_or_default(), "error:");
        let rest = lines.map(|line| self.word(HINT, line, "  hint:"));
        let lines: Vec<String> = std::iter::once(first).chain(rest).collect();
        lines.join("\n")
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.styled(DIM, text)
    }

    fn word(self, style: Style, line: &str, word: &str) -> String {
        line.replacen(word, &self.styled(style, word), 1)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.colored && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_stands_out_where_the_terminal_has_colors() {
        let paint = Paint { colored: true };
        assert_eq!(
            paint.warning("orbit       warning: slow"),
            "\u{1b}[1morbit\u{1b}[0m       \u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m slow"
        );
        assert_eq!(
            paint.error("error: held\n  hint: wait"),
            "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m held\n\u{1b}[36m  hint:\u{1b}[0m wait"
        );
        assert_eq!(Paint::PLAIN.title("a\nb"), "a\nb");
    }
}
