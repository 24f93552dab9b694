//! The script of `completions`, in each shell that this machine has: alone, and beside cargo's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::program::{Bare, stderr, stdout, xtask};
use super::prompts::at_terminal;

/// What is typed, and all that it may become.
const TYPED: [(&str, &[&str]); 9] = [
    ("cargo xtask ro", &["rollback"]),
    ("cargo xtask deploy or", &["orbit"]),
    ("cargo xtask render ", &["axon", "orbit"]),
    ("cargo xtask deploy --dry", &["--dry-run"]),
    ("cargo xtask --env ", &["local", "production", "staging"]),
    ("cargo xtask deploy --env st", &["staging"]),
    (
        "cargo xtask plan --format ",
        &["github", "human", "json", "sarif"],
    ),
    ("cargo +nightly xtask secrets ro", &["rotate"]),
    ("cargo xt", &["xtask"]),
];

/// Tests run at once, each with a file of its own.
static SCRIPTS: AtomicU32 = AtomicU32::new(0);

/// A shell that is installed, and a file with the script for it. `cargo xtask test` says which are
/// not.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell is a program of its own, and reads a file"
)]
fn shell(name: &str) -> Option<(Command, PathBuf)> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    let program = programs.find(|program| program.is_file())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let number = SCRIPTS.fetch_add(1, Ordering::Relaxed);
    let checkout = Bare::new(&format!("completions-{number}")).with_environments();
    let output = xtask(&checkout.root, &["completions", name])
        .output()
        .unwrap();
    let file = folder.join(format!("completions-{number}.{name}"));
    std::fs::write(&file, output.stdout).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear();
    // In an empty home rustup knows no toolchain, so `cargo` is the one that runs this test.
    let cargo = of_toolchain("bin");
    let path = format!("{}:{path}", cargo.display());
    command.env("PATH", path).env("HOME", folder);
    Some((command, file))
}

/// What the toolchain brings for a shell.
fn of_toolchain(file: &str) -> PathBuf {
    let cargo = Path::new(env!("CARGO"));
    cargo.parent().unwrap().parent().unwrap().join(file)
}

/// Calls the function of bash as a TAB would, a line of candidates for each of what is typed.
const BASH: &str = r#"
    source "$1"
    shift
    for typed; do
        COMP_LINE=$typed COMP_POINT=${#typed}
        read -ra COMP_WORDS <<< "$typed"
        [[ $typed == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=()
        _cargo_or_xtask cargo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[*]}"
    done"#;

fn in_bash(before: &str, typed: &[&str]) -> Option<Vec<Vec<String>>> {
    let (mut command, script) = shell("bash")?;
    let code = format!("{before}\n{BASH}");
    command.args(["--norc", "-c", &code, "bash"]);
    let output = command.arg(script).args(typed).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let lines = stdout(&output);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    Some(lines.lines().map(words).collect())
}

#[track_caller]
fn are_offered(candidates: &[Vec<String>]) {
    assert_eq!(candidates.len(), TYPED.len());
    for ((typed, expected), candidates) in TYPED.iter().zip(candidates) {
        let names = candidates
            .iter()
            .filter(|it| it.starts_with("--dry") || !it.starts_with('-'));
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, *expected, "{typed}");
    }
}

#[test]
fn bash_completes_what_is_typed() {
    let typed = TYPED.map(|(typed, _)| typed);
    if let Some(candidates) = in_bash("", &typed) {
        are_offered(&candidates);
    }
}

#[test]
fn bash_breaks_a_value_from_its_flag() {
    let typed = ["cargo xtask plan --format = js", "cargo xtask plan --env ="];
    if let Some(candidates) = in_bash("", &typed) {
        assert_eq!(candidates[0], ["json"]);
        assert_eq!(candidates[1], ["local", "production", "staging"]);
    }
}

#[test]
fn bash_keeps_cargos_own_completion() {
    let own = "_cargo() { COMPREPLY=(\"own:$2\"); }; complete -F _cargo cargo";
    let typed = ["cargo bui", "cargo xtask ro"];
    if let Some(candidates) = in_bash(own, &typed) {
        assert_eq!(candidates[0], ["own:bui"]);
        assert_eq!(candidates[1], ["rollback"]);
    }
    // As bash-completion does, it is loaded when it is asked for.
    let lazy = format!("__load_completion() {{ {own}; }}");
    if let Some(candidates) = in_bash(&lazy, &typed) {
        assert_eq!(candidates[0], ["own:bui"]);
        assert_eq!(candidates[1], ["rollback"]);
    }
}

fn in_fish(configured: &[&str], typed: &str) -> Option<Vec<String>> {
    let (mut command, script) = shell("fish")?;
    let code = format!("source {}; complete -C '{typed}'", script.display());
    let output = command
        .args(configured)
        .args(["-c", &code])
        .output()
        .unwrap();
    let candidate = |line: &str| line.split('\t').next().unwrap().to_owned();
    Some(stdout(&output).lines().map(candidate).collect())
}

#[test]
fn fish_completes_what_is_typed() {
    for configured in [&["--no-config"][..], &[]] {
        let candidates = TYPED.map(|(typed, _)| in_fish(configured, typed));
        let candidates: Option<Vec<_>> = candidates.into_iter().collect();
        if let Some(candidates) = candidates {
            are_offered(&candidates);
        }
    }
}

/// What is typed in zsh, which completes only at a terminal, and what stands there then.
const TYPED_IN_ZSH: [(&str, &str); 6] = [
    ("cargo xtask ro\t", "rollback"),
    ("cargo xtask deploy or\t", "orbit"),
    ("cargo xtask deploy --dry\t", "--dry-run"),
    ("cargo xtask deploy --env st\t", "staging"),
    ("cargo xtask plan --format=js\t", "json"),
    ("cargo xt\t", "cargo xtask"),
];

#[tokio::test]
async fn zsh_completes_what_is_typed() {
    let init = "autoload -Uz compinit; compinit -u -D;";
    let functions = of_toolchain("share/zsh/site-functions");
    let beside = format!("fpath=({} $fpath); {init}", functions.display());
    for setup in [init, &beside] {
        let Some((mut command, script)) = shell("zsh") else {
            return;
        };
        command.args(["-f", "-i"]).env("TERM", "xterm");
        let source = format!("{setup} source {}; print REA''DY\r", script.display());
        // Its editor says so when it is ready.
        let ready = "?2004h";
        let mut steps = vec![(ready, source), ("READY", String::new())];
        let mut before = ready;
        for (typed, becomes) in TYPED_IN_ZSH {
            // First it forgets what stands there.
            steps.push((before, format!("\u{15}{typed}")));
            before = becomes;
        }
        steps.push((before, "\u{15}exit\r".to_owned()));
        let steps: Vec<_> = steps
            .iter()
            .map(|(text, typed)| (*text, typed.as_str()))
            .collect();
        let ended = at_terminal(&command, &steps).await;
        assert_eq!(ended["exit_code"], json!(0), "{ended:#}");
        let shown = ended["shown"].as_str().unwrap();
        for (_, becomes) in TYPED_IN_ZSH {
            assert!(shown.contains(becomes), "{becomes}: {ended:#}");
        }
    }
}
