//! Fuzzes what `lint --file` does with a file, as one of definitions, as one to fix and as one of
//! suppressions: no input panics, and a text that is JSON is read as any other parser reads it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xtask::decide::artifact::types::ImageFacts;
use xtask::decide::definition::document::Document;
use xtask::decide::definition::lint::file::{NOT_JSON, lint_text, not_a_definition};
use xtask::decide::definition::lint::mend::mended;
use xtask::decide::definition::lint::suppressions::Suppressions;
use xtask::decide::definition::lint::{AwsTarget, Facts, LaunchType};
use xtask::decide::outputs::Architecture;

/// What may be known besides a definition: nothing, or all that the command can be told.
static FACTS: LazyLock<[Facts; 2]> = LazyLock::new(|| {
    let image = ImageFacts {
        user: "nobody".to_owned(),
        architecture: Architecture::Arm,
        files: vec!["bin/sh".to_owned()],
        not_executable: vec!["data".to_owned()],
        entrypoint: vec!["/bin/sh".to_owned()],
        command: Vec::new(),
        setuid: Vec::new(),
        leaks: Vec::new(),
        bytes: 1,
        layers_unread: 0,
    };
    let all = Facts {
        target: Some(AwsTarget {
            region: "eu-west-1".to_owned(),
            account_id: "000000000000".to_owned(),
        }),
        image: Some(image),
        rollout_seconds_max: Some(1),
        launch_type: Some(LaunchType::Fargate),
        ..Facts::default()
    };
    [Facts::default(), all]
});

/// The cases of the unit tests, as texts of files.
static CASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let files = [
        include_str!("../../src/decide/definition/lint/tests/files.jsonl"),
        include_str!("../../src/decide/definition/lint/tests/given.jsonl"),
        include_str!("../../src/decide/definition/lint/tests/neighbours.jsonl"),
    ];
    let cases = files.iter().flat_map(|file| file.lines()).map(case);
    let findings = include_str!("../../src/decide/definition/lint/findings.txt").split("\n\n");
    let patches = findings.filter_map(|finding| finding.trim().lines().next());
    let patches = patches.map(|patch| patched(&serde_json::from_str(patch).expect("a patch")));
    cases.chain(patches).collect()
});

/// One case in a line: the text of a file, a definition, or a patch of the base.
fn case(line: &str) -> String {
    let case: Value = serde_json::from_str(line).expect("a case");
    match (&case["text"], &case["definition"]) {
        (Value::String(text), _) => text.clone(),
        (_, Value::Null) => patched(&case["patch"]),
        (_, definition) => definition.to_string(),
    }
}

fn patched(patch: &Value) -> String {
    let base = include_str!("../../src/decide/definition/lint/tests/base.json");
    let mut base: Value = serde_json::from_str(base).expect("a definition");
    for (pointer, value) in patch.as_object().into_iter().flatten() {
        let whole = match pointer.strip_prefix('.') {
            Some(below) => format!("/containerDefinitions/0{below}"),
            None => pointer.clone(),
        };
        let (parent, key) = whole.rsplit_once('/').expect("a pointer");
        match base.pointer_mut(parent) {
            Some(Value::Array(items)) => {
                let index: usize = key.parse().expect("an index");
                items.insert(index.min(items.len()), value.clone());
            }
            Some(Value::Object(members)) => drop(members.insert(key.to_owned(), value.clone())),
            _ => {}
        }
    }
    base.to_string()
}

/// The bytes themselves, or behind an `@` a case and what is to be changed in it: its number, a
/// place in its text, how much is left out there, and what is put there.
fn text_of(bytes: &[u8]) -> String {
    let [b'@', one, two, high, low, cut, new @ ..] = bytes else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let number = |high: &u8, low: &u8| usize::from(u16::from_be_bytes([*high, *low]));
    let mut text = CASES[number(one, two) % CASES.len()].clone();
    let start = text.floor_char_boundary(number(high, low) % (text.len() + 1));
    let end = text.ceil_char_boundary(start + usize::from(*cut));
    text.replace_range(start..end, &String::from_utf8_lossy(new));
    text
}

fuzz_target!(|bytes: &[u8]| {
    let text = &text_of(bytes);
    let suppressions = Suppressions::parse("file", text).unwrap_or_default();
    let mut accepted = suppressions.clone();
    for facts in FACTS.iter() {
        let findings = lint_text("file", text, facts);
        let findings = findings.unwrap_or_else(|| not_a_definition("file", text));
        for finding in &findings {
            assert!(!finding.to_string().is_empty());
        }
        drop(accepted.apply(findings));
    }
    drop(accepted.unused("file", text));
    is_read_as_json(text);
    is_mended_once(text, &suppressions);
});

/// A text without faults has the value that `serde_json` reads, and one with faults is no JSON, or
/// has what JSON leaves open: a key twice, or too many levels.
fn is_read_as_json(text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document::parse(text);
    let value: Option<Value> = serde_json::from_str(text).ok();
    match value {
        Some(value) if document.faults.is_empty() => assert_eq!(document.value, value),
        Some(_) => {
            let is_left_open = document.faults.iter().all(|fault| {
                fault.message.starts_with("duplicate key") || fault.message.contains("too deeply")
                    || fault.message.contains("the text ends here")
            });
            assert!(is_left_open, "{NOT_JSON}: {:?}", document.faults);
        }
        // Marks of templates may stand in place of a value.
        None => {
            let has_mark = ["{{", "${", "%{"].iter().any(|mark| text.contains(mark));
            assert!(has_mark || !document.faults.is_empty(), "not JSON, and no fault");
        }
    }
}

fn is_mended_once(text: &str, suppressions: &Suppressions) {
    let facts = &FACTS[0];
    let (mendings, text) = mended("file", text, facts, suppressions.clone());
    let (again, same) = mended("file", &text, facts, suppressions.clone());
    if Document::parse(&text).faults.is_empty() {
        assert!(again.is_empty(), "{mendings:?}, then {again:?}");
        assert_eq!(text, same);
    }
}
