//! Mends what needs no thought, in the text as it stands.

use serde::Serialize;

use super::Facts;
use super::file::lint_text;
use super::suppressions::Suppressions;
use crate::decide::definition::document::{Document, TextChange};

/// Changes that overlap wait for the next pass, which at least halves them.
const PASSES_MAX: usize = 20;
/// What is shown of a line before and after a change.
const AROUND_BYTES: usize = 200;
const MARK: char = '\u{feff}';

/// One edit.
#[derive(Debug, Serialize)]
pub struct Mending {
    pub subject: String,
    pub code: &'static str,
    pub json_path: String,
    /// Of the first line that changes.
    pub line: usize,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// The edits of a text, and what they make of it.
pub fn mended(
    path: &str,
    text: &str,
    facts: &Facts,
    mut accepted: Suppressions,
) -> (Vec<Mending>, String) {
    let body = text.strip_prefix(MARK);
    let mark = body.map(|_| MARK).into_iter();
    let mut body = body.unwrap_or(text).to_owned();
    let mut mendings = Vec::new();
    for _ in 0..PASSES_MAX {
        let findings = lint_text(path, &body, facts).unwrap_or_default();
        let document = Document::parse(&body);
        let findings = accepted.apply(findings).into_iter();
        let mut changes: Vec<(TextChange, Mending)> = findings
            .filter_map(|finding| {
                let change = document.change(&finding.json_path, finding.edit.as_ref()?)?;
                let (line, before, after) = lines_of(&body, &change)?;
                let mending = Mending {
                    subject: finding.subject,
                    code: finding.code,
                    json_path: finding.json_path,
                    line,
                    before,
                    after,
                };
                Some((change, mending))
            })
            .collect();
        changes.sort_by_key(|(change, _)| change.start);
        let mut end = 0;
        changes.retain(|(change, _)| {
            let is_apart = change.start >= end;
            if is_apart {
                end = change.end;
            }
            is_apart
        });
        if changes.is_empty() {
            break;
        }
        for (TextChange { start, end, new }, _) in changes.iter().rev() {
            body.replace_range(start..end, new);
        }
        mendings.extend(changes.into_iter().map(|(_, mending)| mending));
    }
    (mendings, mark.chain(body.chars()).collect())
}

/// The number of the first line that changes, and the lines before and after. `None`: the text
/// stays as it is.
fn lines_of(text: &str, change: &TextChange) -> Option<(usize, Vec<String>, Vec<String>)> {
    let TextChange { start, end, new } = change;
    if text.get(*start..*end)? == new {
        return None;
    }
    let before = &text[..*start];
    // Of a text in one line only what is around the change.
    let first = text.floor_char_boundary(start.saturating_sub(AROUND_BYTES));
    let first = before[first..]
        .rfind('\n')
        .map_or(first, |at| first + at + 1);
    let last = text.ceil_char_boundary(end + AROUND_BYTES);
    let last = text[*end..last].find('\n').map_or(last, |at| end + at);
    let changed = format!("{}{new}{}", &text[first..*start], &text[*end..last]);
    let (line, before_lines, after_lines) = difference(&text[first..last], &changed);
    let lines_before = before.bytes().filter(|byte| *byte == b'\n').count();
    Some((lines_before + line, before_lines, after_lines))
}

/// The lines between those that both texts begin and end with, and the number of the first.
fn difference(before: &str, after: &str) -> (usize, Vec<String>, Vec<String>) {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.lines().collect(), after.lines().collect());
    let same = before
        .iter()
        .zip(&after)
        .take_while(|(one, other)| one == other);
    let start = same.count();
    let ends = before[start..]
        .iter()
        .rev()
        .zip(after[start..].iter().rev());
    let end = ends.take_while(|(one, other)| one == other).count();
    let owned = |lines: &[&str]| -> Vec<String> {
        let changed = &lines[start..lines.len() - end];
        changed.iter().map(|line| (*line).to_owned()).collect()
    };
    (start + 1, owned(&before), owned(&after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(text: &str) -> (Vec<String>, String) {
        let (mendings, text) = mended("x", text, &Facts::default(), Suppressions::default());
        let mendings = mendings
            .iter()
            .map(|it| format!("{} {}", it.code, it.json_path));
        (mendings.collect(), text)
    }

    const WRONG: &str = "{ \"status\": \"ACTIVE\",\r\n  \"family\": \"a\",\r\n  \"networkmode\": \"host\",\n  \
        \"runtimePlatform\": { \"cpuArchitecture\": \"arm64\" },\n  \"containerDefinitions\": [\n    \
        { \"name\": \"a\", \"image\": \"b\", \"memory\": 64,\n      \"portMappings\": [{ \"containerPort\": 1, \
        \"protocol\": \"UDP\" }] }\n  ],\n  \"executionRoleArn\": \"r\",\n  \"revision\": 7,\n  \"registeredBy\": \"x\"\n}\n";

    #[test]
    fn edits_leave_all_else_as_it_is() {
        let (mendings, text) = fixed(WRONG);
        let expected = [
            "T50 status",
            "T51 networkmode",
            "T62 runtimePlatform.cpuArchitecture",
            "T69 containerDefinitions[0].portMappings[0].protocol",
            "T50 revision",
            "T50 registeredBy",
        ];
        assert_eq!(mendings, expected);
        let right = WRONG
            .replace("\"status\": \"ACTIVE\",\r\n  ", "")
            .replace("networkmode", "networkMode")
            .replace("arm64", "ARM64")
            .replace("UDP", "udp")
            .replace(",\n  \"revision\": 7,\n  \"registeredBy\": \"x\"", "");
        assert_eq!(text, right);
        assert_eq!(fixed(&text), (Vec::new(), text.clone()));
    }

    #[test]
    fn a_secret_gets_its_colons_and_a_mark_is_kept() {
        let secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:a-AbCdEf:key";
        let text = format!(
            "\u{feff}{{\"family\": \"a\", \"executionRoleArn\": \"r\", \"containerDefinitions\": [{{\"secrets\": \
             [{{\"name\": \"A\", \"valueFrom\": \"{secret}\"}}]}}]}}"
        );
        let (mendings, fixed) = fixed(&text);
        assert_eq!(
            mendings,
            ["T05 containerDefinitions[0].secrets[0].valueFrom"]
        );
        assert_eq!(fixed, text.replace(":key", ":key::"));
    }

    /// As many passes as edits would lint a large file thousands of times.
    #[test]
    fn a_thousand_edits_take_few_passes() {
        let mapping = "{\"containerPort\": 1, \"protocol\": \"UDP\"}";
        let text = format!(
            "{{\"family\": \"a\", \"containerDefinitions\": [{{\"portMappings\": [{}]}}]}}",
            vec![mapping; 2000].join(",")
        );
        let (mendings, fixed) = fixed(&text);
        assert_eq!(mendings.len(), 2000);
        assert_eq!(fixed, text.replace("UDP", "udp"));
    }

    #[test]
    fn the_difference_is_the_lines_that_change() {
        let (line, before, after) = difference("a\nb\nc\n", "a\nB\nc\n");
        assert_eq!(
            (line, before, after),
            (2, vec!["b".into()], vec!["B".into()])
        );
        let (line, before, after) = difference("a\nb\nc\n", "a\nc\n");
        assert_eq!(
            (line, before, after),
            (2, vec!["b".into()], Vec::<String>::new())
        );
    }
}
