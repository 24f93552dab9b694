//! What stands on a terminal of 80 columns: each line at work is redrawn, and nothing of it is left.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::program::Bare;
use super::prompts::at_terminal;

/// A cargo that goes on for a while, and says more than fits in a line. The terminal's Ctrl-C goes
/// to it too: it must not end before the program has got the signal.
const CARGO: &str = r#"#!/bin/sh
trap '' INT
if [ "$1" = clippy ]; then
    for number in 1 2 3 4 5; do
        echo "   Compiling a-crate-of-many v$number.0.0 (of a registry whose path has no end in sight)" >&2
        sleep 0.3
    done
elif [ "$1" = test ]; then
    echo "running 3 tests"
    sleep 3
    echo "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
fi"#;

/// `test --fast` with that cargo.
#[expect(
    clippy::disallowed_methods,
    reason = "what is run is made executable, and finds a shell's programs"
)]
fn test_fast(name: &str) -> Command {
    let bare = Bare::new(name);
    bare.write("programs/cargo", CARGO);
    let folder = bare.root.join("programs");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("cargo"), executable).unwrap();
    let mut command = bare.xtask(&["test", "--fast"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    command.env("TERM", "xterm");
    command
}

const COLUMNS: usize = 80;

/// The lines of a terminal after all that came.
fn screen(shown: &str) -> Vec<String> {
    let mut lines = vec![Vec::<char>::new()];
    let (mut row, mut column) = (0, 0);
    let mut letters = shown.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(letters.next(), Some('['), "{shown:?}");
                let mut number = String::new();
                let command = loop {
                    match letters.next().unwrap() {
                        digit if digit.is_ascii_digit() => number.push(digit),
                        command => break command,
                    }
                };
                match command {
                    'A' => row -= number.parse::<usize>().unwrap(),
                    'J' => {
                        lines.truncate(row + 1);
                        lines[row].truncate(column);
                    }
                    'm' => {}
                    other => panic!("{other} in {shown:?}"),
                }
            }
            letter => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                }
                lines.resize(lines.len().max(row + 1), Vec::new());
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines
        .iter()
        .map(|line| line.iter().collect::<String>().trim_end().to_owned())
        .collect()
}

fn shown(ended: &Value) -> &str {
    ended["shown"].as_str().unwrap()
}

#[tokio::test]
async fn nothing_of_what_goes_on_is_left_at_80_columns() {
    let ended = at_terminal(&test_fast("redrawn"), &[]).await;
    assert_eq!(ended["exit_code"], 0, "{ended:#}");
    assert_eq!(ended["left_as_it_was"], true, "{ended:#}");
    let shown = shown(&ended);
    // It is cut between two words, and has the time that passed.
    assert!(
        shown.contains("Compiling a-crate-of-many v2.0.0 (of a registry whose path has ...\r\n")
            && shown.contains("running 3 tests\u{1b}[2m  2 s"),
        "{ended:#}"
    );
    let lines: Vec<String> = screen(shown);
    let first_words = lines.iter().map(|line| line.split(" (").next().unwrap());
    let first_words: Vec<&str> = first_words.collect();
    let expected = [
        "format      passed",
        "clippy      passed",
        "tests       passed, 3 passed, 0 failed",
        "tests: 3 passed, 0 failed",
        "",
    ];
    assert_eq!(first_words, expected, "{ended:#}");
}

#[tokio::test]
async fn ctrl_c_leaves_a_clean_terminal() {
    let steps = [("running 3 tests", "\u{3}")];
    let ended = at_terminal(&test_fast("interrupted"), &steps).await;
    assert_eq!(ended["exit_code"], 130, "{ended:#}");
    assert_eq!(ended["left_as_it_was"], true, "{ended:#}");
    let lines = screen(shown(&ended));
    assert_eq!(lines[2..], ["error: interrupted", ""], "{ended:#}");
}

/// A command that fails at once.
const FAILS: [&str; 3] = ["lint", "--file", "nosuch.json"];

#[tokio::test]
async fn color_is_for_terminals_that_have_it() {
    for (variable, value, colored) in [
        ("TERM", "xterm", true),
        ("NO_COLOR", "1", false),
        ("CLICOLOR", "0", false),
        ("TERM", "dumb", false),
    ] {
        let bare = Bare::new("colors");
        let mut command = bare.xtask(&FAILS);
        command.env("TERM", "xterm").env(variable, value);
        let ended = at_terminal(&command, &[]).await;
        let shown = shown(&ended);
        assert_eq!(
            shown.contains('\u{1b}'),
            colored,
            "{variable}={value}: {ended:#}"
        );
    }
    let output = Bare::new("colors")
        .xtask(&FAILS)
        .env("CLICOLOR_FORCE", "1")
        .output();
    assert!(output.unwrap().stderr.contains(&0x1b));
    let output = Bare::new("colors").run(&FAILS);
    assert!(!output.stderr.contains(&0x1b));
}
