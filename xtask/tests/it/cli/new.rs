//! `new`: what it writes into a checkout, and when it writes nothing. A script takes cargo's place.

use std::collections::BTreeMap;
use std::fs::{File, Permissions, read_dir};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use xtask::catalog::{self, Catalog};

use super::program::{Bare, stderr, stdout};

const LOCK: &str = "[[package]]\nname = \"serde_json\"\n";

/// A checkout where cargo does what the script says.
fn checkout(name: &str, cargo: &str) -> Bare {
    let bare = Bare::new(name);
    bare.write("Cargo.lock", LOCK);
    bare.write("tools/cargo", &format!("#!/bin/sh\n{cargo}\n"));
    let file = File::open(bare.root.join("tools/cargo")).unwrap();
    file.set_permissions(Permissions::from_mode(0o755)).unwrap();
    bare
}

fn run(bare: &Bare, arguments: &[&str]) -> Output {
    let mut command = bare.xtask(arguments);
    let tools = bare.root.join("tools");
    command.env("PATH", &tools).output().unwrap()
}

/// Every file of the checkout with its text.
fn files(bare: &Bare) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![bare.root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = below(&path, &bare.root);
                let text = bare.read(&name);
                files.insert(name, text);
            }
        }
    }
    files
}

fn below(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    path.display().to_string()
}

const CARGO: &str = "echo \"$@\" >> Cargo.lock";

#[test]
fn a_service_and_a_function_are_written_and_nothing_is_written_twice() {
    let bare = checkout("new", CARGO);
    let before = files(&bare);
    for arguments in [["new", "service", "echo"], ["new", "function", "limits"]] {
        let output = run(&bare, &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        let shown = stdout(&output);
        assert!(shown.contains("cargo xtask deploy"), "{shown}");
        let path = format!("  services/{}/src/main.rs\n", arguments[2]);
        assert!(shown.contains(&path), "{shown}");
    }
    let catalog = Catalog::parse(&bare.read(catalog::FILE)).unwrap();
    for name in ["axon", "echo", "governance", "limits", "orbit"] {
        assert!(catalog.component_named(name).is_ok(), "{name}");
    }
    let lint = bare.run(&["lint"]);
    assert_eq!(stdout(&lint), "no findings\n", "{}", stderr(&lint));
    let updated = "update --workspace --offline --quiet\n".repeat(2);
    assert_eq!(bare.read("Cargo.lock"), format!("{LOCK}{updated}"));

    let written = files(&bare);
    let changed = before
        .iter()
        .filter(|(path, text)| written[*path] != **text);
    let changed: Vec<_> = changed.map(|(path, _)| path.as_str()).collect();
    assert_eq!(changed, ["Cargo.lock", "Cargo.toml", catalog::FILE]);
    for arguments in [["new", "service", "echo"], ["new", "service", "limits"]] {
        let output = run(&bare, &arguments);
        assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
        assert!(stderr(&output).contains(" is taken: an entry of "));
        assert_eq!(files(&bare), written);
    }
}

#[test]
fn without_a_lock_file_that_is_up_to_date_nothing_is_written() {
    let bare = checkout(
        "new-without-lock",
        "echo half > Cargo.lock; echo no index; exit 101",
    );
    let before = files(&bare);
    let output = run(&bare, &["new", "service", "echo"]);
    assert_eq!(output.status.code(), Some(12));
    let shown = stderr(&output);
    let expected = "Cargo.lock cannot be brought up to date:\nno index\n  hint: cargo fetch";
    assert!(shown.contains(expected), "{shown}");
    assert_eq!(files(&bare), before);
    assert!(!bare.root.join("services/echo").exists());
}

#[test]
fn what_was_written_is_given_as_json_too() {
    let bare = checkout("new-json", CARGO);
    let output = run(&bare, &["new", "function", "limits", "--format", "json"]);
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(written["created"][0], "services/limits/Cargo.toml");
    assert_eq!(written["next"][0], "cargo xtask test --fast");
}
