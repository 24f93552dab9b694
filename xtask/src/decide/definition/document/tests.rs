//! Places of paths, and texts that are not JSON.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const TEXT: &str = "{\n  \"family\": \"axon\",\n  \"containers\": [\n    {\n      \"name\": \"a\",\n      \
    \"secrets\": [\n        { \"name\": \"x\" },\n        { \"name\": \"y\" }\n      ]\n    }\n  ]\n}\n";

fn place(text: &str, json_path: &str) -> (usize, usize) {
    let Position { line, column } = Document::parse(text).position(json_path);
    (line, column)
}

/// The value, and each fault as `line:column message`.
fn parsed(text: &str) -> (Value, Vec<String>) {
    let document = Document::parse(text);
    let faults = document.faults.iter().map(|fault| {
        let Position { line, column } = fault.position;
        format!("{line}:{column} {}", fault.message)
    });
    (document.value.clone(), faults.collect())
}

#[test]
fn a_path_has_keys_and_indices() {
    assert_eq!(place(TEXT, "family"), (2, 13));
    assert_eq!(place(TEXT, "containers[0].name"), (5, 15));
    assert_eq!(place(TEXT, "containers[0].secrets[1].name"), (8, 19));
    let dotted = "{\"options\": {\n\"a.b\": 1, \"a\": {\"c\": 2}}}";
    assert_eq!(place(dotted, "options.a.b"), (2, 8));
    assert_eq!(place(dotted, "options.a.c"), (2, 22));
}

#[test]
fn a_missing_path_has_the_place_of_its_parent() {
    assert_eq!(place(TEXT, "containers[0].secrets[7].name"), (6, 18));
    assert_eq!(place(TEXT, "containers[0].user"), (4, 5));
    assert_eq!(place(TEXT, "cpu"), (1, 1));
}

#[test]
fn line_ends_and_marks_of_windows_change_nothing() {
    let windows = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    assert_eq!(place(&windows, "containers[0].secrets[1].name"), (8, 19));
    assert_eq!(parsed(&windows), parsed(TEXT));
    assert_eq!(parsed(TEXT).1, Vec::<String>::new());
}

#[test]
fn a_broken_place_does_not_hide_the_others() {
    for line in include_str!("broken.jsonl").lines() {
        let (text, value, faults): (String, Value, Vec<String>) =
            serde_json::from_str(line).unwrap();
        assert_eq!(parsed(&text), (value, faults), "{text}");
    }
}

#[test]
fn marks_of_templates_are_values() {
    let text = "{\"cpu\": {{ must_env `CPU` }}, \"a\": \"{{ env \"A\" \"b\" }}\", \"c\": ${jsonencode(x)}}";
    let value = json!({ "cpu": "{{ must_env `CPU` }}", "a": "{{ env \"A\" \"b\" }}", "c": "${jsonencode(x)}" });
    assert_eq!(parsed(text), (value, Vec::new()));
    // In JSON they are text like any other.
    let text = "{\"a\": \"{{\", \"b\": \"}}\"}";
    assert_eq!(parsed(text), (json!({ "a": "{{", "b": "}}" }), Vec::new()));
}

#[test]
fn deep_nesting_is_refused() {
    let text = "[".repeat(100_000);
    let faults = parsed(&text).1;
    let end = "1:100001 the text ends here: a `]` is missing";
    assert_eq!(faults, ["1:65 nested too deeply", end]);
}

proptest! {
    #[test]
    fn json_is_read_as_serde_does(text in r#"[\[\]{}",:0-9.eE+\-truefalsn \\u\n]{0,24}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let document = Document::parse(&text);
            let is_duplicate = |fault: &SyntaxFault| fault.message.starts_with("duplicate");
            prop_assert!(document.faults.iter().all(is_duplicate));
            prop_assert_eq!(document.value, value);
        }
    }

    #[test]
    fn no_text_ends_the_parser(text in r#"[\[\]{}",:0-9.a\\\u{e9}$%#/*'\n ]{0,64}"#) {
        let document = Document::parse(&text);
        let faulty = serde_json::from_str::<Value>(&text).is_err();
        let has_template = ["{{", "${", "%{"].iter().any(|mark| text.contains(mark));
        prop_assert!(!faulty || has_template || !document.faults.is_empty());
    }
}

#[test]
fn a_place_in_a_long_line_is_counted_in_characters() {
    let line = "a\u{e9}\u{4e2d}\u{1f600}".repeat(700);
    let text = format!("{line}\n{line}");
    let lines = Lines::of(&text);
    let (mut number, mut column) = (1, 1);
    for (offset, character) in text.char_indices() {
        let expected = Position {
            line: number,
            column,
        };
        assert_eq!(lines.position(offset), expected, "{offset}");
        column += 1;
        if character == '\n' {
            (number, column) = (number + 1, 1);
        }
    }
}
