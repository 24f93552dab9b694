//! Color and weight, where the terminal has them and they are not declined (`NO_COLOR`, `CLICOLOR`,
//! `CLICOLOR_FORCE`, `TERM`).

use anstream::stream::RawStream;
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
const SUCCESS: Style = AnsiColor::Green.on_default();

/// The words of results by which people look for a line: how a release, a check or a rule ended.
const VERDICTS: [(&str, Style); 11] = [
    ("succeeded", SUCCESS),
    ("PASS", SUCCESS),
    ("in progress", WARNING),
    ("rolled back", WARNING),
    ("detached", WARNING),
    ("superseded", WARNING),
    ("SKIP", WARNING),
    ("warning", WARNING),
    ("rollback failed", ERROR),
    ("FAIL", ERROR),
    ("error", ERROR),
];

impl Paint {
    pub(super) const PLAIN: Self = Self { colored: false };

    pub(super) fn of(stream: &impl RawStream) -> Self {
        Self {
            colored: AutoStream::choice(stream) != ColorChoice::Never,
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

    /// Lines of a result, each with its first verdict in color. JSON stays as it is.
    pub(super) fn result(self, text: &str) -> String {
        let lines = text.split('\n').map(|line| match verdict(line) {
            Some((start, word, style)) => {
                let (before, after) = (&line[..start], &line[start + word.len()..]);
                format!("{before}{}{after}", self.styled(style, word))
            }
            None => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
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

/// The first verdict of a line that is a word of its own, and where it begins.
fn verdict(line: &str) -> Option<(usize, &'static str, Style)> {
    if line.trim_start().starts_with(['{', '}', '[', ']', '"']) {
        return None;
    }
    let joins = |character: char| character.is_alphanumeric() || "_-".contains(character);
    let found = VERDICTS.iter().flat_map(|(word, style)| {
        let is_word = move |start: usize| {
            let before = line[..start].chars().next_back();
            let after = line[start + word.len()..].chars().next();
            ![before, after].into_iter().flatten().any(joins)
        };
        let starts = line.match_indices(word).map(|(start, _)| start);
        starts
            .filter(move |start| is_word(*start))
            .map(move |start| (start, *word, *style))
    });
    found.min_by_key(|(start, _, _)| *start)
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

    #[test]
    fn the_first_verdict_of_a_results_line_has_a_color() {
        let paint = Paint { colored: true };
        let text =
            "    4  rollback  rollback failed  succeeded\n 1  PASS  no errors\n{\"error\": 1}";
        assert_eq!(
            paint.result(text),
            "    4  rollback  \u{1b}[1m\u{1b}[31mrollback failed\u{1b}[0m  succeeded\n \
             1  \u{1b}[32mPASS\u{1b}[0m  no errors\n{\"error\": 1}"
        );
        assert_eq!(paint.result("no errors"), "no errors");
        assert_eq!(Paint::PLAIN.result(text), text);
    }
}
