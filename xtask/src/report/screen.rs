//! What stands on a terminal and is redrawn in place: a line for each subject that is at work.
//!
//! The cursor stays at the beginning of the line below the block, so that a typed `^C` is erased
//! with it. Nothing is hidden and no mode is set: however the program ends, the terminal is as it
//! was.

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::time::Instant;
use unicode_width::UnicodeWidthStr;

use super::paint::Paint;

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Where the terminal reports no size: 80 by 24, as terminals had first.
    pub(super) const DEFAULT: Self = Self {
        columns: 80,
        rows: 24,
    };

    pub(super) fn of(terminal: impl AsFd) -> Self {
        let size = rustix::termios::tcgetwinsize(terminal).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(Self::DEFAULT, |size| Self {
            columns: usize::from(size.ws_col),
            rows: usize::from(size.ws_row),
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Live {
    entries: Vec<LiveLine>,
    /// The lines that stand on the terminal, without their colors.
    drawn: Vec<String>,
}

#[derive(Debug)]
struct LiveLine {
    subject: String,
    text: String,
    since: Instant,
}

/// A time shorter than this says nothing.
const ELAPSED_MIN: Duration = Duration::from_secs(2);

impl Live {
    /// A subject's line. It keeps its place and its time while it is at work.
    pub(super) fn set(&mut self, subject: &str, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self.entries.iter_mut().find(|it| it.subject == subject) {
            Some(entry) => entry.text = text,
            None => self.entries.push(LiveLine {
                subject: subject.to_owned(),
                text,
                since: Instant::now(),
            }),
        }
    }

    /// A subject is at work no more; without one, none is.
    pub(super) fn end(&mut self, subject: &str) {
        self.entries
            .retain(|entry| !subject.is_empty() && entry.subject != subject);
    }

    /// What erases the block. A terminal that became narrower has broken its lines.
    pub(super) fn erase(&mut self, size: Size) -> String {
        let rows = |line: &String| line.width().div_ceil(size.columns).max(1);
        let rows: usize = self.drawn.drain(..).map(|line| rows(&line)).sum();
        if rows == 0 {
            return String::new();
        }
        format!("\r\x1b[{}A\x1b[J", rows.min(size.rows))
    }

    /// What puts the block as it is now in the place of the one that stands there; nothing where
    /// they are the same.
    pub(super) fn redraw(&mut self, size: Size, paint: Paint) -> String {
        let lines: Vec<(String, String)> = self.lines(size, paint).collect();
        let same = lines.iter().map(|(plain, _)| plain).eq(&self.drawn);
        if same {
            return String::new();
        }
        let mut text = self.erase(size);
        for (plain, painted) in lines {
            text.push_str(&painted);
            text.push('\n');
            self.drawn.push(plain);
        }
        text
    }

    /// The lines, plain and in color. A block as high as the terminal could not be erased.
    fn lines(&self, size: Size, paint: Paint) -> impl Iterator<Item = (String, String)> {
        let newest = self.entries.len().saturating_sub(size.rows - 1);
        self.entries[newest..].iter().map(move |entry| {
            let elapsed = elapsed(entry.since.elapsed());
            // A full last column would break the line on some terminals.
            let limit = (size.columns - 1).saturating_sub(elapsed.width());
            let line = super::layout(&entry.subject, &entry.text);
            let line = cut(&line, limit);
            let painted = format!("{}{}", paint.subject(&line), paint.dim(&elapsed));
            (format!("{line}{elapsed}"), painted)
        })
    }
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 60 {
        _ if time < ELAPSED_MIN => String::new(),
        0 => format!("  {seconds} s"),
        minutes => format!("  {minutes} min {} s", seconds % 60),
    }
}

/// A line that fits, without its last words where it does not.
pub(super) fn cut(line: &str, limit: usize) -> String {
    const REST: &str = " ...";
    if line.width() <= limit {
        return line.to_owned();
    }
    let limit = limit.saturating_sub(REST.len());
    let mut end = 0;
    for (index, _) in line.match_indices(' ') {
        if line[..index].width() > limit {
            break;
        }
        end = index;
    }
    if line[..end].trim().is_empty() {
        // One word that is longer than the line.
        let fits = |index: &usize| line[..*index].width() <= limit;
        let indices = line.char_indices().map(|(index, _)| index);
        end = indices.take_while(fits).last().unwrap_or(0);
    }
    format!("{}{REST}", line[..end].trim_end())
}

/// A line broken between its words, so that a terminal does not break it in one. What follows
/// stands below the second column, where the line has columns.
pub(super) fn wrapped(line: &str, columns: usize) -> String {
    if line.width() < columns {
        return line.to_owned();
    }
    let hang = hang(line).min(columns / 2);
    let mut lines = vec![String::new()];
    let mut begun = false;
    for word in line.split(' ') {
        let last = lines.last_mut().map(|last| {
            let separator = usize::from(begun);
            (last.width() + separator + word.width(), last)
        });
        match last {
            Some((width, last)) if width < columns || last.trim().is_empty() => {
                if begun {
                    last.push(' ');
                }
                last.push_str(word);
            }
            _ => lines.push(format!("{}{word}", " ".repeat(hang))),
        }
        begun = true;
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n")
}

/// Where the second column of a line begins; two behind its own beginning where it has none.
fn hang(line: &str) -> usize {
    let start = line.len() - line.trim_start().len();
    let gap = line[start..].find("  ");
    let second = gap.map(|gap| {
        let rest = &line[start + gap..];
        start + gap + (rest.len() - rest.trim_start().len())
    });
    second.filter(|column| *column < 24).unwrap_or(start + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        columns: 40,
        rows: 4,
    };

    fn drawn(live: &mut Live) -> String {
        live.redraw(SIZE, Paint::PLAIN)
    }

    #[tokio::test(start_paused = true)]
    async fn each_subject_has_a_line_and_the_time_since_it_began() {
        let mut live = Live::default();
        live.set("axon", "0/2 running");
        assert_eq!(drawn(&mut live), "axon        0/2 running\n");
        live.set("orbit", "pushing 5.9 MB");
        tokio::time::advance(Duration::from_secs(65)).await;
        assert_eq!(
            drawn(&mut live),
            "\r\u{1b}[1A\u{1b}[Jaxon        0/2 running  1 min 5 s\n\
             orbit       pushing 5.9 MB  1 min 5 s\n"
        );
        assert_eq!(drawn(&mut live), "");
        live.end("axon");
        assert_eq!(
            drawn(&mut live),
            "\r\u{1b}[2A\u{1b}[Jorbit       pushing 5.9 MB  1 min 5 s\n"
        );
        live.end("");
        assert_eq!(drawn(&mut live), "\r\u{1b}[1A\u{1b}[J");
        assert_eq!(drawn(&mut live), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_that_became_narrower_has_broken_the_lines() {
        let mut live = Live::default();
        live.set("axon", "demo-axon:2: 0/2 running");
        drawn(&mut live);
        let narrow = Size {
            columns: 20,
            rows: 24,
        };
        assert_eq!(live.erase(narrow), "\r\u{1b}[2A\u{1b}[J");
    }

    #[test]
    fn a_block_is_never_as_high_as_the_terminal() {
        let mut live = Live::default();
        for subject in ["a", "b", "c", "d", "e"] {
            live.set(subject, "works");
        }
        let text = drawn(&mut live);
        assert_eq!(text.lines().count(), SIZE.rows - 1, "{text}");
        assert!(text.contains("\ne "), "{text}");
    }

    #[test]
    fn a_line_is_cut_between_words() {
        let line = "axon        demo-axon:2: 0/2 running";
        assert_eq!(cut(line, 40), line);
        assert_eq!(cut(line, 34), "axon        demo-axon:2: 0/2 ...");
        assert_eq!(cut("sha256:0123456789", 12), "sha256:0 ...");
        assert_eq!(cut("日本語日本語", 9), "日本 ...");
    }

    #[test]
    fn a_line_is_broken_between_words_and_goes_on_below_its_second_column() {
        let line = "orbit       answered 503 where 200 was expected";
        assert_eq!(
            wrapped(line, 30),
            "orbit       answered 503\n            where 200 was\n            expected"
        );
        assert_eq!(wrapped(line, 80), line);
        assert_eq!(
            wrapped("error: a b c d e f", 10),
            "error: a\n  b c d e\n  f"
        );
        let word = "  digest      sha256:0123456789012345678901234567890123456789";
        assert_eq!(
            wrapped(word, 30),
            "  digest\n              sha256:0123456789012345678901234567890123456789"
        );
    }
}
