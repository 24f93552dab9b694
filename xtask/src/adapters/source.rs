//! The checkout: its files and their git commits. Without git, or outside of a repository, there is
//! no commit; that is not an error.

mod labels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::adapters::process::Command;
use crate::catalog::{CatalogEntry, Component};
use crate::decide::artifact::contents::{self, LayoutFiles};
use crate::decide::artifact::image::{InputFile, Inputs, input_paths, is_hidden};
use crate::decide::artifact::workspace::Workspace;
use crate::decide::machine::byte_order_mark::without_mark;
use crate::failure::Failure;
use crate::ports::{Commit, ProcessEnv, Source, WritableSource};

#[derive(Debug, Clone)]
pub struct Checkout {
    process_env: ProcessEnv,
}

/// The `.json` files of a folder and of those in it, sorted. Hidden folders are left out.
pub fn json_files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("read {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        // A link may lead back to where it is.
        let is_folder = entry.file_type().with_context(context)?.is_dir();
        if is_folder && !entry.file_name().to_string_lossy().starts_with('.') {
            files.extend(json_files_below(&path)?);
        } else if !is_folder && path.extension().is_some_and(|it| it == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The files of an image's archive, or of the folder of a layout.
#[expect(clippy::disallowed_methods, reason = "an adapter reads files")]
pub fn layout_files(path: &Path) -> Result<LayoutFiles> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    if !path.is_dir() {
        return Ok(contents::unpacked(&read(path)?)?);
    }
    let mut files = LayoutFiles::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let context = || format!("read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(context)? {
            let found = entry.with_context(context)?.path();
            if found.is_dir() {
                folders.push(found);
            } else {
                let below = found.strip_prefix(path).unwrap_or(&found);
                let below = below.to_string_lossy().into_owned();
                files.insert(below, read(&found)?);
            }
        }
    }
    Ok(files)
}

#[async_trait]
impl Source for Checkout {
    async fn read(&self, path: &str) -> Result<String> {
        let text = tokio::fs::read_to_string(self.process_env.root.join(path))
            .await
            .with_context(|| format!("read {path}"))?;
        Ok(without_mark(&text).to_owned())
    }

    async fn services_sha256(&self) -> Result<String> {
        let mut files = BTreeMap::new();
        read_files(&self.process_env.root, "services", &mut files).context("read services/")?;
        let mut hash = Sha256::new();
        let is_source = |path: &str| {
            let ending = Path::new(path).extension().unwrap_or_default();
            ["rs", "toml", "cedar", "cedarschema"]
                .iter()
                .any(|known| ending == *known)
        };
        for (path, file) in files.iter().filter(|(path, _)| is_source(path)) {
            let bytes = file.bytes();
            hash.update(format!("{path}\0{}\0", bytes.len()));
            hash.update(bytes);
        }
        Ok(hex::encode(hash.finalize()))
    }

    async fn commit(&self) -> Result<Option<Commit>> {
        let Some(status) = self.git(["status", "--porcelain=v2", "--branch"]).await else {
            return Ok(None);
        };
        let id = status
            .lines()
            .find_map(|line| line.strip_prefix("# branch.oid "))
            .filter(|id| *id != "(initial)");
        Ok(id.map(|id| Commit {
            id: id.to_owned(),
            dirty: status.lines().any(|line| !line.starts_with('#')),
        }))
    }
}

#[async_trait]
#[expect(clippy::disallowed_methods, reason = "files are written here")]
impl WritableSource for Checkout {
    fn text(&self, path: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.process_env.root.join(path));
        text.with_context(|| format!("read {path}"))
    }

    fn exists(&self, path: &str) -> bool {
        self.process_env.root.join(path).exists()
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.process_env.root.join(path);
        let folder = file.parent().context("a file has a folder")?;
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text));
        written.with_context(|| format!("write {path}"))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let file = self.process_env.root.join(path);
        let removed = if file.is_dir() {
            std::fs::remove_dir_all(&file)
        } else if file.exists() {
            std::fs::remove_file(&file)
        } else {
            Ok(())
        };
        removed.with_context(|| format!("remove {path}"))
    }

    async fn update_lock_file(&self) -> Result<()> {
        let updated = Command::new(&self.process_env, "cargo")
            .arguments(["update", "--workspace", "--offline", "--quiet"])
            .folder(&self.process_env.root)
            .run()
            .await?;
        if updated.succeeded() {
            return Ok(());
        }
        let why = updated.last_lines(10);
        Err(
            Failure::not_ready(format!("Cargo.lock cannot be brought up to date:\n{why}"))
                .hint("cargo fetch    # gets what cargo needs to know about crates; then try again")
                .into(),
        )
    }
}

impl Checkout {
    pub fn new(process_env: &ProcessEnv) -> Self {
        Self {
            process_env: process_env.clone(),
        }
    }

    /// Reads the inputs of components from the checkout. What many of them share is read once.
    pub async fn inputs(
        &self,
        entries: impl Iterator<Item = &CatalogEntry>,
    ) -> Result<BTreeMap<Component, Inputs>> {
        let workspace = Workspace::parse(&self.read("Cargo.toml").await?);
        let mut read = BTreeMap::new();
        let (mut paths_of, mut files_of) = (Vec::new(), Vec::new());
        for entry in entries {
            let component = entry.component();
            let paths = input_paths(&self.source_folders(entry, &workspace).await?);
            let mut files = BTreeMap::new();
            for path in &paths {
                if !read.contains_key(path) {
                    let mut below = BTreeMap::new();
                    read_files(&self.process_env.root, path, &mut below)
                        .with_context(|| format!("read {path}, an input of {component}"))?;
                    read.insert(path.clone(), below);
                }
                files.extend(read[path].clone());
            }
            paths_of.push((component, paths));
            files_of.push((component, files));
        }
        let labels = self.labels(&paths_of).await;
        let inputs = files_of.into_iter().map(|(component, files)| {
            let labels = labels.get(&component).cloned();
            (component, Inputs { files, labels })
        });
        Ok(inputs.collect())
    }

    /// The folder of a component's crate, and those of the members that are linked into it.
    async fn source_folders(
        &self,
        entry: &CatalogEntry,
        workspace: &Workspace,
    ) -> Result<Vec<String>> {
        let mut folders = vec![entry.common().folder.clone()];
        let mut next = 0;
        while let Some(folder) = folders.get(next) {
            let manifest = self.read(&format!("{folder}/Cargo.toml")).await?;
            let mut linked = workspace.linked(&manifest);
            linked.retain(|folder| !folders.contains(folder));
            folders.extend(linked);
            next += 1;
        }
        Ok(folders)
    }

    /// The stdout of git; `None` if it fails or is not installed.
    async fn git<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let finished = Command::new(&self.process_env, "git")
            .arguments(["-c", "log.showSignature=false"])
            .arguments(arguments)
            .variable("GIT_OPTIONAL_LOCKS", "0") // reading must not block a commit
            .folder(&self.process_env.root)
            .without_stderr()
            .run()
            .await
            .inspect_err(|error| tracing::debug!(%error, "no git"))
            .ok()?;
        finished.succeeded().then_some(finished.output)
    }
}

/// Reads a file or all files below a folder. Missing ones are skipped.
fn read_files(root: &Path, path: &str, files: &mut BTreeMap<String, InputFile>) -> Result<()> {
    let full = root.join(path);
    if full.is_dir() {
        for entry in full.read_dir()? {
            let name = entry?.file_name();
            let name = name.to_str().context("a file name is not UTF-8")?;
            if !is_hidden(name) {
                read_files(root, &format!("{path}/{name}"), files)?;
            }
        }
    } else if full.exists() {
        #[expect(clippy::disallowed_methods, reason = "reads the inputs of a key")]
        let bytes = std::fs::read(&full).with_context(|| format!("read {path}"))?;
        files.insert(path.to_owned(), bytes.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    use crate::catalog::testing::{AXON, GOVERNANCE, ORBIT, catalog};
    use crate::decide::artifact::compilation::testing::X86;
    use crate::decide::artifact::types::Key;

    /// A temporary checkout.
    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        /// A checkout with one commit of the inputs of axon.
        async fn committed() -> Self {
            let folder = Self::new();
            folder.with_manifests();
            folder.write("services/axon/src/main.rs", "fn main() {}");
            folder.write("services/kit/src/lib.rs", "");
            folder.write(".gitignore", "target\n");
            folder.git(&["init", "--quiet"]).await;
            folder.commit().await;
            folder
        }

        /// Axon links the kit.
        fn with_manifests(&self) {
            let kit = "[workspace.dependencies]\nservice-kit = { path = \"services/kit\" }";
            self.write("Cargo.toml", kit);
            let axon = "[dependencies]\nservice-kit.workspace = true";
            self.write("services/axon/Cargo.toml", axon);
            self.write("services/kit/Cargo.toml", "");
        }

        #[expect(clippy::disallowed_methods, reason = "a test writes its own checkout")]
        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        #[expect(clippy::disallowed_methods, reason = "a test reads its own checkout")]
        fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.0.path().join(path)).unwrap()
        }

        async fn commit(&self) -> String {
            self.git(&["add", "--all"]).await;
            let who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"];
            let commit = ["commit", "--quiet", "--no-gpg-sign", "--message=change"];
            self.git(&[&who[..], &commit[..]].concat()).await;
            self.git(&["rev-parse", "HEAD"]).await.trim().to_owned()
        }

        async fn git(&self, arguments: &[&str]) -> String {
            Command::new(&self.process_env(), "git")
                .arguments(arguments)
                .folder(self.0.path())
                .succeed()
                .await
                .unwrap()
        }

        fn process_env(&self) -> ProcessEnv {
            let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
            ProcessEnv {
                root: self.0.path().to_owned(),
                here: self.0.path().to_owned(),
                variables: [path].into(),
            }
        }

        async fn inputs(&self) -> Inputs {
            let checkout = Checkout::new(&self.process_env());
            let catalog = catalog();
            let entry = catalog.entry(AXON.into()).unwrap();
            let inputs = checkout.inputs(std::iter::once(entry)).await.unwrap();
            inputs[&AXON.into()].clone()
        }

        async fn revision(&self) -> Option<String> {
            self.inputs().await.labels.map(|labels| labels.revision)
        }
    }

    #[tokio::test]
    async fn labels_are_those_of_the_last_commit_that_changed_the_inputs() {
        let folder = Folder::committed().await;
        folder.write("services/kit/src/lib.rs", "// more");
        let touched = folder.commit().await;
        folder.write("README.md", "words");
        folder.write("services/orbit/src/main.rs", "fn main() {}");
        let head = folder.commit().await;
        assert_ne!(touched, head);
        assert_eq!(folder.revision().await, Some(touched));
        let labels = folder.inputs().await.labels.unwrap();
        assert!(
            labels.created.parse::<jiff::Timestamp>().is_ok(),
            "{labels:?}"
        );

        let commit = Checkout::new(&folder.process_env()).commit().await.unwrap();
        assert_eq!(
            commit,
            Some(Commit {
                id: head,
                dirty: false
            })
        );
    }

    #[tokio::test]
    async fn inputs_with_uncommitted_changes_have_no_labels() {
        let folder = Folder::committed().await;
        folder.write("README.md", "words");
        folder.write("services/axon/src/.main.rs.swp", "an editor's");
        assert!(folder.revision().await.is_some());
        assert_eq!(folder.inputs().await.files.len(), 5);

        folder.write("services/axon/src/new.rs", "");
        assert_eq!(folder.revision().await, None, "an untracked file");
        folder.write(".gitignore", "target\nnew.rs\n");
        assert_eq!(folder.revision().await, None, "an ignored file");
        folder.write("services/axon/src/main.rs", "fn main() { }");
        assert_eq!(folder.revision().await, None, "a changed file");

        let commit = Checkout::new(&folder.process_env()).commit().await.unwrap();
        assert!(commit.unwrap().dirty);
    }

    /// Read together, each component has labels by its own inputs.
    #[tokio::test]
    async fn a_change_of_one_component_leaves_the_labels_of_others() {
        let folder = Folder::committed().await;
        folder.write("services/orbit/Cargo.toml", "");
        folder.write("services/orbit/src/main.rs", "fn main() {}");
        folder.write("services/governance/Cargo.toml", "");
        let second = folder.commit().await;
        folder.write("services/governance/src/main.rs", "fn main() {}");
        let checkout = Checkout::new(&folder.process_env());
        let catalog = catalog();
        let inputs = checkout.inputs(catalog.entries().iter()).await.unwrap();
        let revision = |component: Component| {
            let labels = inputs[&component].labels.as_ref();
            labels.map(|labels| labels.revision.clone())
        };
        assert_eq!(revision(GOVERNANCE.into()), None);
        assert_eq!(revision(ORBIT.into()), Some(second));
        assert_eq!(revision(AXON.into()), folder.revision().await);
        assert_ne!(revision(AXON.into()), revision(ORBIT.into()));
        let files = &inputs[&ORBIT.into()].files;
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        let expected = [
            "Cargo.toml",
            "services/orbit/Cargo.toml",
            "services/orbit/src/main.rs",
        ];
        assert_eq!(names, expected);
    }

    /// What git found for a commit is used for that commit only, and only while the inputs are as
    /// it has them.
    #[tokio::test]
    async fn labels_are_kept_for_the_commit_that_is_checked_out() {
        let folder = Folder::committed().await;
        let first = folder.revision().await.unwrap();
        let file = "target/xtask/labels.json";
        let kept = folder.read(file);
        let revision = format!("\"revision\":\"{first}\"");
        assert!(kept.contains(&revision), "{kept}");
        folder.write(file, &kept.replace(&revision, "\"revision\":\"kept\""));
        assert_eq!(folder.revision().await.as_deref(), Some("kept"));
        folder.write("services/axon/src/main.rs", "fn main() { }");
        assert_eq!(folder.revision().await, None);
        let second = folder.commit().await;
        assert_eq!(folder.revision().await, Some(second));
        folder.write(file, "half of");
        assert!(folder.revision().await.is_some());
    }

    #[tokio::test]
    async fn the_oldest_commit_of_a_shallow_clone_is_ignored() {
        let folder = Folder::committed().await;
        folder.write("README.md", "words");
        folder.commit().await;
        let shallow = Folder::new();
        let from = format!("file://{}", folder.0.path().display());
        let to = shallow.0.path().display().to_string();
        folder
            .git(&["clone", "--quiet", "--depth=1", &from, &to])
            .await;
        assert_eq!(shallow.inputs().await.files, folder.inputs().await.files);
        assert_eq!(shallow.revision().await, None);
        assert!(folder.revision().await.is_some());
    }

    #[tokio::test]
    async fn a_folder_without_git_has_inputs_but_no_commit() {
        let folder = Folder::new();
        folder.with_manifests();
        folder.write("services/axon/src/main.rs", "fn main() {}");
        assert_eq!(folder.inputs().await.files.len(), 4);
        assert_eq!(folder.revision().await, None);
        let checkout = Checkout::new(&folder.process_env());
        assert_eq!(checkout.commit().await.unwrap(), None);
        let error = checkout.read("missing.json").await.unwrap_err();
        assert!(error.to_string().contains("read missing.json"), "{error}");
    }

    #[tokio::test]
    async fn only_sources_change_the_key() {
        let folder = Folder::committed().await;
        let key = async || Key::of(AXON.into(), &folder.inputs().await, X86);
        let first = key().await;
        folder.write("services/axon/README.md", "words");
        folder.write("services/axon/tests/http.rs", "#[test] fn one() {}");
        folder.write("services/orbit/src/main.rs", "fn main() {}");
        assert_eq!(key().await, first);
        folder.write("services/kit/src/lib.rs", "// more");
        assert_ne!(key().await, first);
    }
}
