//! The checkout: its files, and what git knows about them. No git, or a folder that is no
//! checkout of it, is nothing that fails: there is no commit to tell then.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::adapters::process::Command;
use crate::catalog::Component;
use crate::decide::artifact::image::{Inputs, Labels, input_paths, is_hidden};
use crate::decide::definition::hex;
use crate::decide::machine::byte_order_mark::without_mark;
use crate::ports::{Commit, ProcessEnv, Source};

#[derive(Debug, Clone)]
pub struct Checkout {
    process_env: ProcessEnv,
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
        for (path, bytes) in files.into_iter().filter(|(path, _)| is_source(path)) {
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
    pub fn new(process_env: &ProcessEnv) -> Self {
        Self {
            process_env: process_env.clone(),
        }
    }

    /// All that decides the bytes of a component, as it lies in the checkout now.
    pub async fn inputs(&self, component: Component) -> Result<Inputs> {
        let paths = input_paths(component);
        let mut files = BTreeMap::new();
        for path in &paths {
            read_files(&self.process_env.root, path, &mut files)
                .with_context(|| format!("read {path}, of which {component} is built"))?;
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
        let finished = Command::new(&self.process_env, "git")
            .arguments(["-c", "log.showSignature=false"])
            .arguments(arguments)
            .variable("GIT_OPTIONAL_LOCKS", "0") // looking must not get in the way of a commit
            .folder(&self.process_env.root)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::catalog::Service;
    use crate::decide::artifact::compilation::testing::X86;
    use crate::decide::artifact::image::Key;

    /// A checkout of its own in a folder that goes away.
    struct Folder(PathBuf);

    impl Drop for Folder {
        #[expect(clippy::disallowed_methods, reason = "a test cleans up after itself")]
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = format!("checkout-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(folder))
        }

        /// With one commit of all that axon is built from.
        async fn committed(name: &str) -> Self {
            let folder = Self::new(name);
            folder.write("Cargo.toml", "[workspace]");
            folder.write("services/axon/src/main.rs", "fn main() {}");
            folder.write("services/kit/src/lib.rs", "");
            folder.git(&["init", "--quiet"]).await;
            folder.commit().await;
            folder
        }

        #[expect(clippy::disallowed_methods, reason = "a test writes its own checkout")]
        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
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
                .folder(&self.0)
                .succeed()
                .await
                .unwrap()
        }

        fn process_env(&self) -> ProcessEnv {
            let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
            ProcessEnv {
                root: self.0.clone(),
                here: self.0.clone(),
                variables: [path].into(),
            }
        }

        async fn inputs(&self) -> Inputs {
            let checkout = Checkout::new(&self.process_env());
            checkout
                .inputs(Component::Service(Service::Axon))
                .await
                .unwrap()
        }

        async fn revision(&self) -> Option<String> {
            self.inputs().await.labels.map(|labels| labels.revision)
        }
    }

    #[tokio::test]
    async fn labels_are_those_of_the_last_commit_that_touched_the_inputs() {
        let folder = Folder::committed("labels").await;
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
    async fn inputs_with_changes_on_top_of_their_commit_have_no_labels() {
        let folder = Folder::committed("dirty").await;
        folder.write("README.md", "words");
        folder.write("services/axon/src/.main.rs.swp", "an editor's");
        assert!(folder.revision().await.is_some());
        assert_eq!(folder.inputs().await.files.len(), 3);

        folder.write("services/axon/src/new.rs", "");
        assert_eq!(folder.revision().await, None, "an untracked file");
        folder.write(".gitignore", "new.rs");
        assert_eq!(folder.revision().await, None, "an ignored file");
        folder.write("services/axon/src/main.rs", "fn main() { }");
        assert_eq!(folder.revision().await, None, "a changed file");

        let commit = Checkout::new(&folder.process_env()).commit().await.unwrap();
        assert!(commit.unwrap().dirty);
    }

    #[tokio::test]
    async fn the_end_of_a_shallow_clone_is_no_commit_that_touched_anything() {
        let folder = Folder::committed("deep").await;
        folder.write("README.md", "words");
        folder.commit().await;
        let shallow = Folder::new("shallow");
        let from = format!("file://{}", folder.0.display());
        let to = shallow.0.display().to_string();
        folder
            .git(&["clone", "--quiet", "--depth=1", &from, &to])
            .await;
        assert_eq!(shallow.inputs().await.files, folder.inputs().await.files);
        assert_eq!(shallow.revision().await, None);
        assert!(folder.revision().await.is_some());
    }

    #[tokio::test]
    async fn a_folder_without_git_has_inputs_all_the_same() {
        let folder = Folder::new("bare");
        folder.write("services/axon/src/main.rs", "fn main() {}");
        assert_eq!(folder.inputs().await.files.len(), 1);
        assert_eq!(folder.revision().await, None);
        let checkout = Checkout::new(&folder.process_env());
        assert_eq!(checkout.commit().await.unwrap(), None);
        let error = checkout.read("missing.json").await.unwrap_err();
        assert!(error.to_string().contains("read missing.json"), "{error}");
    }

    #[tokio::test]
    async fn the_key_follows_the_sources_and_not_what_lies_beside_them() {
        let folder = Folder::committed("key").await;
        let key = async || {
            Key::of(
                Component::Service(Service::Axon),
                &folder.inputs().await,
                X86,
            )
        };
        let first = key().await;
        folder.write("services/axon/README.md", "words");
        folder.write("services/axon/tests/http.rs", "#[test] fn one() {}");
        folder.write("services/orbit/src/main.rs", "fn main() {}");
        assert_eq!(key().await, first);
        folder.write("services/kit/src/lib.rs", "// more");
        assert_ne!(key().await, first);
    }
}
