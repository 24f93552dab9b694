//! Keeps what a program says of its settings in the files that people and `cargo xtask lint` read:
//! `settings.json`, and the table of a README. With `UPDATE=1` they are written anew.

use crate::process::run;

const DOCUMENT: &str = "settings.json";
const README: &str = "README.md";
/// Where the settings of every service are.
const KIT_README: &str = "../kit/README.md";
const HEAD: &str = "| variable |";
/// With the line below it.
const HEAD_LINES: usize = 2;

/// Panics where the files of the crate, in the current folder, are not what its program prints.
pub fn check_program(program: &str, name: &str) {
    let print = |arguments: &[&str]| {
        let output = run(program, arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    check_document(&print(&["--settings", "--format", "json"]));
    let prefix = name.replace('-', "_").to_uppercase();
    let of_kit = read(KIT_README).replace("<NAME>", &prefix);
    let of_every_service = table(&of_kit);
    let printed = print(&["--settings"]);
    let is_own = |row: &str| !of_every_service.lines().any(|it| it == row);
    let rows = printed.lines().enumerate();
    let own: Vec<&str> = rows
        .filter(|(index, row)| *index < HEAD_LINES || is_own(row))
        .map(|(_, row)| row)
        .collect();
    if own.len() > HEAD_LINES {
        check_table(&(own.join("\n") + "\n"));
    }
}

/// Panics where `settings.json` is not this document.
pub fn check_document(document: &str) {
    let is_missing = !std::path::Path::new(DOCUMENT).exists();
    let known = if is_missing {
        String::new()
    } else {
        read(DOCUMENT)
    };
    keep(DOCUMENT, &known, document);
}

/// Panics where the table of settings in the README is not this one.
pub fn check_table(wanted: &str) {
    let readme = read(README);
    keep(README, &readme, &readme.replacen(table(&readme), wanted, 1));
}

/// The table of settings in a README.
fn table(readme: &str) -> &str {
    let begin = readme.find(HEAD).expect("the README has a table");
    let rest = &readme[begin..];
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

#[expect(clippy::disallowed_methods, reason = "the files are what is tested")]
fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "writes the files where it is asked to"
)]
fn keep(path: &str, known: &str, wanted: &str) {
    if known == wanted {
        return;
    }
    assert!(
        std::env::var("UPDATE").is_ok(),
        "{path} is not what the program prints: run the test with UPDATE=1\n{wanted}"
    );
    std::fs::write(path, wanted).expect(path);
}
