//! A JSON text with the place of every value. Where the text is not JSON the parser says so and
//! goes on, so that one broken place does not hide the others.

mod parser;

use serde_json::Value;

/// Counted from 1, as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// A place that JSON does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    pub position: Position,
    pub message: String,
}

#[derive(Debug, Clone)]
pub struct Document {
    pub value: Value,
    pub faults: Vec<SyntaxFault>,
    extents: Extent,
    lines: Lines,
}

/// Where a value is, and where its children are.
#[derive(Debug, Clone, Default)]
struct Extent {
    /// Where the key is, if it is the value of one.
    key: usize,
    /// Where the text of the key begins and ends, without its quotes.
    name: (usize, usize),
    start: usize,
    end: usize,
    /// Members of an object, or items of a list.
    children: Vec<Extent>,
}

/// So many bytes lie between two places that are known, in a line as long as that.
const KNOWN_EVERY: usize = 1024;

#[derive(Debug, Clone)]
struct Lines {
    text: String,
    /// Where each line begins, and places in long lines: a file may be one line.
    known: Vec<(usize, Position)>,
}

impl Document {
    pub fn parse(text: &str) -> Self {
        // Editors of Windows begin a file with a byte order mark; the AWS CLI reads it all the same.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = parser::parse(text);
        let lines = Lines::of(text);
        let faults = parsed
            .faults
            .into_iter()
            .map(|(offset, message)| SyntaxFault {
                position: lines.position(offset),
                message,
            });
        Self {
            value: parsed.value,
            faults: faults.collect(),
            extents: parsed.extents,
            lines,
        }
    }

    /// The place of a JSON path such as `containerDefinitions[0].secrets[1].valueFrom`. A path that
    /// does not exist (a key may be missing) has the place of its closest existing parent.
    pub fn position(&self, json_path: &str) -> Position {
        self.lines.position(self.extent(json_path).1.start)
    }
}

/// A change of one value's text that leaves all else as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The value becomes this string.
    Replace(String),
    /// Its key becomes this one.
    Rename(&'static str),
    /// The value goes with its key.
    Remove,
}

/// The text from one offset to another becomes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChange {
    pub start: usize,
    pub end: usize,
    pub new: String,
}

impl Document {
    /// What an edit changes in the text. `None`: there is no such value.
    pub fn change(&self, json_path: &str, edit: &Edit) -> Option<TextChange> {
        let text = &self.lines.text;
        let extent = self.extent(json_path).0?;
        let (start, end, new) = match edit {
            Edit::Replace(value) => (extent.start, extent.end, quoted(value)),
            Edit::Rename(key) => {
                let (start, end) = extent.name;
                (extent.key, end + (start - extent.key), quoted(key))
            }
            Edit::Remove => {
                let after = text[extent.end..].trim_start();
                let before = text[..extent.key].trim_end();
                let (start, end) = match (after.strip_prefix(','), before.strip_suffix(',')) {
                    (Some(next), _) => (extent.key, text.len() - next.trim_start().len()),
                    (None, Some(previous)) => (previous.len(), extent.end),
                    (None, None) => (extent.key, extent.end),
                };
                (start, end, String::new())
            }
        };
        Some(TextChange { start, end, new })
    }

    /// The value of a path, or its closest existing parent.
    fn extent(&self, json_path: &str) -> (Option<&Extent>, &Extent) {
        let mut found = &self.extents;
        let mut rest = json_path;
        while !rest.is_empty() {
            let next = match rest.as_bytes()[0] {
                b'[' => {
                    let (index, tail) = rest[1..].split_once(']').unwrap_or((&rest[1..], ""));
                    let index: Option<usize> = index.parse().ok();
                    let item = index.and_then(|index| found.children.get(index));
                    item.map(|item| (item, tail))
                }
                b'.' => self.member(found, &rest[1..]),
                _ => self.member(found, rest),
            };
            match next {
                Some((next, tail)) => (found, rest) = (next, tail),
                None => return (None, found),
            }
        }
        (Some(found), found)
    }

    /// The member that a path begins with, and the rest of the path. A key may have dots itself.
    fn member<'a, 'b>(&self, of: &'a Extent, path: &'b str) -> Option<(&'a Extent, &'b str)> {
        let mut found: Option<(&Extent, &str)> = None;
        // The longest key, and of several members of one name the last, which counts.
        for child in of.children.iter().rev() {
            let (start, end) = child.name;
            let is_end = matches!(path.as_bytes().get(end - start), None | Some(b'.' | b'['));
            if is_end
                && path
                    .as_bytes()
                    .starts_with(&self.lines.text.as_bytes()[start..end])
                && found.is_none_or(|(_, shorter)| path.len() - (end - start) < shorter.len())
            {
                found = Some((child, &path[end - start..]));
            }
        }
        found
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Lines {
    fn of(text: &str) -> Self {
        let mut place = Position { line: 1, column: 1 };
        let mut known = vec![(0, place)];
        let mut last = 0;
        for (at, character) in text.char_indices() {
            if at - last >= KNOWN_EVERY {
                known.push((at, place));
                last = at;
            }
            place.column += 1;
            if character == '\n' {
                place = Position {
                    line: place.line + 1,
                    column: 1,
                };
                last = at + 1;
                known.push((last, place));
            }
        }
        let text = text.to_owned();
        Self { text, known }
    }

    fn position(&self, offset: usize) -> Position {
        let next = self.known.partition_point(|(at, _)| *at <= offset);
        let (start, place) = self.known[next.max(1) - 1];
        let between = self.text.get(start..offset).unwrap_or_default();
        Position {
            column: place.column + between.chars().count(),
            ..place
        }
    }
}

#[cfg(test)]
mod tests;
