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

/// Where a value begins, and where its children do.
#[derive(Debug, Clone, Default)]
struct Extent {
    start: usize,
    members: Vec<(String, Extent)>,
    items: Vec<Extent>,
}

#[derive(Debug, Clone)]
struct Lines {
    /// The offset of each line's first byte.
    starts: Vec<usize>,
    text: String,
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
        let mut found = &self.extents;
        let mut rest = json_path;
        while !rest.is_empty() {
            let next = if let Some(index) = rest.strip_prefix('[') {
                let (index, tail) = index.split_once(']').unwrap_or((index, ""));
                let item = index
                    .parse()
                    .ok()
                    .and_then(|index: usize| found.items.get(index));
                item.map(|item| (item, tail))
            } else {
                found.member(rest.strip_prefix('.').unwrap_or(rest))
            };
            match next {
                Some((next, tail)) => (found, rest) = (next, tail),
                None => break,
            }
        }
        self.lines.position(found.start)
    }
}

impl Extent {
    /// The member that a path begins with, and the rest of the path. A key may have dots itself.
    fn member<'a, 'b>(&'a self, path: &'b str) -> Option<(&'a Extent, &'b str)> {
        let members = self.members.iter().rev();
        members
            .filter_map(|(key, span)| Some((span, path.strip_prefix(key.as_str())?)))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
            // The longest key, and of several members of one name the last, which counts.
            .min_by_key(|(_, rest)| rest.len())
    }
}

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(breaks).collect(),
            text: text.to_owned(),
        }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line.max(1) - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests;
