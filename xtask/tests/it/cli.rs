//! The manners of the real binary: where it writes, how it ends, what its help says.

use std::path::Path;
use std::process::Output;

use crate::snapshot;

mod catalog;
mod completions;
mod input;
mod new;
mod output;
mod program;
mod prompts;
mod settings;
mod terminal;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    run_in(&program::root(), arguments, variables)
}

/// Runs xtask in a checkout, with an environment made from nothing.
pub(crate) fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = program::xtask(folder, arguments);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn shown(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    text_of(arguments, &run(arguments, variables))
}

/// Exit code, stdout and stderr as one text.
fn text_of(arguments: &[&str], output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "$ cargo xtask {}\nexit code {}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn help_goes_to_stdout() {
    let verbs = [
        "build",
        "render",
        "lint",
        "plan",
        "deploy",
        "verify",
        "rollback",
        "secrets",
        "status",
        "releases",
        "logs",
        "new",
        "local",
        "doctor",
        "test",
        "bench",
        "completions",
    ];
    let mut text = shown(&["--help"], &[]);
    for verb in verbs {
        text.push_str("\n\n");
        text.push_str(&shown(&[verb, "--help"], &[]));
    }
    text.push_str("\n\n");
    let of_two_words = [
        ["secrets", "init", "--help"],
        ["new", "service", "--help"],
        ["new", "function", "--help"],
    ];
    text.push_str(&of_two_words.map(|words| shown(&words, &[])).join("\n\n"));
    let count = verbs.len() + of_two_words.len() + 1;
    assert_eq!(text.matches("exit code 0\n").count(), count);
    snapshot::matches("help", &text);
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error() {
    let lines: [&[&str]; 9] = [
        &["depoy"],
        &["deploy", "neutron"],
        &["rollback", "--to", "3", "--stop"],
        &["status", "--quiet", "--verbose"],
        &["plan", "--env", "staggering"],
        &["lint", "--file", "no-such-definition.json"],
        &["render", "nosuch"],
        &["render", "governance"],
        &["releases", "--last", "0"],
    ];
    let checkout = program::Bare::new("usage").with_environments();
    let run = |arguments| run_in(&checkout.root, arguments, &[]);
    let texts = lines.map(|arguments| text_of(arguments, &run(arguments)));
    for text in &texts {
        assert!(
            text.contains("exit code 2\n--- stdout\n--- stderr\n"),
            "{text}"
        );
    }
    snapshot::matches("usage", &texts.join("\n\n"));
}

#[test]
fn a_machine_without_rust_is_told_what_it_lacks() {
    let bare = program::Bare::new("rustless");
    let build = bare.run(&["build"]);
    assert_eq!(build.status.code(), Some(12));
    let output = program::stderr(&build);
    for text in ["rustc is not on the PATH", "hint: cargo xtask doctor"] {
        assert!(output.contains(text), "{output}");
    }
    let doctor = program::stdout(&bare.run(&["doctor"]));
    assert!(
        doctor.contains("cargo and rustc are not both on the PATH"),
        "{doctor}"
    );
}

#[test]
fn our_own_definitions_have_no_error() {
    snapshot::matches("lint", &shown(&["lint"], &[]));
}

#[test]
fn a_command_that_needs_the_local_aws_says_how_to_bring_it_up() {
    let port = program::free_port().to_string();
    let text = shown(&["render", "axon"], &[("XTASK_LOCAL_PORT", &port)]);
    snapshot::matches("local-aws-down", &text);
}
