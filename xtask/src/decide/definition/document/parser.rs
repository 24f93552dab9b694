//! The parser: a value for every text, with what had to be mended.

use serde_json::{Map, Value};

use super::Extent;

/// Values that are nested deeper are left out: no definition is.
const DEPTH_MAX: usize = 64;
/// A text that is not JSON at all has many faults; the first ones say so.
const FAULTS_MAX: usize = 20;

pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) extents: Extent,
    /// Offsets, and what is wrong there.
    pub(super) faults: Vec<(usize, String)>,
}

pub(super) fn parse(text: &str) -> Parsed {
    let parsed = parse_as(text, false);
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if parsed.faults.is_empty() || is_json() {
        return parsed;
    }
    parse_as(text, true)
}

fn parse_as(text: &str, has_templates: bool) -> Parsed {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        has_templates,
        faults: Vec::new(),
    };
    parser.find_start();
    let (value, extents) = parser.value();
    parser.skip_blank();
    if parser.at < text.len() {
        parser.fault(parser.at, "text after the end");
    }
    Parsed {
        value,
        extents,
        faults: parser.faults,
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Whether `{{ ... }}` and `${ ... }` may stand in place of a value, with quotes inside.
    has_templates: bool,
    faults: Vec<(usize, String)>,
}

impl<'a> Parser<'a> {
    /// Of all that is missing where the text ends, the first one says that it ends too soon.
    fn fault(&mut self, at: usize, message: impl Into<String>) {
        let last = self.faults.last();
        let is_told = at == self.text.len() && last.is_some_and(|(last, _)| *last == at);
        if !is_told && self.faults.len() < FAULTS_MAX {
            self.faults.push((at, message.into()));
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next byte. Where one of a longer character matters, it is none of JSON's.
    fn peek(&self) -> Option<char> {
        self.text
            .as_bytes()
            .get(self.at)
            .map(|byte| char::from(*byte))
    }

    /// Goes on to the next byte that is one of these, or to the end.
    fn skip_to(&mut self, is_end: fn(u8) -> bool) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && !is_end(bytes[self.at]) {
            self.at += 1;
        }
    }

    /// Goes on from the first object, where there is other text before it.
    fn find_start(&mut self) {
        self.skip_blank();
        let begins = self.peek().is_some_and(|first| "{[\"".contains(first));
        if begins || serde_json::from_str::<Value>(self.rest()).is_ok() {
            return;
        }
        if let Some(skipped) = self.rest().find('{') {
            self.fault(self.at, "text before the first `{`");
            self.at += skipped;
        }
    }

    /// Skips white space, and comments and lines of templates, which JSON does not have.
    fn skip_blank(&mut self) {
        loop {
            let bytes = self.text.as_bytes();
            while self.at < bytes.len() && matches!(bytes[self.at], b' ' | b'\t' | b'\r' | b'\n') {
                self.at += 1;
            }
            if !matches!(self.peek(), Some('/' | '#' | '%')) {
                return;
            }
            let rest = self.rest();
            let end = if rest.starts_with("//") || rest.starts_with('#') && !rest.starts_with("#{")
            {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if self.has_templates && rest.starts_with("%{") {
                rest.find('}').map_or(rest.len(), |end| end + 1)
            } else {
                return;
            };
            if !rest.starts_with("%{") {
                self.fault(self.at, "a comment, which JSON does not have");
            }
            self.at += end;
        }
    }

    fn value(&mut self) -> (Value, Extent) {
        self.skip_blank();
        let start = self.at;
        let mut extent = Extent {
            start,
            ..Extent::default()
        };
        let value = match self.peek() {
            Some('{') if !self.is_template() => self.nested(Self::object, &mut extent),
            Some('[') => self.nested(Self::array, &mut extent),
            Some('"') => Value::String(self.string()),
            Some(_) => self.bare(),
            None => {
                self.fault(start, "the text ends here: a value is missing");
                Value::Null
            }
        };
        extent.end = start + self.text[start..self.at].trim_end().len();
        (value, extent)
    }

    fn nested(&mut self, parse: fn(&mut Self, &mut Extent) -> Value, extent: &mut Extent) -> Value {
        if self.depth >= DEPTH_MAX {
            self.fault(self.at, "nested too deeply");
            self.at = self.text.len();
            return Value::Null;
        }
        self.depth += 1;
        self.at += 1;
        let value = parse(self, extent);
        self.depth -= 1;
        value
    }

    fn object(&mut self, extent: &mut Extent) -> Value {
        let mut members = Map::new();
        loop {
            self.skip_blank();
            let start = self.at;
            let key = match self.peek() {
                None => {
                    self.fault(start, "the text ends here: a `}` is missing");
                    break;
                }
                Some('}') => {
                    self.at += 1;
                    break;
                }
                // The list around the object ends: its brace is missing.
                Some(']') => {
                    self.fault(start, "a `}` is missing");
                    break;
                }
                Some(',') => {
                    self.fault(start, "a comma too many");
                    self.at += 1;
                    continue;
                }
                Some('"') => self.string(),
                Some(_) if self.is_template() => {
                    self.at += self.template_length();
                    continue;
                }
                Some('{' | '[') => {
                    self.fault(start, "a key is missing");
                    drop(self.value());
                    self.skip_comma('}');
                    continue;
                }
                Some(_) => {
                    self.fault(start, "a key must be a string in double quotes");
                    self.word(&[':', ',', '}', '\n', ' '])
                        .trim_matches('\'')
                        .to_owned()
                }
            };
            let name = self.without_quotes(start, self.at);
            let (value, mut child) = self.value_of(&key, start);
            (child.key, child.name) = (start, name);
            let length = members.len();
            members.insert(key, value);
            if members.len() == length {
                let key = &self.text[child.name.0..child.name.1];
                self.fault(start, format!("duplicate key `{key}`"));
            }
            extent.children.push(child);
            self.skip_comma('}');
        }
        Value::Object(members)
    }

    /// What follows a key, which begins at `start`.
    fn value_of(&mut self, key: &str, start: usize) -> (Value, Extent) {
        self.skip_blank();
        if self.peek() == Some(':') {
            self.at += 1;
        } else {
            self.fault(self.at, format!("a colon is missing after `{key}`"));
        }
        if !matches!(self.peek_value(), Some(',' | '}' | ']')) {
            return self.value();
        }
        self.fault(self.at, format!("`{key}` has no value"));
        let extent = Extent {
            start,
            end: start,
            ..Extent::default()
        };
        (Value::Null, extent)
    }

    fn without_quotes(&self, start: usize, end: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let is_quote = |at: usize| matches!(bytes.get(at), Some(b'"' | b'\''));
        let start = if is_quote(start) { start + 1 } else { start };
        let has_end = end > start && is_quote(end - 1);
        (start, if has_end { end - 1 } else { end.max(start) })
    }

    fn array(&mut self, extent: &mut Extent) -> Value {
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                None => {
                    self.fault(self.at, "the text ends here: a `]` is missing");
                    break;
                }
                Some(']') => {
                    self.at += 1;
                    break;
                }
                Some('}') => {
                    self.fault(self.at, "a `]` is missing");
                    break;
                }
                Some(',') => {
                    self.fault(self.at, "a comma too many");
                    self.at += 1;
                }
                Some(_) => {
                    let (item, child) = self.value();
                    items.push(item);
                    extent.children.push(child);
                    self.skip_comma(']');
                }
            }
        }
        Value::Array(items)
    }

    fn peek_value(&mut self) -> Option<char> {
        self.skip_blank();
        self.peek()
    }

    /// The comma after a member or an item, which the last one must not have.
    fn skip_comma(&mut self, end: char) {
        self.skip_blank();
        let comma = self.at;
        match self.peek() {
            Some(',') => {
                self.at += 1;
                if self.peek_value() == Some(end) {
                    self.fault(comma, "trailing comma");
                }
            }
            Some('}' | ']') | None => {}
            Some(_) if self.is_template() => {}
            Some(_) => self.fault(comma, "a comma is missing before this"),
        }
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        if let Some(plain) = self.plain() {
            self.at += plain.len() + 1;
            return plain.to_owned();
        }
        loop {
            self.skip_to(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'{'));
            match self.peek() {
                None => {
                    self.fault(start, "the string has no end");
                    break;
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => {
                    self.at += 1;
                    self.at += self.rest().chars().next().map_or(0, char::len_utf8);
                }
                Some('\n') => {
                    self.fault(start, "the string has no end in its line");
                    break;
                }
                // `{{ env "NAME" }}` has quotes that do not end the string.
                _ if self.is_template() => self.at += self.template_length(),
                _ => self.at += 1,
            }
        }
        let quoted = &self.text[start..self.at];
        serde_json::from_str(quoted).unwrap_or_else(|_| {
            let has_template = self.has_templates && quoted.contains("{{");
            let is_told = self.faults.last().is_some_and(|(at, _)| *at == start);
            if !has_template && !is_told {
                self.fault(
                    start,
                    "the string has a character or an escape that JSON does not have",
                );
            }
            quoted.trim_matches('"').to_owned()
        })
    }

    /// The text of a string that stands as it is: without escapes, and without marks of templates.
    fn plain(&self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut end = self.at;
        while end < bytes.len() {
            match bytes[end] {
                b'"' => return Some(&self.text[self.at..end]),
                b'\\' | 0..b' ' => return None,
                b'{' if self.has_templates => return None,
                _ => end += 1,
            }
        }
        None
    }

    /// What is neither an object, a list nor a string.
    fn bare(&mut self) -> Value {
        let start = self.at;
        if self.is_template() {
            self.at += self.template_length();
            return Value::String(self.text[start..self.at].to_owned());
        }
        let word = self.word(&[',', '}', ']', '\n']);
        let known = match word {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ => None,
        };
        if let Ok(value) = serde_json::from_str(word) {
            return value;
        }
        self.fault(start, "expected value");
        let unquoted = word.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
        // `<PORT>` is what somebody was to fill in, and not nothing.
        let is_mark = |open, close| word.starts_with(open) && word.ends_with(close);
        let mark = [('<', '>'), ('%', '%'), ('_', '_'), ('@', '@')]
            .iter()
            .any(|(open, close)| word.len() > 2 && is_mark(*open, *close));
        let text = unquoted.or(mark.then_some(word));
        let text = text.map(|text| Value::String(text.to_owned()));
        known.or(text).unwrap_or(Value::Null)
    }

    /// The text before the next of these characters. It is never empty, so that the parser goes on.
    fn word(&mut self, ends: &[char]) -> &'a str {
        let rest = self.rest();
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..]
            .find(ends)
            .map_or(rest.len(), |end| first + end);
        self.at += end;
        rest[..end].trim_end()
    }

    fn is_template(&self) -> bool {
        let begins = |start: &str| self.rest().starts_with(start);
        self.has_templates && (begins("{{") && self.rest().contains("}}") || begins("${"))
    }

    fn template_length(&self) -> usize {
        let rest = self.rest();
        let end = if rest.starts_with("{{") { "}}" } else { "}" };
        rest.find(end).map_or(rest.len(), |at| at + end.len())
    }
}
