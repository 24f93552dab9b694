//! The checkout: its files, and what git knows about them. No git, or a folder that is no
//! checkout of it, is nothing that fails: there is no commit to tell then.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::adapters::process::Command;
use crate::catalog::Thing;
use crate::decide::definition::hex;
use crate::decide::image::{Inputs, Labels, input_paths, is_hidden};
use crate::world::{Commit, Source, Surroundings};

#[derive(Debug, Clone)]
pub struct Checkout {
    surroundings: Surroundings,
}

#[async_trait]
impl Source for Checkout {
    async fn read(&self, path: &str) -> Result<String> {
        tokio::fs::read_to_string(self.surroundings.root.join(path))
            .await
            .with_context(|| format!("read {path}"))
    }

    async fn services_sha256(&self) -> Result<String> {
        let mut files = BTreeMap::new();
        read_files(&self.surroundings.root, "services", &mut files).context("read services/")?;
        let mut hash = Sha256::new();
        for (path, bytes) in files {
            hash.update(format!("{path}\0{}\0", bytes.len()));
            hash.update(bytes);
        }
        Ok(hex(&hash.finalize()))
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

impl Checkout {
    pub fn new(surroundings: &Surroundings) -> Self {
        Self {
            surroundings: surroundings.clone(),
        }
    }

    /// All that decides the bytes of a thing, as it lies in the checkout now.
    pub async fn inputs(&self, thing: Thing) -> Result<Inputs> {
        let paths = input_paths(thing);
        let mut files = BTreeMap::new();
        for path in &paths {
            read_files(&self.surroundings.root, path, &mut files)
                .with_context(|| format!("read {path}, of which {thing} is built"))?;
        }
        Ok(Inputs {
            files,
            labels: self.labels(&paths).await,
        })
    }

    /// The last commit that touched these paths, if what lies there is what it made of them.
    async fn labels(&self, paths: &[String]) -> Option<Labels> {
        let status = ["status", "--porcelain", "-z", "--no-renames", "--ignored"]
            .into_iter()
            .chain(["--untracked-files=all", "--"])
            .chain(paths.iter().map(String::as_str));
        let log = ["log", "-1", "--format=%H %cI %P", "--"]
            .into_iter()
            .chain(paths.iter().map(String::as_str));
        let (status, log) = tokio::join!(self.git(status), self.git(log));
        // An entry is two letters, a blank and a path.
        let changed = |entry: &str| entry.get(3..).is_some_and(|path| !is_hidden(path));
        if status?.split('\0').any(changed) {
            return None;
        }
        let log = log?;
        let mut fields = log.split_whitespace();
        let labels = Labels {
            revision: fields.next()?.to_owned(),
            created: fields.next()?.to_owned(),
        };
        let has_parent = fields.next().is_some();
        // The oldest commit of a shallow clone has no parent here and seems to have made every
        // file, whichever commits did.
        (has_parent || !self.is_shallow().await?).then_some(labels)
    }

    async fn is_shallow(&self) -> Option<bool> {
        let answer = self.git(["rev-parse", "--is-shallow-repository"]).await?;
        Some(answer.trim() == "true")
    }

    /// What git says on stdout; nothing where it fails or is not there.
    async fn git<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let finished = Command::new(&self.surroundings, "git")
            .arguments(["-c", "log.showSignature=false"])
            .arguments(arguments)
            .variable("GIT_OPTIONAL_LOCKS", "0") // looking must not get in the way of a commit
            .folder(&self.surroundings.root)
            .without_stderr()
            .run()
            .await
            .inspect_err(|error| tracing::debug!(%error, "no git"))
            .ok()?;
        finished.succeeded().then_some(finished.output)
    }
}

/// Reads a file, or all files below a folder; what does not exist is left out.
fn read_files(root: &Path, path: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
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
        #[expect(clippy::disallowed_methods, reason = "the files that a key is made of")]
        let bytes = std::fs::read(&full).with_context(|| format!("read {path}"))?;
        files.insert(path.to_owned(), bytes);
    }
    Ok(())
}
