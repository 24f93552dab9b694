//! What goes to stdout and what to stderr, and what becomes of a result that cannot be written.

use std::fs::File;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::events;

use super::program::{Bare, root, stderr, stdout, xtask};

/// Every command, as far as it goes on a machine without a tool and without AWS; a word that ends
/// in a number is a usage error for it.
const COMMANDS: [&str; 40] = [
    "build",
    "build axon --push",
    "render axon",
    "render governance",
    "render nosuch",
    "lint",
    "lint axon",
    "lint --file nosuch.json",
    "lint --file xtask/Cargo.toml",
    "lint --file task-definitions/axon.json",
    "plan",
    "plan --exit-code",
    "plan --env nowhere",
    "plan --nope",
    "deploy",
    "deploy --dry-run",
    "verify",
    "verify --deployed",
    "rollback",
    "rollback --stop",
    "rollback --to three",
    "secrets",
    "secrets init",
    "secrets rotate",
    "status",
    "status --quiet --verbose",
    "releases",
    "releases --last 0",
    "logs orbit",
    "local up",
    "local down",
    "local reset",
    "doctor",
    "test",
    "test --fast",
    "test --fix",
    "test --coverage",
    "test --fuzz 1",
    "bench",
    "completions zsh",
];

#[test]
fn in_json_stdout_is_one_document_or_nothing_and_stderr_one_event_a_line() {
    let bare = Bare::new("json");
    let others = ["", "depoy", "--help", "--version", "deploy --help", "help"];
    for line in COMMANDS.iter().chain(&others) {
        for mode in [
            "--format json",
            "--format=json --verbose",
            "--format json -q",
        ] {
            let words = line.split(' ').chain(mode.split(' '));
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            let output = bare.run(&words);
            keeps_the_rule(&words.join(" "), &output);
        }
    }
}

#[track_caller]
fn keeps_the_rule(line: &str, output: &Output) {
    let (data, talk) = (stdout(output), stderr(output));
    let shown = format!("{line}\n--- stdout\n{data}--- stderr\n{talk}");
    if !data.is_empty() {
        serde_json::from_str::<Value>(&data).expect(&shown);
        assert_ne!(data, "null\n", "{shown}");
    }
    let events = events::parsed(&talk);
    let code = output.status.code().unwrap();
    let failures = events.iter().filter(|event| event["event"] == "failure");
    let output: Vec<i64> = failures.filter_map(|it| it["exit_code"].as_i64()).collect();
    let expected = if code == 0 {
        vec![]
    } else {
        vec![i64::from(code)]
    };
    assert_eq!(output, expected, "{shown}");
    if line.ends_with("-q") {
        assert_eq!(events.len(), output.len(), "{shown}");
    }
}

#[test]
fn nothing_is_said_of_a_file_that_could_not_be_read() {
    let bare = Bare::new("unread");
    for file in ["nosuch.json", "nosuch"] {
        for format in ["human", "json", "github"] {
            let output = bare.run(&["lint", "--file", file, "--format", format]);
            assert!(!output.status.success());
            assert_eq!(stdout(&output), "", "{file}");
        }
    }
}

#[test]
fn what_lint_mends_is_shown_before_it_is_written() {
    let bare = Bare::new("mending");
    let wrong = "{ \"family\": \"a\",\n  \"networkmode\": \"host\",\n  \"containerDefinitions\": \
        [{ \"name\": \"a\", \"image\": \"b\", \"memory\": 64 }] }\n";
    let right = wrong.replace("networkmode", "networkMode");
    bare.write("x/a.json", wrong);
    let run = |more: &[&str]| bare.run(&[&["lint", "--fix", "--file", "x"], more].concat());
    let shown = "x/a.json:2 T51 networkmode\n  -  \"networkmode\": \"host\",\n  \
        +  \"networkMode\": \"host\",\n";
    let output = run(&[]);
    let expected = format!("{shown}nothing is written without --yes\n");
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    assert_eq!(bare.read("x/a.json"), wrong);
    assert_eq!(stdout(&run(&["--yes"])), shown);
    assert_eq!(bare.read("x/a.json"), right);
    assert_eq!(stdout(&run(&["--yes"])), "nothing to fix\n");
}

#[test]
fn a_format_of_findings_is_refused_elsewhere() {
    let output = Bare::new("sarif").run(&["status", "--format", "sarif"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("only lint has the format sarif"));
}

#[test]
fn what_is_text_is_one_string_in_json() {
    let bare = Bare::new("text");
    for arguments in [&["--version"][..], &["--help"], &["completions", "bash"]] {
        let plain = bare.run(arguments);
        let json = bare.run(&[arguments, &["--format", "json"]].concat());
        let text: String = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(text.trim_end(), stdout(&plain).trim_end());
    }
}

#[test]
fn a_usage_error_is_an_annotation_in_a_workflow() {
    let output = Bare::new("workflow").run(&["depoy", "--format", "github"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "::error::unrecognized subcommand 'depoy'%0A  hint: ";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
}

/// Commands that have a result and end well.
const RESULTS: [&[&str]; 5] = [
    &["lint"],
    &["completions", "fish"],
    &["--help"],
    &["deploy", "--help"],
    &["--version"],
];

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    for arguments in RESULTS {
        for format in ["human", "json", "github"] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let arguments = [arguments, &["--format", format]].concat();
            let mut command = xtask(&root(), &arguments);
            let output = command.stdout(full).output().unwrap();
            let shown = format!("{arguments:?}: {}", stderr(&output));
            assert_eq!(output.status.code(), Some(1), "{shown}");
            assert!(shown.contains("write the result: No space left"), "{shown}");
        }
    }
}

#[test]
fn findings_that_cannot_be_written_are_findings_still() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let bare = Bare::new("full");
    let mut command = bare.xtask(&["lint", "--file", "task-definitions/axon.json"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    for text in ["write the result: No space left", "error: lint found "] {
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for arguments in RESULTS {
        for format in ["human", "json"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = xtask(&root(), &[arguments, &["--format", format]].concat());
            let output = command
                .stdout(writer)
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{arguments:?}");
            assert_eq!(stderr(&output), "", "{arguments:?}");
        }
    }
}

#[test]
fn nothing_that_acts_on_a_terminal_is_printed() {
    let bare = Bare::new("controls");
    let name = "\u{1b}[2J\u{9b}31m\u{202e}\u{7f}";
    bare.write(
        "named.json",
        &serde_json::json!({ "family": name, "containerDefinitions": [{ "name": name }] })
            .to_string(),
    );
    for format in ["human", "json", "github"] {
        for arguments in [
            &["lint", "--file", "named.json"][..],
            &["lint", "--file", name],
        ] {
            let output = bare.run(&[arguments, &["--format", format]].concat());
            let shown = format!("{}{}", stdout(&output), stderr(&output));
            let acts =
                |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
            assert!(!shown.contains(acts), "{shown:?}");
            assert!(shown.contains(r"u009b31m"), "{shown}");
        }
    }
}
