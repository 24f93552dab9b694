//! The artifacts that this machine keeps, by component and key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::catalog::Component;
use crate::decide::artifact::archive::Packed;
use crate::decide::artifact::image::{Artifact, Digest, Key};
use crate::decide::artifact::referrer::{DOCUMENTS, Document};

/// How many artifacts of a component are kept.
const KEPT: usize = 5;

pub(super) struct Shelf {
    folder: PathBuf,
}

/// What is written next to an artifact, and last: without it the artifact is not there.
#[derive(Serialize, Deserialize)]
struct Note {
    digest: Digest,
    packed_bytes: u64,
    unpacked_bytes: u64,
    /// Of the archive and the documents about it.
    content: Digest,
}

impl Note {
    fn artifact(self, component: Component, key: &Key, file: PathBuf) -> Artifact {
        Artifact {
            component,
            key: key.clone(),
            digest: self.digest,
            file,
            packed_bytes: self.packed_bytes,
            unpacked_bytes: self.unpacked_bytes,
        }
    }
}

impl Shelf {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An artifact that is there and whole, with the documents about it.
    pub(super) async fn find(&self, component: Component, key: &Key) -> Option<Artifact> {
        let file = self.file(component, key);
        let note: Note = serde_json::from_slice(&fs::read(note_of(&file)).await.ok()?).ok()?;
        let mut bytes = Vec::new();
        for part in parts(&file) {
            bytes.extend(fs::read(part).await.ok()?);
        }
        (Digest::of(&bytes) == note.content).then(|| note.artifact(component, key, file))
    }

    /// Why an artifact is not to be found.
    pub(super) async fn fault(&self, component: Component, key: &Key) -> String {
        let folder = self.folder.display();
        if fs::metadata(note_of(&self.file(component, key)))
            .await
            .is_ok()
        {
            return format!("the bytes of {component} in {folder} are not those that were packed");
        }
        format!("{folder} has no {component} that was built of this checkout as it is")
    }

    /// Copies an artifact that is here to another folder, which is a shelf like this one then.
    pub(super) async fn copy(&self, artifact: &Artifact, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)
            .await
            .with_context(|| format!("create {}", folder.display()))?;
        let note = note_of(&artifact.file);
        for file in parts(&artifact.file).into_iter().chain([note]) {
            let bytes = fs::read(&file).await;
            let bytes = bytes.with_context(|| format!("read {}", file.display()))?;
            let name = file.file_name().context("an artifact has a name")?;
            write_whole(&folder.join(name), &bytes).await?;
        }
        Ok(())
    }

    /// Writes an artifact so that it is there as a whole or not at all.
    pub(super) async fn keep(
        &self,
        component: Component,
        key: &Key,
        packed: Packed,
        unpacked_bytes: u64,
        documents: &[(Document, Vec<u8>)],
    ) -> Result<Artifact> {
        let mut content = vec![packed.bytes.as_slice()];
        content.extend(documents.iter().map(|(_, bytes)| bytes.as_slice()));
        let note = Note {
            content: Digest::of(&content.concat()),
            digest: packed.digest,
            packed_bytes: packed.packed_bytes,
            unpacked_bytes,
        };
        fs::create_dir_all(&self.folder)
            .await
            .with_context(|| format!("create {}", self.folder.display()))?;
        let file = self.file(component, key);
        write_whole(&file, &packed.bytes).await?;
        for (document, bytes) in documents {
            write_whole(&file.with_extension(document.ending()), bytes).await?;
        }
        write_whole(&note_of(&file), &serde_json::to_vec(&note)?).await?;
        self.remove_old(component)
            .await
            .with_context(|| format!("tidy up {}", self.folder.display()))?;
        Ok(note.artifact(component, key, file))
    }

    /// Removes all but the newest few artifacts of a component, and whatever belongs to them.
    async fn remove_old(&self, component: Component) -> Result<()> {
        let mut newest: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut files = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (stem, _) = name.split_once('.').unwrap_or((&name, ""));
            if stem.starts_with(&format!("{component}-")) {
                let modified = entry.metadata().await?.modified()?;
                let known = newest.entry(stem.to_owned()).or_insert(modified);
                *known = modified.max(*known);
                files.push((stem.to_owned(), entry.path()));
            }
        }
        let mut by_age: Vec<_> = newest
            .iter()
            .map(|(stem, modified)| (modified, stem))
            .collect();
        by_age.sort();
        let kept: BTreeSet<&String> = by_age
            .into_iter()
            .rev()
            .take(KEPT)
            .map(|(_, stem)| stem)
            .collect();
        for (stem, path) in &files {
            if !kept.contains(stem) {
                fs::remove_file(path).await?;
            }
        }
        Ok(())
    }

    fn file(&self, component: Component, key: &Key) -> PathBuf {
        let ending = if component.service().is_some() {
            "tar"
        } else {
            "zip"
        };
        self.folder.join(format!("{component}-{key}.{ending}"))
    }
}

/// The archive, and the documents that lie beside it.
fn parts(file: &Path) -> Vec<PathBuf> {
    let documents = DOCUMENTS.map(|document| file.with_extension(document.ending()));
    [vec![file.to_owned()], documents.to_vec()].concat()
}

fn note_of(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Nobody ever sees a half-written file under this name.
async fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let written = async {
        fs::write(&unfinished, bytes).await?;
        fs::rename(&unfinished, path).await
    };
    let written = written.await;
    if written.is_err() {
        // On a disk that is full it would be in the way of its own next try.
        drop(fs::remove_file(&unfinished).await);
    }
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Service;
    use crate::decide::artifact::archive::pack_image;
    use crate::decide::outputs::Architecture;

    struct Folder(PathBuf);

    impl Drop for Folder {
        #[expect(clippy::disallowed_methods, reason = "a test cleans up after itself")]
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn shelf(name: &str) -> (Folder, Shelf) {
        let folder = std::env::temp_dir().join(format!("shelf-{name}-{}", std::process::id()));
        (Folder(folder.clone()), Shelf::new(folder))
    }

    async fn keep(shelf: &Shelf, key: &Key) -> Artifact {
        let packed = pack_image("axon", Architecture::X86, key.0.as_bytes(), None).unwrap();
        let documents = DOCUMENTS.map(|document| (document, b"{}".to_vec()));
        let kept = shelf.keep(
            Component::Service(Service::Axon),
            key,
            packed,
            64,
            &documents,
        );
        kept.await.unwrap()
    }

    /// Changes one bit of a file.
    async fn damage(file: &Path) {
        let mut bytes = fs::read(file).await.unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, &bytes).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_is_damaged_is_not() {
        let (_folder, shelf) = shelf("kept");
        let key = Key("1".repeat(64));
        assert_eq!(
            shelf.find(Component::Service(Service::Axon), &key).await,
            None
        );

        let kept = keep(&shelf, &key).await;
        assert_eq!(
            shelf
                .find(Component::Service(Service::Axon), &key)
                .await
                .as_ref(),
            Some(&kept)
        );
        assert_eq!(
            shelf.find(Component::Service(Service::Orbit), &key).await,
            None
        );

        for part in parts(&kept.file) {
            keep(&shelf, &key).await;
            damage(&part).await;
            assert_eq!(
                shelf.find(Component::Service(Service::Axon), &key).await,
                None
            );
        }
        for part in [note_of(&kept.file), kept.document(Document::Bill)] {
            keep(&shelf, &key).await;
            fs::remove_file(part).await.unwrap();
            assert_eq!(
                shelf.find(Component::Service(Service::Axon), &key).await,
                None
            );
        }
    }

    #[tokio::test]
    async fn a_copy_is_a_shelf_and_says_what_it_lacks() {
        let (_folder, shelf) = shelf("original");
        let key = Key("1".repeat(64));
        let kept = keep(&shelf, &key).await;
        let copy = Shelf::new(shelf.folder.join("copy"));
        shelf.copy(&kept, &copy.folder).await.unwrap();
        let copied = copy
            .find(Component::Service(Service::Axon), &key)
            .await
            .unwrap();
        assert_eq!(copied.digest, kept.digest);
        assert!(copied.file.starts_with(&copy.folder), "{copied:?}");

        damage(&copied.file).await;
        assert_eq!(
            copy.find(Component::Service(Service::Axon), &key).await,
            None
        );
        let fault = copy.fault(Component::Service(Service::Axon), &key).await;
        assert!(fault.contains("the bytes of axon in"), "{fault}");
        let fault = copy
            .fault(Component::Service(Service::Axon), &Key("2".repeat(64)))
            .await;
        assert!(fault.contains("has no axon that was built of"), "{fault}");
    }

    #[tokio::test]
    async fn what_cannot_be_kept_leaves_nothing() {
        let (_folder, shelf) = shelf("whole");
        let taken = shelf.folder.join("taken");
        fs::create_dir_all(taken.join("by a folder")).await.unwrap();
        write_whole(&taken, b"anything").await.unwrap_err();
        let mut files = fs::read_dir(&shelf.folder).await.unwrap();
        assert_eq!(files.next_entry().await.unwrap().unwrap().path(), taken);
        assert!(files.next_entry().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_the_newest_few_artifacts_are_kept() {
        let (_folder, shelf) = shelf("few");
        for index in 0..KEPT + 2 {
            keep(&shelf, &Key(index.to_string().repeat(64))).await;
        }
        let mut files = fs::read_dir(&shelf.folder).await.unwrap();
        let mut count = 0;
        while files.next_entry().await.unwrap().is_some() {
            count += 1;
        }
        // The archive, the two documents about it and the note.
        assert_eq!(count, 4 * KEPT);
        let newest = Key((KEPT + 1).to_string().repeat(64));
        assert!(
            shelf
                .find(Component::Service(Service::Axon), &newest)
                .await
                .is_some()
        );
    }
}
