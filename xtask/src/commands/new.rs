//! `new`: writes a service or a function that builds, passes its tests and can be deployed: its
//! crate, its template, its entry in `services/catalog.json` and its place in the workspace. All of
//! them, or nothing.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::catalog::{self, Catalog, Component, Function, Service, fault_of_name};
use crate::decide::artifact::workspace::Workspace;
use crate::decide::definition::settings::ProgramSettings;
use crate::decide::machine::byte_order_mark::without_mark;
use crate::failure::Failure;
use crate::ports::WritableSource;
use crate::report::{CommandEvent, Report};

const MANIFEST: &str = "Cargo.toml";
const LOCK_FILE: &str = "Cargo.lock";
/// The file of a service's crate that says which path has which handler.
const PATHS_FILE: &str = "src/lib.rs";
const HEALTH: &str = "/health";
/// The folder of what every service is built from.
const KIT: &str = "services/kit";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKind {
    Service,
    Function,
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("new/templates/", $path, ".txt"))
    };
}

/// The files of a service, each with its text. Words between `@` are replaced in both.
const OF_SERVICE: [(&str, &str); 9] = [
    (
        "services/@NAME@/Cargo.toml",
        template!("service/Cargo.toml"),
    ),
    ("services/@NAME@/README.md", template!("service/README.md")),
    (
        "services/@NAME@/src/lib.rs",
        template!("service/src/lib.rs"),
    ),
    (
        "services/@NAME@/src/main.rs",
        template!("service/src/main.rs"),
    ),
    (
        "services/@NAME@/src/routes.rs",
        template!("service/src/routes.rs"),
    ),
    (
        "services/@NAME@/src/service.rs",
        template!("service/src/service.rs"),
    ),
    (
        "services/@NAME@/src/settings.rs",
        template!("service/src/settings.rs"),
    ),
    (
        "services/@NAME@/tests/service.rs",
        template!("service/tests/service.rs"),
    ),
    (
        "task-definitions/@NAME@.json",
        template!("service/task-definition.json"),
    ),
];
const OF_FUNCTION: [(&str, &str); 4] = [
    (
        "services/@NAME@/Cargo.toml",
        template!("function/Cargo.toml"),
    ),
    ("services/@NAME@/README.md", template!("function/README.md")),
    (
        "services/@NAME@/src/lib.rs",
        template!("function/src/lib.rs"),
    ),
    (
        "services/@NAME@/src/main.rs",
        template!("function/src/main.rs"),
    ),
];

/// Names that a crate, a module or a folder of cargo's cannot have.
#[rustfmt::skip]
const NOT_FOR_A_CRATE: [&str; 60] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "build", "const",
    "continue", "core", "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false",
    "final", "fn", "for", "gen", "if", "impl", "in", "incremental", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "proc-macro", "pub", "ref", "return", "self",
    "static", "std", "struct", "super", "test", "trait", "true", "try", "type", "typeof", "unsafe",
    "unsized", "use", "virtual", "where", "while", "yield",
];

/// The texts that a new component changes.
struct ChangedTexts {
    manifest: String,
    catalog: String,
    lock: String,
}

/// What was written, and what to do next.
#[derive(Debug, Serialize)]
struct NewComponent {
    created: Vec<String>,
    changed: Vec<String>,
    next: Vec<String>,
}

pub async fn new(
    kind: NewKind,
    name: &str,
    catalog: &Catalog,
    source: &dyn WritableSource,
    report: &Report,
) -> Result<()> {
    let component = named(kind, name)?;
    let before = ChangedTexts {
        manifest: source.text(MANIFEST)?,
        catalog: source.text(catalog::FILE)?,
        lock: source.text(LOCK_FILE)?,
    };
    refuse_taken(component, catalog, &before.lock, source)?;
    let mut created = files(component);
    if component.service().is_some() {
        created.push(settings(component, source)?);
    }
    let changed = [
        (MANIFEST, with_member(&before.manifest, component)?),
        (catalog::FILE, with_entry(&before.catalog, component)?),
    ];
    let undo = Undo {
        source,
        report,
        created: [folder(component), template(component)],
        changed: [
            (MANIFEST, before.manifest),
            (catalog::FILE, before.catalog),
            (LOCK_FILE, before.lock),
        ],
    };
    for (path, text) in &created {
        source.write(path, text)?;
    }
    for (path, text) in &changed {
        source.write(path, text)?;
    }
    source.update_lock_file().await?;
    std::mem::forget(undo);
    let written = NewComponent {
        created: created.into_iter().map(|(path, _)| path).collect(),
        changed: [MANIFEST, LOCK_FILE, catalog::FILE]
            .map(str::to_owned)
            .into(),
        next: next(component),
    };
    report.data(&written, &shown(&written));
    Ok(())
}

/// Removes what was written, unless the command succeeds.
struct Undo<'a> {
    source: &'a dyn WritableSource,
    report: &'a Report,
    created: [String; 2],
    changed: [(&'static str, String); 3],
}

impl Undo<'_> {
    fn put_back(&self, path: &str, text: &str) -> Result<()> {
        if self.source.text(path)? == text {
            return Ok(());
        }
        self.source.write(path, text)
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let removed = self.created.iter().map(|path| self.source.remove(path));
        let changed = self.changed.iter();
        let put_back = changed.map(|(path, text)| self.put_back(path, text));
        for error in removed.chain(put_back).filter_map(Result::err) {
            self.report.emit(CommandEvent::ErrorIgnored {
                subject: "new".to_owned(),
                error: format!("{error:#}"),
            });
        }
    }
}

fn named(kind: NewKind, name: &str) -> Result<Component, Failure> {
    if let Some(fault) = fault_of_name(name) {
        return Err(Failure::usage(fault));
    }
    if NOT_FOR_A_CRATE.contains(&name) {
        let fault = format!("`{name}` cannot be the name of a crate here: use another one");
        return Err(Failure::usage(fault));
    }
    let component = match kind {
        NewKind::Service => name.parse::<Service>().map(Component::from),
        NewKind::Function => name.parse::<Function>().map(Component::Function),
    };
    component.map_err(Failure::usage)
}

fn folder(component: Component) -> String {
    format!("services/{component}")
}

fn template(component: Component) -> String {
    format!("task-definitions/{component}.json")
}

/// A crate whose name is that of another package of the lock file could not be named at cargo's
/// command line.
fn refuse_taken(
    component: Component,
    catalog: &Catalog,
    lock: &str,
    source: &dyn WritableSource,
) -> Result<(), Failure> {
    let mut by = Vec::new();
    let mut entries = catalog.entries().iter();
    if entries.any(|entry| entry.component().name() == component.name()) {
        by.push(format!("an entry of {}", catalog::FILE));
    }
    let paths = [folder(component), template(component)];
    by.extend(paths.into_iter().filter(|path| source.exists(path)));
    if has_package(lock, component.name()) {
        by.push(format!("a package of {LOCK_FILE}"));
    }
    if component.service().is_some() {
        by.extend(takers_of_path(&route(component), catalog, source));
    }
    if by.is_empty() {
        return Ok(());
    }
    let by = by.join(", ");
    Err(Failure::refused(format!("{component} is taken: {by}")).hint("choose another name"))
}

/// The route of a service, through the load balancer and in its crate.
fn route(component: Component) -> String {
    format!("/{component}")
}

/// What answers the path already: a route, a path that the service with the default route has in
/// its crate, or the health of every service.
fn takers_of_path(path: &str, catalog: &Catalog, source: &dyn WritableSource) -> Vec<String> {
    let mut takers = Vec::new();
    if path == HEALTH {
        takers.push(format!("{path} is a path of every service"));
    }
    for entry in catalog.entries().iter().filter_map(|it| it.as_service()) {
        let name = entry.service;
        if let Some(route) = entry.routes.iter().find(|route| route.takes(path)) {
            takers.push(format!("{path} goes to {name}, by its route {route}"));
        }
        let file = format!("{}/{PATHS_FILE}", entry.common.folder);
        let quoted = format!("\"{path}\"");
        if entry.default_route && source.text(&file).is_ok_and(|text| text.contains(&quoted)) {
            takers.push(format!(
                "{path} goes to {name}, by the default route ({file})"
            ));
        }
    }
    takers
}

/// In a program `serde-json` and `serde_json` are one name.
fn has_package(lock: &str, name: &str) -> bool {
    let lines = lock.lines();
    let mut packages = lines.filter_map(|it| it.strip_prefix("name = \"")?.strip_suffix('"'));
    packages.any(|package| package.replace('_', "-") == name)
}

/// What its program reads is so far what every service reads.
fn settings(component: Component, source: &dyn WritableSource) -> Result<(String, String)> {
    let of_every_service = source.text(&ProgramSettings::path(KIT))?;
    let text = of_every_service.replace("<NAME>", &component.prefix());
    Ok((ProgramSettings::path(&folder(component)), text))
}

/// The files of a component, with their texts.
fn files(component: Component) -> Vec<(String, String)> {
    let templates: &[_] = match component {
        Component::Service(_) => &OF_SERVICE,
        Component::Function(_) => &OF_FUNCTION,
    };
    let files = templates.iter().map(|(path, text)| {
        let path = filled(path, component);
        (path, filled(text, component))
    });
    files.collect()
}

fn filled(text: &str, component: Component) -> String {
    let name = component.name();
    text.replace("@NAME@", name)
        .replace("@CRATE@", &name.replace('-', "_"))
        .replace("@PREFIX@", &component.prefix())
        .replace("@TYPE@", &type_name(name))
}

/// `RateLimits` for `rate-limits`. No two types of the workspace have the same name.
fn type_name(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}

/// The manifest of the workspace with one more member, and otherwise as it was.
fn with_member(manifest: &str, component: Component) -> Result<String> {
    let folder = folder(component);
    let start = manifest.find("members = [");
    let end = start.and_then(|start| Some(start + manifest[start..].find(']')?));
    let end = end.with_context(|| format!("{MANIFEST} has no list of members"))?;
    let list = manifest[..end].trim_end();
    let separator = if list.ends_with(',') { "" } else { "," };
    let rest = &manifest[list.len()..];
    let changed = format!("{list}{separator} \"{folder}\"{rest}");
    let is_member = Workspace::parse(&changed).members.contains(&folder);
    anyhow::ensure!(is_member, "{MANIFEST}: {folder} cannot be added to members");
    Ok(changed)
}

/// The catalog with one more entry at its end, and otherwise as it was. A fault is one that the
/// entry brings: the catalog was read before.
fn with_entry(text: &str, component: Component) -> Result<String> {
    let end = text.rfind(']');
    let end = end.with_context(|| format!("{} has no list", catalog::FILE))?;
    let entries = text[..end].trim_end();
    let rest = &text[entries.len()..];
    let entry = match component {
        Component::Service(_) => service_entry(text)?,
        Component::Function(_) => template!("function/entry.json").to_owned(),
    };
    let entry = filled(entry.trim_end(), component);
    let changed = format!("{entries},\n{entry}{rest}");
    Catalog::parse(without_mark(&changed)).map_err(|error| {
        Failure::refused(format!("{component} cannot be added: {error}"))
            .hint("choose another name")
    })?;
    Ok(changed)
}

/// The entry of a service, with the next priorities.
fn service_entry(catalog: &str) -> Result<String> {
    let first = Catalog::parse(without_mark(catalog))?.next_priority();
    Ok(template!("service/entry.json")
        .replace("@FIRST@", &first.to_string())
        .replace("@SECOND@", &(first + 10).to_string()))
}

fn next(component: Component) -> Vec<String> {
    let mut next = vec!["cargo xtask test --fast".to_owned()];
    if component.service().is_some() {
        next.insert(0, "cargo xtask lint".to_owned());
    }
    next.push("cargo xtask deploy".to_owned());
    next
}

fn shown(written: &NewComponent) -> String {
    let lines = |title: &str, items: &[String]| {
        let items: Vec<_> = items.iter().map(|item| format!("  {item}\n")).collect();
        format!("{title}\n{}", items.concat())
    };
    let parts = [
        lines("created", &written.created),
        lines("changed", &written.changed),
        lines("next", &written.next),
    ];
    parts.concat().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use async_trait::async_trait;

    use super::*;
    use crate::catalog::Route;
    use crate::catalog::testing::catalog;
    use crate::failure::exit_code;
    use crate::report::Format;
    use crate::report::testing::captured;

    const CATALOG: &str = include_str!("../../tests/catalog.json");
    const ROOT: &str = include_str!("../../../Cargo.toml");
    const ORBIT_PATHS: &str = include_str!("../../../services/orbit/src/lib.rs");
    const KIT_SETTINGS: &str = include_str!("../../../services/kit/settings.json");
    const ECHO: Component = Component::Service(Service::of("echo"));
    const LIMITS: Component = Component::Function(Function::of("rate-limits"));

    /// A checkout in memory.
    struct MemorySource {
        files: Mutex<BTreeMap<String, String>>,
        /// The file that cannot be written.
        broken: &'static str,
    }

    impl MemorySource {
        fn new(broken: &'static str) -> Self {
            let lock = "[[package]]\nname = \"serde_json\"\n";
            let files = [
                (MANIFEST, ROOT),
                (catalog::FILE, CATALOG),
                (LOCK_FILE, lock),
                ("services/orbit/src/lib.rs", ORBIT_PATHS),
                ("services/kit/settings.json", KIT_SETTINGS),
            ];
            let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
            Self {
                files: Mutex::new(files.into()),
                broken,
            }
        }

        fn files(&self) -> BTreeMap<String, String> {
            let files = self.files.lock();
            files.unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    #[async_trait]
    impl WritableSource for MemorySource {
        fn text(&self, path: &str) -> Result<String> {
            self.files().get(path).cloned().context("no such file")
        }

        fn exists(&self, path: &str) -> bool {
            let files = self.files();
            let mut paths = files.keys();
            paths.any(|it| it == path || it.starts_with(&format!("{path}/")))
        }

        fn write(&self, path: &str, text: &str) -> Result<()> {
            anyhow::ensure!(path != self.broken, "write {path}");
            let mut files = self.files.lock().unwrap();
            files.insert(path.to_owned(), text.to_owned());
            Ok(())
        }

        fn remove(&self, path: &str) -> Result<()> {
            let mut files = self.files.lock().unwrap();
            files.retain(|it, _| it != path && !it.starts_with(&format!("{path}/")));
            Ok(())
        }

        async fn update_lock_file(&self) -> Result<()> {
            self.write(LOCK_FILE, "updated")?;
            anyhow::ensure!(self.broken != "cargo", "cargo failed");
            Ok(())
        }
    }

    async fn run(source: &MemorySource, kind: NewKind, name: &str) -> Result<String> {
        let (report, data, _) = captured(Format::Human);
        new(kind, name, &catalog(), source, &report).await?;
        Ok(data.text())
    }

    #[tokio::test]
    async fn what_fails_in_the_middle_leaves_nothing() {
        for broken in [
            "services/echo/src/lib.rs",
            "task-definitions/echo.json",
            catalog::FILE,
            LOCK_FILE,
            "cargo",
        ] {
            let source = MemorySource::new(broken);
            let before = source.files();
            let ran = run(&source, NewKind::Service, "echo").await;
            assert!(ran.is_err(), "{broken}");
            assert_eq!(source.files(), before, "{broken}");
        }
        let source = MemorySource::new("");
        run(&source, NewKind::Service, "echo").await.unwrap();
        assert_eq!(source.files()[LOCK_FILE], "updated");
        let settings = &source.files()["services/echo/settings.json"];
        let known = ProgramSettings::parse(settings);
        assert!(known.find("ECHO_SECRET_ARN").is_some() && known.faults.is_empty());
    }

    #[tokio::test]
    async fn names_that_are_invalid_or_taken_are_refused() {
        for (name, code, why) in [
            ("Echo", 2, "`Echo` is not a name"),
            ("plan", 2, "`plan` is the name of another resource"),
            ("match", 2, "`match` cannot be the name of a crate here"),
            (
                "axon",
                11,
                "axon is taken: an entry of services/catalog.json",
            ),
            (
                "serde-json",
                11,
                "serde-json is taken: a package of Cargo.lock",
            ),
            (
                "reason",
                11,
                "reason is taken: /reason goes to axon, by its route /reason",
            ),
            (
                "dispatch",
                11,
                "dispatch is taken: /dispatch goes to orbit, by the default route \
                 (services/orbit/src/lib.rs)",
            ),
            (
                "health",
                11,
                "health is taken: /health is a path of every service, /health goes to orbit",
            ),
        ] {
            let source = MemorySource::new("");
            let before = source.files();
            let error = run(&source, NewKind::Service, name).await.unwrap_err();
            assert_eq!(exit_code(&error), code, "{error}");
            assert!(error.to_string().starts_with(why), "{error}");
            assert_eq!(source.files(), before, "{name}");
        }
    }

    /// A function has no route.
    #[tokio::test]
    async fn a_function_may_have_the_name_of_a_path() {
        let source = MemorySource::new("");
        run(&source, NewKind::Function, "dispatch").await.unwrap();
    }

    #[test]
    fn a_route_takes_the_paths_that_its_pattern_matches() {
        let takes = |pattern: &str, path: &str| {
            let route = Route {
                priority: 1,
                path: pattern.to_owned(),
                exposed: true,
                headers: Vec::new(),
            };
            route.takes(path)
        };
        for pattern in ["/echo", "/*", "/e*", "/*o", "/ec?o", "*"] {
            assert!(takes(pattern, "/echo"), "{pattern}");
        }
        for pattern in ["/", "/echo/*", "/ech", "/echoo", "/?", "/e*x"] {
            assert!(!takes(pattern, "/echo"), "{pattern}");
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        let files = [ECHO, LIMITS].map(files).concat();
        for (path, text) in &files {
            let is_left = |text: &str| {
                text.split('@').skip(1).step_by(2).any(|word| {
                    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase())
                })
            };
            assert!(!is_left(path) && !is_left(text), "{path}: {text}");
        }
        let text = |path: &str| &files.iter().find(|(it, _)| it == path).unwrap().1;
        assert!(
            text("services/rate-limits/src/main.rs")
                .contains("use rate_limits::{RateLimitsRequest,")
        );
        assert!(text("task-definitions/echo.json").contains("${ECHO_SECRET_ARN}"));
    }

    #[test]
    fn an_entry_leaves_the_others_as_they_are() {
        let service = with_entry(CATALOG, ECHO).unwrap();
        let both = with_entry(&service, LIMITS).unwrap();
        for text in [&service, &both] {
            let kept = CATALOG.trim_end_matches("\n  ]\n}\n");
            assert!(text.starts_with(&format!("{kept},\n    {{\n")), "{text}");
            assert!(text.ends_with("\n    }\n  ]\n}\n"), "{text}");
        }
        let both = Catalog::parse(&both).unwrap();
        assert!(both.entry(LIMITS).is_some());
        let routes = &both.service(Service::of("echo")).unwrap().routes;
        let routes: Vec<_> = routes
            .iter()
            .map(|it| format!("{} {it}", it.priority))
            .collect();
        assert_eq!(routes, ["30 /echo", "40 /health with X-Service: echo"]);
    }

    #[test]
    fn a_member_is_added_in_any_layout() {
        for (before, after) in [
            (
                "members = [\"a\"]\n",
                "members = [\"a\", \"services/echo\"]\n",
            ),
            (
                "members = [\n  \"a\",\n]\n",
                "members = [\n  \"a\", \"services/echo\"\n]\n",
            ),
        ] {
            assert_eq!(with_member(before, ECHO).unwrap(), after);
        }
        assert!(with_member("[workspace]\n", ECHO).is_err());
    }

    #[test]
    fn the_name_of_a_type_has_no_hyphens() {
        assert_eq!(type_name("rate-limits2"), "RateLimits2");
    }
}
