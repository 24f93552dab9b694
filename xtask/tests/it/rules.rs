//! Rules of this repository that neither the compiler nor clippy checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xtask::catalog::Service;
use xtask::commands::test;

use crate::world::components::catalog;

/// A file of the repository.
pub(crate) struct SourceFile {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// The lines of code with their numbers, without comments and test modules.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines_outside_tests();
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The lines with their numbers, without test modules.
    ///
    /// rustfmt puts the closing brace of a module at the indentation of its attribute.
    fn lines_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut test_module_end: Option<String> = None;
        let lines = self.text.lines().enumerate();
        lines.filter_map(move |(index, line)| {
            if let Some(end) = &test_module_end {
                if line == end {
                    test_module_end = None;
                }
                return None;
            }
            let code = line.trim_start();
            if code == "#[cfg(test)]" && !self.is_item_without_body(index) {
                let indentation = &line[..line.len() - code.len()];
                test_module_end = Some(format!("{indentation}}}"));
                return None;
            }
            Some((index + 1, line))
        })
    }

    /// The code without comments and test modules.
    pub(crate) fn code(&self) -> String {
        let lines: Vec<&str> = self.code_lines().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    /// Whether the item below an attribute is a line of its own, such as `mod tests;`.
    fn is_item_without_body(&self, attribute: usize) -> bool {
        let below = self.text.lines().skip(attribute + 1);
        let item = below.map(str::trim).find(|line| !line.starts_with("#["));
        item.is_some_and(|line| line.ends_with(';'))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below these folders with this suffix, sorted.
pub(crate) fn sources(folders: &[&str], suffix: &str) -> Vec<SourceFile> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), suffix, &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

#[expect(clippy::disallowed_methods, reason = "the rules are about files")]
fn collect(folder: &Path, suffix: &str, found: &mut Vec<SourceFile>) {
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
            found.push(SourceFile { path: below, text });
        }
    }
}

fn all_rust() -> Vec<SourceFile> {
    sources(&["xtask", "services", "tests"], ".rs")
}

fn shipped_rust() -> Vec<SourceFile> {
    let mut found = sources(&["xtask/src", "services"], ".rs");
    found.retain(|source| source.path.starts_with("xtask") || source.path.contains("/src/"));
    found
}

/// Every line of code that contains one of these, as `path:number: line`.
fn lines_with(sources: &[SourceFile], words: &[&str]) -> Vec<String> {
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

/// A build in Docker has the other members' manifests and none of their tests: cargo refuses a target
/// whose file it does not find unless the manifest has its path.
#[test]
fn the_target_tables_of_manifests_have_a_path() {
    let mut faults = Vec::new();
    for manifest in sources(&["xtask", "services", "tests"], "Cargo.toml") {
        for table in manifest.text.split("\n[[").skip(1) {
            let table = table.split("\n[").next().unwrap();
            if !table.contains("\npath = ") {
                faults.push(format!("{}: [[{table}", manifest.path));
            }
        }
    }
    none(&faults, "a target has a path");
}

#[track_caller]
fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

#[test]
fn decide_has_no_io_and_no_async() {
    let words = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "Instant",
        "SystemTime",
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

/// The same seed gives a simulation the same transcript.
#[test]
fn nothing_of_a_command_is_left_to_chance() {
    let mut commands = sources(&["xtask/src"], ".rs");
    commands.retain(|source| !source.path.starts_with("xtask/src/adapters"));
    let mut engine = sources(
        &[
            "xtask/src/release",
            "xtask/src/planning",
            "xtask/src/commands",
        ],
        ".rs",
    );
    engine.extend(sources(&["xtask/src/decide/release"], ".rs"));
    let mut found = lines_with(&engine, &["HashMap", "HashSet"]);
    for source in &commands {
        let lines: Vec<(usize, &str)> = source.code_lines().collect();
        for pair in lines.windows(2) {
            if pair[0].1.contains("select! {") && pair[1].1.trim() != "biased;" {
                let (number, line) = pair[0];
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(&found, "maps are ordered, and every `select!` is biased");
}

/// The judge of a simulation shares no mistake with what it judges.
#[test]
fn the_model_of_ecs_knows_nothing_of_the_engine_and_has_no_clock() {
    let mut model = sources(&["xtask/tests/it"], ".rs");
    model.retain(|source| source.path.starts_with("xtask/tests/it/model"));
    assert!(model.len() > 8, "{}", model.len());
    let words = [
        "xtask::",
        "tokio",
        "Instant",
        "SystemTime",
        "async ",
        "std::fs",
    ];
    none(&lines_with(&model, &words), "the model is a state machine");
}

/// Who reads a name must not have to ask which of two types it is.
#[test]
fn the_name_of_a_type_means_one_thing_in_the_workspace() {
    // Each service has its own settings, and no program has those of two.
    let several = ["Settings"];
    // Names that a trait prescribes.
    let associated = [
        "Err", "Error", "Future", "Response", "Service", "Target", "Value",
    ];
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let files = all_rust();
    for source in &files {
        for (index, line) in source.text.lines().enumerate() {
            let Some((keyword, name)) = declared_type(line) else {
                continue;
            };
            let is_associated = keyword == "type" && associated.contains(&name);
            if !is_associated && !several.contains(&name) {
                let place = format!("{name} at {}:{}", source.path, index + 1);
                places.entry(name).or_default().push(place);
            }
        }
    }
    assert!(places.len() > 300, "{}", places.len());
    let twice = places.into_values().filter(|places| places.len() > 1);
    none(
        &twice.flatten().collect::<Vec<_>>(),
        "give each of these types a name of its own",
    );
}

/// The keyword and the name, where a line declares a type.
fn declared_type(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let keyword = words.find(|word| !word.starts_with("pub"))?;
    if !["struct", "enum", "trait", "type"].contains(&keyword) {
        return None;
    }
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let name = words.next()?;
    let end = name.find(|character| !is_of_name(character));
    Some((keyword, &name[..end.unwrap_or(name.len())]))
}

/// Clippy forbids the macros; this is about the streams themselves.
#[test]
fn only_the_report_writes_to_the_standard_streams() {
    let words = ["io::stdout()", "io::stderr()"];
    let mut found = lines_with(&sources(&["xtask/src"], ".rs"), &words);
    found.retain(|line| {
        let only_asks = line.contains("is_terminal(");
        !line.starts_with("xtask/src/report.rs:") && !only_asks
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
    none(
        &lines_with(&beside, &["tokio::fs"]),
        "files are read and written by adapters",
    );
    let adapters = sources(&["xtask/src/adapters"], ".rs");
    let found = lines_with(
        &adapters,
        &["crate::commands", "crate::release", "crate::cli"],
    );
    none(&found, "adapters decide nothing");
}

/// The names below `[dependencies]` of a manifest.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = sources(&[folder], "Cargo.toml").remove(0).text;
    let mut names = BTreeSet::new();
    for section in manifest.split("\n[").skip(1) {
        let (header, lines) = section.split_once('\n').unwrap_or((section, ""));
        if header == "dependencies]" {
            let name = |line: &str| Some(line.split_once('=')?.0.trim().to_owned());
            names.extend(lines.lines().filter_map(name));
        }
    }
    names
}

#[test]
fn services_do_not_depend_on_each_other() {
    let catalog = catalog();
    let entries = catalog.entries().iter();
    let folders = entries
        .filter(|entry| !entry.common().retired)
        .map(|entry| entry.common().folder.as_str());
    let mut found = Vec::new();
    for folder in folders.chain(["services/kit"]) {
        let dependencies = dependencies(folder);
        assert!(!dependencies.is_empty(), "{folder}");
        let components = catalog
            .entries()
            .iter()
            .map(|entry| entry.component().name());
        let linked = components.filter(|name| dependencies.contains(*name));
        found.extend(linked.map(|name| format!("{folder} depends on {name}")));
    }
    none(&found, "services call each other and share only the kit");
}

/// The components that the requirements name. Others are not looked for: `echo` is a word too.
const REQUIRED: [&str; 3] = ["axon", "orbit", "governance"];

/// Beginnings of paths whose files may name them, and why.
const MAY_NAME_COMPONENTS: [(&str, &str); 12] = [
    ("README.md", "the story of the project"),
    ("infra/README.md", "the story of a first deploy"),
    ("CHANGELOG.md", "what changed for their users"),
    ("Cargo.toml", "members of the workspace"),
    ("Cargo.lock", "members of the workspace"),
    ("services/catalog.json", "their entries"),
    ("infra/environments/", "exceptions by service"),
    ("xtask/src/decide/acceptance", "the acceptance criteria"),
    ("xtask/src/commands/verify", "the acceptance criteria"),
    (
        "xtask/src/adapters/bench/load.rs",
        "the services under load",
    ),
    ("xtask/src/decide/outputs.local.json", "only tests read it"),
    (
        "xtask/src/decide/definition/lint/findings.txt",
        "only a test reads it",
    ),
];

/// Files of tests, in which components stand for any. Test modules of other files count too.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// What Terraform leaves, by hand or on the local AWS, and git ignores.
fn is_left_by_terraform(path: &str) -> bool {
    let left = [".tfstate", ".terraform.lock.hcl", "_override.tf"];
    left.iter().any(|name| path.contains(name))
}

/// Whether a name stands in a text as a word, or as a part of a name such as `AXON_IMAGE` or
/// `AxonHealth`.
fn names_component(line: &str) -> bool {
    let lowercase = line.to_ascii_lowercase();
    let is_word = |start: usize, name: &str| {
        let first = line[start..].chars().next();
        let begins = line[..start].chars().next_back().is_none_or(|before| {
            let is_hump = before.is_lowercase() && first.is_some_and(char::is_uppercase);
            !before.is_alphabetic() || is_hump
        });
        let after = line[start + name.len()..].chars().next();
        begins && after.is_none_or(|after| !after.is_lowercase())
    };
    REQUIRED.iter().any(|name| {
        let mut found = lowercase.match_indices(name);
        found.any(|(start, _)| is_word(start, name))
    })
}

#[test]
fn a_name_is_found_as_a_word_and_in_other_names() {
    for line in [
        "call axon",
        "${ORBIT_IMAGE}",
        "AxonHealth",
        "asAxon",
        "a/orbit.rs",
        "axon's",
    ] {
        assert!(names_component(line), "{line}");
    }
    for line in [
        "taxonomy",
        "orbital",
        "exorbitant",
        "governances",
        "component",
    ] {
        assert!(!names_component(line), "{line}");
    }
}

/// Who adds a service must not have to ask whether something is about this one.
#[test]
fn components_are_named_only_where_they_are_meant() {
    let catalog = catalog();
    // What another component says of what it calls is its own.
    let mut theirs: Vec<String> = Vec::new();
    for entry in catalog.entries() {
        theirs.push(format!("{}/", entry.common().folder));
        theirs.extend(entry.component().service().map(Service::template));
    }
    let mut files = sources(&["."], "");
    files.retain(|file| {
        let path = file.path.as_str();
        !is_test(path)
            && !is_left_by_terraform(path)
            && !theirs.iter().any(|it| path.starts_with(it))
    });
    assert!(files.len() > 300, "{}", files.len());
    let mut found = Vec::new();
    let mut needed = BTreeSet::new();
    for file in &files {
        let mut starts = MAY_NAME_COMPONENTS.iter().map(|(start, _)| *start);
        let known = starts.find(|start| file.path.starts_with(start));
        for (number, line) in file.lines_outside_tests() {
            match known {
                _ if !names_component(line) => {}
                Some(start) => drop(needed.insert(start)),
                None => found.push(format!("{}:{number}: {}", file.path, line.trim())),
            }
        }
    }
    none(
        &found,
        "name no component here, or say in MAY_NAME_COMPONENTS why",
    );
    let all = MAY_NAME_COMPONENTS.iter().map(|(start, _)| *start);
    let unneeded: Vec<_> = all.filter(|start| !needed.contains(start)).collect();
    assert!(
        unneeded.is_empty(),
        "these name none any more: {unneeded:?}"
    );
}

#[test]
fn nothing_is_left_for_later_or_skipped() {
    // In two parts, so that this list does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ig", "nore"],
        ["unimpl", "emented!"],
    ];
    let words = marks.map(|parts| parts.concat());
    let mut found = Vec::new();
    for source in all_rust() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none(&found, "no mark for later, no skipped test");
}

#[test]
fn every_file_has_a_module_doc() {
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
fn no_file_has_a_path_of_one_machine() {
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
    none(&found, "no path of one machine");
}

#[test]
fn no_manifest_names_a_registry() {
    let mut manifests = sources(&["."], ".toml");
    manifests.extend(sources(&["."], ".txt"));
    // `deny.toml` only forbids other registries than the default one.
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
    none(&found, "package sources are a setting of the machine");
}

/// An alarm on a metric that no service writes never fires. Metrics of AWS start with a capital
/// letter.
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
    let name = |file: &SourceFile| {
        let name = file.path.split('/').nth(2).unwrap();
        name.trim_end_matches(".rs").to_owned()
    };
    let mut names: Vec<_> = files.iter().map(name).collect();
    names.dedup();
    let mut run = [&test::END_TO_END[..], &test::LONG].concat();
    run.sort_unstable();
    assert_eq!(names, run);
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
    let arms = table.lines().filter_map(|line| line.split_once("=>"));
    let of_code: Vec<u32> = arms.flat_map(|(_, code)| numbers(code)).collect();
    assert!(of_code.len() > 5, "{of_code:?}");
    // 0 is success and 1 an unexpected error: neither is a kind of failure.
    assert_eq!(numbers(&help), [&[0, 1], of_code.as_slice()].concat());
}

/// Tests of the workspace must not compile the dependencies of xtask a second time, which are most
/// of all dependencies.
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

/// The fuzzers are workspaces of their own, so no other build checks their lock files; an outdated
/// one would be changed by a run of the fuzzer.
#[test]
fn the_lock_files_of_the_fuzzers_are_up_to_date() {
    for (manifest, fuzzed) in [
        ("services/fuzz/Cargo.toml", "service-kit "),
        ("xtask/fuzz/Cargo.toml", "xtask "),
    ] {
        let known = features(&["--manifest-path", manifest]);
        let is_known = known.iter().any(|line| line.starts_with(fuzzed));
        assert!(is_known, "{known:?}");
    }
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
