//! `lint --fix`: mends what needs no thought, in the text as it stands, and shows each change before
//! anything is written.

use anyhow::Result;
use serde::Serialize;

use super::{DefinitionFile, LintOptions, facts};
use crate::decide::definition::document::Document;
use crate::decide::definition::lint::file::lint_text;
use crate::decide::definition::lint::suppressions::{self, Suppressions};
use crate::decide::definition::lint::{Facts, Finding};
use crate::decide::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::ports::WritableSource;
use crate::report::Report;

/// Each edit takes one finding away, and no file has as many.
const EDITS_MAX: usize = 1000;
const MARK: char = '\u{feff}';

/// One edit.
#[derive(Debug, Serialize)]
struct Mending {
    subject: String,
    code: &'static str,
    json_path: String,
    /// Of the first line that changes.
    line: usize,
    before: Vec<String>,
    after: Vec<String>,
}

/// Shows what would change in these files, and with `writes` changes them.
pub fn fix(
    source: &dyn WritableSource,
    environment: &Environment,
    report: &Report,
    files: &[DefinitionFile],
    options: &LintOptions,
    writes: bool,
) -> Result<()> {
    let facts = facts(environment, options);
    let mut mendings = Vec::new();
    let mut changed = Vec::new();
    for DefinitionFile { path, .. } in files {
        let text = source.text(path);
        let text = text.map_err(|error| Failure::usage(format!("{error:#}")))?;
        let beside = suppressions::path_beside(path);
        let accepted = match source.text(&beside) {
            Ok(accepted) => Suppressions::parse(&beside, &accepted)
                .map_err(|fault| Failure::new(Kind::Findings, fault))?,
            Err(_) => Suppressions::default(),
        };
        let (found, mended) = mended(path, &text, &facts, accepted);
        if !found.is_empty() {
            changed.push((path, mended));
        }
        mendings.extend(found);
    }
    let mut lines: Vec<String> = mendings.iter().flat_map(shown).collect();
    if lines.is_empty() {
        lines.push("nothing to fix".to_owned());
    } else if !writes {
        lines.push("nothing is written without --yes".to_owned());
    }
    report.data(&mendings, &lines.join("\n"));
    if writes {
        for (path, text) in changed {
            source.write(path, &text)?;
        }
    }
    Ok(())
}

/// The edits of a text, one after another, and what they make of it.
fn mended(
    path: &str,
    text: &str,
    facts: &Facts,
    mut accepted: Suppressions,
) -> (Vec<Mending>, String) {
    let body = text.strip_prefix(MARK);
    let mark = body.map(|_| MARK).into_iter();
    let mut body = body.unwrap_or(text).to_owned();
    let mut mendings = Vec::new();
    while mendings.len() < EDITS_MAX {
        let findings = lint_text(path, &body, facts).unwrap_or_default();
        let document = Document::parse(&body);
        let edited = |finding: Finding| {
            let edited = document.edited(&finding.json_path, finding.edit.as_ref()?)?;
            Some((finding, edited))
        };
        let mut findings = accepted.apply(findings).into_iter();
        let Some((finding, edited)) = findings.find_map(edited) else {
            break;
        };
        let (line, before, after) = difference(&body, &edited);
        mendings.push(Mending {
            subject: finding.subject,
            code: finding.code,
            json_path: finding.json_path,
            line,
            before,
            after,
        });
        body = edited;
    }
    (mendings, mark.chain(body.chars()).collect())
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

fn shown(mending: &Mending) -> Vec<String> {
    let Mending {
        subject,
        code,
        json_path,
        line,
        before,
        after,
    } = mending;
    let mut lines = vec![format!("{subject}:{line} {code} {json_path}")];
    lines.extend(before.iter().map(|line| format!("  -{line}")));
    lines.extend(after.iter().map(|line| format!("  +{line}")));
    lines
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
            "T50 revision",
            "T50 status",
            "T50 registeredBy",
            "T51 networkmode",
            "T62 runtimePlatform.cpuArchitecture",
            "T69 containerDefinitions[0].portMappings[0].protocol",
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
