//! Rules of this repository that a compiler does not keep.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a file, blank ones and tests included.

pub(crate) struct Source {
    /// Below the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Everything up to its own tests.
    pub(crate) fn code(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap_or_default()
    }

    /// Its lines of code, with their numbers: comments say what they like.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.code().lines().enumerate();
        numbered
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of these folders whose name ends so, in order.
pub(crate) fn sources(folders: &[&str], suffix: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), suffix, &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

#[expect(clippy::disallowed_methods, reason = "the rules are about files")]
fn collect(folder: &Path, suffix: &str, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let is_ours = name != "target" && name != ".git" && name != ".terraform";
            if is_ours {
                collect(&path, suffix, found);
            }
        } else if name.ends_with(suffix) {
            let below = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            found.push(Source { path: below, text });
        }
    }
}

fn all_rust() -> Vec<Source> {
    sources(&["xtask", "services", "tests"], ".rs")
}

fn shipped_rust() -> Vec<Source> {
    let mut found = sources(&["xtask/src", "services"], ".rs");
    found.retain(|source| source.path.starts_with("xtask") || source.path.contains("/src/"));
    found
}

/// Every line of code that contains one of these, as `path:number: line`.
fn lines_with(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code_lines() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_rules_see_the_files_that_they_are_about() {
    assert!(all_rust().len() > 100);
    assert!(shipped_rust().len() > 80);
    assert!(sources(&["xtask/src/decide"], ".rs").len() > 20);
    assert!(sources(&["."], ".toml").len() > 5);
}

#[track_caller]
fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

#[test]
fn deciding_reads_nothing_and_waits_for_nothing() {
    let words = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::time",
        "std::thread",
        "tokio",
        "async ",
        ".await",
        "Timestamp::now",
        "crate::adapters",
        "crate::commands",
        "crate::release",
        "crate::ports",
        "crate::report",
        "crate::cli",
    ];
    let found = lines_with(&sources(&["xtask/src/decide"], ".rs"), &words);
    none(&found, "`decide` is values in, values out");
}

#[test]
fn only_the_report_prints() {
    let words = [
        "println!",
        "eprintln!",
        "print!(",
        "eprint!(",
        "io::stdout()",
        "io::stderr()",
        "dbg!(",
    ];
    let mut found = lines_with(&sources(&["xtask/src"], ".rs"), &words);
    found.retain(|line| {
        let asks_what_it_is = line.contains("is_terminal(");
        !line.starts_with("xtask/src/report.rs:") && !asks_what_it_is
    });
    none(&found, "only report.rs prints");
}

#[test]
fn only_main_brings_adapters_and_commands_together() {
    let mut beside = sources(&["xtask/src"], ".rs");
    beside.retain(|source| {
        !source.path.starts_with("xtask/src/adapters") && source.path != "xtask/src/main.rs"
    });
    let found = lines_with(&beside, &["crate::adapters", "xtask::adapters"]);
    none(&found, "only main names adapters");
    let adapters = sources(&["xtask/src/adapters"], ".rs");
    let found = lines_with(
        &adapters,
        &["crate::commands", "crate::release", "crate::cli"],
    );
    none(&found, "adapters decide nothing");
}

#[test]
fn services_do_not_know_each_other() {
    let of = |folder: &str| sources(&[folder], ".rs");
    none(
        &lines_with(&of("services/axon/src"), &["orbit::"]),
        "axon does not know orbit",
    );
    none(
        &lines_with(&of("services/orbit/src"), &["axon_service::"]),
        "orbit only calls axon",
    );
    let kit = lines_with(&of("services/kit/src"), &["axon", "orbit", "governance"]);
    none(&kit, "the kit knows no service");
}

#[test]
fn nothing_is_left_for_later_or_switched_off() {
    // In two parts, so that this list does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ig", "nore"],
        ["unimpl", "emented!"],
    ];
    let allows = [
        ["allow(dead", "_code"],
        ["allow(unus", "ed"],
        ["#[al", "low("],
        ["#![al", "low("],
    ];
    let words: Vec<String> = marks
        .iter()
        .chain(&allows)
        .map(|parts| parts.concat())
        .collect();
    let mut found = Vec::new();
    for source in all_rust() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none(
        &found,
        "no mark, no test that is skipped, no lint that is switched off",
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mut found = Vec::new();
    for source in shipped_rust() {
        let doc = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        if doc == 0 {
            found.push(format!("{} has no module doc", source.path));
        }
    }
    none(&found, "a file begins with its module doc");
}

#[test]
fn every_exception_from_a_lint_has_its_reason() {
    let mut found = Vec::new();
    for source in all_rust() {
        for (at, _) in source.text.match_indices("[expect(") {
            let rest = &source.text[at..];
            let attribute = rest.split(")]").next().unwrap_or_default();
            let is_attribute = source.text[..at].ends_with(['#', '!']);
            if is_attribute && !attribute.contains("reason = \"") {
                let line = source.text[..at].lines().count();
                found.push(format!("{}:{line}", source.path));
            }
        }
    }
    none(&found, "an exception from a lint says why");
}

#[test]
fn no_file_names_a_place_that_only_one_machine_has() {
    let private = [["/wo", "rk/"], ["/ro", "ot/"]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for suffix in [".rs", ".toml", ".tf", ".json", ".md", ".yml", ".yaml"] {
        for source in sources(&["."], suffix) {
            for (index, line) in source.text.lines().enumerate() {
                if private.iter().any(|path| line.contains(path.as_str())) {
                    found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
                }
            }
        }
    }
    none(&found, "no path of somebody's machine");
}

#[test]
fn no_manifest_names_a_registry() {
    let mut manifests = sources(&["."], ".toml");
    manifests.extend(sources(&["."], ".txt"));
    // What `deny.toml` says of registries is that none but the default one may be named.
    manifests.retain(|source| {
        !source.path.contains("snapshots/") && !source.path.ends_with("deny.toml")
    });
    let mut found = Vec::new();
    for source in manifests {
        for (index, line) in source.text.lines().enumerate() {
            let words = ["registry = ", "[source.", "index-url", "replace-with"];
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none(
        &found,
        "where packages come from is the machine's own setting",
    );
}

/// A metric that nobody writes is an alarm that never goes off. Amazon's own begin with a capital.
#[test]
fn alarms_and_the_dashboard_are_about_metrics_that_the_services_write() {
    let written = sources(&["services"], ".rs");
    let is_written = |metric: &str| {
        let literal = format!("\"{metric}\"");
        written
            .iter()
            .any(|source| source.path.contains("/src/") && source.code().contains(&literal))
    };
    let mut metrics = BTreeSet::new();
    for source in sources(&["infra"], ".tf") {
        for part in source.text.split("metric").skip(1) {
            let value = part.strip_prefix("_name").unwrap_or(part).trim_start();
            let literal = value
                .strip_prefix("= \"")
                .and_then(|rest| rest.split('"').next());
            let ours = literal.filter(|metric| metric.starts_with(char::is_lowercase));
            metrics.extend(ours.map(str::to_owned));
        }
    }
    assert!(metrics.len() >= 5, "{metrics:?}");
    metrics.retain(|metric| !is_written(metric));
    none(&Vec::from_iter(metrics), "no service writes these metrics");
}

#[test]
fn every_end_to_end_test_is_run() {
    let files = sources(&["tests/tests"], ".rs");
    // A test is a file, or a folder of several.
    let name = |file: &Source| {
        let name = file.path.split('/').nth(2).unwrap();
        name.trim_end_matches(".rs").to_owned()
    };
    let mut names: Vec<_> = files.iter().map(name).collect();
    names.dedup();
    assert_eq!(names, xtask::commands::test::END_TO_END);
}

#[test]
fn the_help_and_the_code_have_the_same_exit_codes() {
    let help = sources(&["xtask/src"], "cli.rs").remove(0).text;
    let help = help
        .split("Exit codes:")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let numbers = |text: &str| -> Vec<u32> {
        let words = text.split(|character: char| !character.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let failure = sources(&["xtask/src"], "failure.rs").remove(0).text;
    let table = failure.split("fn exit_code(self)").nth(1).unwrap();
    let table = table.split("}\n    }").next().unwrap();
    let of_code: Vec<u32> = numbers(table)
        .into_iter()
        .filter(|number| *number != 8)
        .collect();
    // 0 is success and 1 what nobody foresaw: neither is a kind of failure.
    assert_eq!(numbers(&help), [&[0, 1], of_code.as_slice()].concat());
}

/// Tests of the whole workspace must not compile xtask's dependencies a second time: that is most
/// of what there is to compile.
#[test]
fn a_crate_has_the_same_features_for_xtask_and_for_the_whole() {
    let alone = features(&["--package", "xtask", "--edges", "normal,build"]);
    let whole = features(&[
        "--workspace",
        "--exclude",
        "e2e",
        "--edges",
        "normal,build,dev",
    ]);
    let twice: Vec<_> = alone.difference(&whole).collect();
    assert!(
        twice.is_empty(),
        "see the root's Cargo.toml on features: {twice:#?}"
    );
}

/// It is a workspace of its own, which no other build looks at: a run of the fuzzer would change
/// a lock file that is behind.
#[test]
fn the_fuzzers_lock_file_is_up_to_date() {
    let known = features(&["--manifest-path", "services/fuzz/Cargo.toml"]);
    let kit = known.iter().any(|line| line.starts_with("service-kit "));
    assert!(kit, "{known:?}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "only cargo knows how features unite"
)]
fn features(arguments: &[&str]) -> BTreeSet<String> {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "tree", "--locked", "--prefix", "none", "--format", "{p} {f}",
        ])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}
