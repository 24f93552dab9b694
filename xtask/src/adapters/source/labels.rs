//! The last commit that changed the inputs of a component. Git searches its history once for each
//! component, so what it found is kept below `target/` for the commit that is checked out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::Checkout;
use crate::catalog::Component;
use crate::decide::artifact::image::is_hidden;
use crate::decide::artifact::types::Labels;

/// The checked-out commit, and the files that are not as it has them, by their path in the
/// repository, which may be a folder above the checkout.
#[derive(Debug, PartialEq, Eq)]
struct WorkTree {
    head: String,
    changed: Vec<String>,
}

/// What git found for a commit: by the paths that it was asked for, one a line.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FoundLabels {
    head: String,
    labels: BTreeMap<String, Labels>,
}

impl Checkout {
    /// The labels of each component by the paths of its inputs; without labels are those with
    /// uncommitted changes.
    pub(super) async fn labels(
        &self,
        inputs: &[(Component, Vec<String>)],
    ) -> BTreeMap<Component, Labels> {
        let paths = inputs.iter().flat_map(|(_, paths)| paths);
        let Some(tree) = self.work_tree(&paths.collect()).await else {
            return BTreeMap::new();
        };
        let mut known = self.found_labels().await;
        if known.head != tree.head {
            known = FoundLabels {
                head: tree.head.clone(),
                ..FoundLabels::default()
            };
        }
        let committed = inputs.iter().filter(|(_, paths)| {
            let is_input = |file: &String| paths.iter().any(|path| concerns(file, path));
            !tree.changed.iter().any(is_input)
        });
        let found = committed.map(async |(component, paths)| {
            let asked = paths.join("\n");
            let labels = match known.labels.get(&asked) {
                Some(labels) => Some(labels.clone()),
                None => self.last_commit(paths).await,
            };
            labels.map(|labels| (*component, asked, labels))
        });
        let found = join_all(found).await;
        let before = known.labels.len();
        let mut by_component = BTreeMap::new();
        for (component, asked, labels) in found.into_iter().flatten() {
            known.labels.insert(asked, labels.clone());
            by_component.insert(component, labels);
        }
        if known.labels.len() > before {
            self.keep_labels(&known).await;
        }
        by_component
    }

    fn labels_file(&self) -> PathBuf {
        self.process_env.state_folder().join("labels.json")
    }

    async fn found_labels(&self) -> FoundLabels {
        let read = tokio::fs::read(self.labels_file()).await.ok();
        let parsed = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        parsed.unwrap_or_default()
    }

    /// Where that fails, the next run asks git again.
    async fn keep_labels(&self, labels: &FoundLabels) {
        let file = self.labels_file();
        let own = file.with_extension(format!("json.{}", std::process::id()));
        let written = async {
            tokio::fs::create_dir_all(self.process_env.state_folder()).await?;
            tokio::fs::write(&own, serde_json::to_vec(labels)?).await?;
            tokio::fs::rename(&own, &file).await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "labels are not kept");
            drop(tokio::fs::remove_file(&own).await);
        }
    }

    /// `None` without git.
    async fn work_tree(&self, paths: &BTreeSet<&String>) -> Option<WorkTree> {
        let status = ["status", "--porcelain=v2", "--branch", "-z", "--no-renames"]
            .into_iter()
            .chain(["--ignored", "--untracked-files=all", "--"])
            .chain(paths.iter().map(|path| path.as_str()));
        WorkTree::parse(&self.git(status).await?)
    }

    /// The last commit that changed these paths.
    async fn last_commit(&self, paths: &[String]) -> Option<Labels> {
        let log = ["log", "-1", "--format=%H %cI %P", "--"]
            .into_iter()
            .chain(paths.iter().map(String::as_str));
        let log = self.git(log).await?;
        let mut fields = log.split_whitespace();
        let labels = Labels {
            revision: fields.next()?.to_owned(),
            created: fields.next()?.to_owned(),
        };
        let has_parent = fields.next().is_some();
        // The oldest commit of a shallow clone has no parent and seems to have added every file.
        (has_parent || !self.is_shallow().await?).then_some(labels)
    }

    async fn is_shallow(&self) -> Option<bool> {
        let answer = self.git(["rev-parse", "--is-shallow-repository"]).await?;
        Some(answer.trim() == "true")
    }
}

impl WorkTree {
    /// Reads what `git status --porcelain=v2 --branch -z` says.
    fn parse(status: &str) -> Option<Self> {
        let mut head = None;
        let mut changed = Vec::new();
        for entry in status.split('\0').filter(|entry| !entry.is_empty()) {
            // How many fields come before the path (git-status, "Porcelain Format Version 2").
            let fields = match entry.split(' ').next()? {
                "#" => {
                    head = head.or(entry.strip_prefix("# branch.oid ").map(str::to_owned));
                    continue;
                }
                "1" => 8,
                "u" => 10,
                _ => 1,
            };
            let path = entry.splitn(fields + 1, ' ').last()?;
            if !is_hidden(path) {
                changed.push(path.to_owned());
            }
        }
        Some(Self {
            head: head?,
            changed,
        })
    }
}

/// Whether a changed file is one of these inputs: the path itself, or below it. A repository of its
/// own that is not committed is listed as a folder, which may contain the path.
fn concerns(changed: &str, path: &str) -> bool {
    let (changed, path) = (format!("/{changed}"), format!("/{path}"));
    let is_below = changed.ends_with(&path) || changed.contains(&format!("{path}/"));
    is_below || (changed.ends_with('/') && path.starts_with(&changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_has_its_path() {
        let entries = [
            "# branch.oid c0ffee",
            "# branch.head main",
            "1 .M N... 100644 100644 100644 a b services/axon/src/a b.rs",
            "u UU N... 100644 100644 100644 100644 a b c Cargo.lock",
            "? services/axon/src/new.rs",
            "! services/axon/src/.main.rs.swp",
            "! services/axon/src/ignored.rs",
            "",
        ];
        let changed = [
            "services/axon/src/a b.rs",
            "Cargo.lock",
            "services/axon/src/new.rs",
            "services/axon/src/ignored.rs",
        ];
        let expected = WorkTree {
            head: "c0ffee".to_owned(),
            changed: changed.map(str::to_owned).into(),
        };
        assert_eq!(WorkTree::parse(&entries.join("\0")), Some(expected));
        assert_eq!(WorkTree::parse(""), None);
    }

    #[test]
    fn a_changed_file_concerns_the_inputs_that_it_is_part_of() {
        for (changed, path) in [
            ("Cargo.lock", "Cargo.lock"),
            ("services/axon/src/a/b.rs", "services/axon/src"),
            ("above/services/axon/src/main.rs", "services/axon/src"),
            ("services/axon/", "services/axon/src"),
        ] {
            assert!(concerns(changed, path), "{changed} {path}");
        }
        for (changed, path) in [
            ("services/axon/Cargo.toml", "Cargo.lock"),
            ("services/axon/src-old/main.rs", "services/axon/src"),
            ("services/axon", "services/axon/src"),
        ] {
            assert!(!concerns(changed, path), "{changed} {path}");
        }
    }
}
