//! The manners of the real binary: where it writes, how it ends, what its help says.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Output;

use crate::snapshot;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    run_in(&checkout, arguments, variables)
}

/// Runs xtask in a checkout, with an environment made from nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is a process of its own"
)]
pub(crate) fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder);
    command.env_clear();
    for name in ["PATH", "HOME"] {
        command.env(name, std::env::var(name).unwrap_or_default());
    }
    command.envs(variables.iter().copied());
    command.args(arguments).output().unwrap()
}

/// Exit code, stdout and stderr as one text.
fn shown(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "$ cargo xtask {}\nexit code {}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
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
    text.push_str(&shown(&["secrets", "init", "--help"], &[]));
    assert_eq!(text.matches("exit code 0\n").count(), verbs.len() + 2);
    snapshot::matches("help", &text);
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error() {
    let lines: [&[&str]; 6] = [
        &["depoy"],
        &["deploy", "neutron"],
        &["rollback", "--to", "3", "--stop"],
        &["status", "--quiet", "--verbose"],
        &["plan", "--env", "staggering"],
        &["lint", "--file", "no-such-definition.json"],
    ];
    let texts = lines.map(|arguments| shown(arguments, &[]));
    for text in &texts {
        assert!(
            text.contains("exit code 2\n--- stdout\n--- stderr\n"),
            "{text}"
        );
    }
    snapshot::matches("usage", &texts.join("\n\n"));
}

#[test]
fn the_environment_can_be_named_by_a_variable() {
    let text = shown(&["plan"], &[("XTASK_ENV", "nowhere")]);
    assert!(text.contains("there is no environment nowhere"), "{text}");
}

#[test]
fn our_own_definitions_have_no_error() {
    snapshot::matches("lint", &shown(&["lint"], &[]));
}

#[test]
fn a_command_that_needs_the_local_aws_says_how_to_bring_it_up() {
    let port = free_port().to_string();
    let text = shown(&["render", "axon"], &[("XTASK_LOCAL_PORT", &port)]);
    snapshot::matches("local-aws-down", &text);
}

#[test]
fn a_failure_in_json_is_one_object_on_stdout() {
    let port = free_port().to_string();
    let variables = [("XTASK_LOCAL_PORT", port.as_str())];
    let output = run(&["status", "--format", "json"], &variables);
    assert_eq!(output.status.code(), Some(12));
    let failure: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&failure["event"], &failure["exit_code"]),
        (&"failure".into(), &12.into())
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn completions_are_a_script() {
    let output = run(&["completions", "bash"], &[]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("complete -F"));
}
