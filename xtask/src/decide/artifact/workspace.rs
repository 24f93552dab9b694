//! What the manifests say of the crates of this workspace: its members, and which of them are
//! linked into a program. A test compares with `cargo metadata`, which takes too long for each run.

use std::collections::BTreeMap;

/// The manifest of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Folders below the root.
    pub members: Vec<String>,
    /// Of `workspace.dependencies` those that are members: name and folder.
    crates: BTreeMap<String, String>,
}

impl Workspace {
    pub fn parse(manifest: &str) -> Self {
        let list = manifest.split_once("members = [").map(|(_, rest)| rest);
        let list = list.and_then(|rest| rest.split_once(']'));
        let members = list.map_or_else(Vec::new, |(list, _)| quoted(list));
        let dependencies =
            lines(manifest).filter(|(section, _)| section == "workspace.dependencies");
        let crates = dependencies.filter_map(|(_, line)| Some((name(line)?, path(line)?)));
        Self {
            members,
            crates: crates.collect(),
        }
    }

    /// The folders of the members that the crate with this manifest links, but for its tests.
    pub fn linked(&self, manifest: &str) -> Vec<String> {
        let is_linked = |section: &str| {
            section.ends_with("dependencies") && !section.ends_with("dev-dependencies")
        };
        let linked = lines(manifest).filter(|(section, _)| is_linked(section));
        let folders = linked.filter_map(|(_, line)| self.crates.get(&name(line)?));
        folders.cloned().collect()
    }
}

/// The name of the package that a manifest is of.
pub fn package_name(manifest: &str) -> Option<String> {
    let mut lines = lines(manifest).filter(|(section, _)| section == "package");
    let (_, line) = lines.find(|(_, line)| name(line).as_deref() == Some("name"))?;
    quoted(line).into_iter().next()
}

/// Each line with the section that it stands in.
fn lines(manifest: &str) -> impl Iterator<Item = (String, &str)> {
    let mut section = String::new();
    manifest.lines().map(str::trim).map(move |line| {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
        }
        (section.clone(), line)
    })
}

/// `name = ...` or `name.workspace = true`
fn name(line: &str) -> Option<String> {
    let (name, _) = line.split_once(['.', '=', ' '])?;
    (!name.starts_with(['#', '['])).then(|| name.trim_matches('"').to_owned())
}

fn path(line: &str) -> Option<String> {
    let (_, value) = line.split_once("path = ")?;
    quoted(value).into_iter().next()
}

fn quoted(text: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = r#"
        [workspace]
        members = [
            "xtask",
            "services/kit", "services/echo",
        ]

        [workspace.dependencies]
        # ours
        echo = { path = "services/echo" }
        service-kit = { path = "services/kit" }
        bytes = "1"
    "#;

    #[test]
    fn members_are_read_in_any_layout() {
        let members = Workspace::parse(ROOT).members;
        assert_eq!(members, ["xtask", "services/kit", "services/echo"]);
        assert_eq!(Workspace::parse("members = [\"a\"]").members, ["a"]);
    }

    #[test]
    fn members_that_only_tests_use_are_not_linked() {
        let manifest = r#"
            [package]
            name = "other"

            [dependencies]
            bytes.workspace = true
            service-kit = { workspace = true }

            [dev-dependencies]
            echo.workspace = true
        "#;
        assert_eq!(Workspace::parse(ROOT).linked(manifest), ["services/kit"]);
        assert_eq!(package_name(manifest).as_deref(), Some("other"));
        assert_eq!(package_name(ROOT), None);
        let of_target = "[target.'cfg(unix)'.dependencies]\necho.workspace = true";
        assert_eq!(Workspace::parse(ROOT).linked(of_target), ["services/echo"]);
    }
}
