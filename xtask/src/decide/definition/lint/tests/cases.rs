//! Definitions with what is right to say of them, one a line: those of which lint was wrong once,
//! and others of the same kinds. Advice is true of nearly any definition and not compared.

use serde::Deserialize;
use serde_json::Value;

use super::patched;
use crate::decide::definition::Definition;
use crate::decide::definition::lint::file::lint_text;
use crate::decide::definition::lint::{Facts, Finding, Severity, lint};

const BASE: &str = include_str!("base.json");
const GIVEN: &str = include_str!("given.jsonl");
const NEIGHBOURS: &str = include_str!("neighbours.jsonl");
const FILES: &str = include_str!("files.jsonl");

#[derive(Deserialize)]
struct LintCase {
    name: String,
    /// `CODE SEVERITY JSON_PATH` of each finding.
    expected: Vec<String>,
    #[serde(default)]
    patch: Value,
    /// In place of the base and its patch.
    #[serde(default)]
    definition: Value,
    /// The text of a file, in place of a definition.
    text: Option<String>,
}

fn cases(lines: &str) -> Vec<LintCase> {
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The codes of all findings that are expected.
pub(super) fn codes() -> impl Iterator<Item = String> {
    let cases = [GIVEN, NEIGHBOURS, FILES].into_iter().flat_map(cases);
    let expected = cases.flat_map(|case| case.expected);
    expected.filter_map(|it| it.split(' ').next().map(str::to_owned))
}

fn told(findings: &[Finding]) -> Vec<String> {
    let told = findings.iter().filter(|it| it.severity != Severity::Advice);
    told.map(|it| format!("{} {} {}", it.code, it.severity, it.json_path))
        .collect()
}

#[track_caller]
fn are_judged_rightly(lines: &str, count: usize) {
    let cases = cases(lines);
    assert!(cases.len() >= count, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let findings = if let Some(text) = &case.text {
            lint_text("x", text, &Facts::default()).unwrap_or_default()
        } else {
            let definition = if case.definition.is_null() {
                patched(serde_json::from_str(BASE).unwrap(), &case.patch)
            } else {
                Definition(case.definition.clone())
            };
            lint("x", &definition, &Facts::default())
        };
        let (mut found, mut expected) = (told(&findings), case.expected);
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{}: {found:?}, expected {expected:?}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn definitions_that_were_judged_wrongly_once() {
    are_judged_rightly(GIVEN, 40);
}

#[test]
fn others_of_the_same_kinds() {
    are_judged_rightly(NEIGHBOURS, 200);
}

#[test]
fn files_of_any_form() {
    are_judged_rightly(FILES, 10);
}
