//! The artefacts that this machine keeps, by thing and key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::catalog::Thing;
use crate::decide::archive::Packed;
use crate::decide::image::{Artefact, Digest, Key};
use crate::decide::referrer::{DOCUMENTS, Document};

/// How many artefacts of a thing are kept.
const KEPT: usize = 5;

pub(super) struct Shelf {
    folder: PathBuf,
}

/// What is written next to an artefact, and last: without it the artefact is not there.
#[derive(Serialize, Deserialize)]
struct Note {
    digest: Digest,
    packed_bytes: u64,
    unpacked_bytes: u64,
    /// Of the whole file.
    content: Digest,
}

impl Note {
    fn artefact(self, thing: Thing, key: &Key, file: PathBuf) -> Artefact {
        Artefact {
            thing,
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

    /// An artefact that is there and whole, with the documents about it.
    pub(super) async fn find(&self, thing: Thing, key: &Key) -> Option<Artefact> {
        let file = self.file(thing, key);
        let (note, bytes) = tokio::try_join!(fs::read(note_of(&file)), fs::read(&file)).ok()?;
        let note: Note = serde_json::from_slice(&note).ok()?;
        if Digest::of(&bytes) != note.content {
            return None;
        }
        let artefact = note.artefact(thing, key, file);
        for document in DOCUMENTS {
            fs::metadata(artefact.document(document)).await.ok()?;
        }
        Some(artefact)
    }

    /// Writes an artefact so that it is there as a whole or not at all.
    pub(super) async fn keep(
        &self,
        thing: Thing,
        key: &Key,
        packed: Packed,
        unpacked_bytes: u64,
        documents: &[(Document, Vec<u8>)],
    ) -> Result<Artefact> {
        let note = Note {
            content: Digest::of(&packed.bytes),
            digest: packed.digest,
            packed_bytes: packed.packed_bytes,
            unpacked_bytes,
        };
        fs::create_dir_all(&self.folder)
            .await
            .with_context(|| format!("create {}", self.folder.display()))?;
        let file = self.file(thing, key);
        write_whole(&file, &packed.bytes).await?;
        for (document, bytes) in documents {
            write_whole(&file.with_extension(document.ending()), bytes).await?;
        }
        write_whole(&note_of(&file), &serde_json::to_vec(&note)?).await?;
        self.remove_old(thing)
            .await
            .with_context(|| format!("tidy up {}", self.folder.display()))?;
        Ok(note.artefact(thing, key, file))
    }

    /// Removes all but the newest few artefacts of a thing, and whatever belongs to them.
    async fn remove_old(&self, thing: Thing) -> Result<()> {
        let mut newest: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut files = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (stem, _) = name.split_once('.').unwrap_or((&name, ""));
            if stem.starts_with(&format!("{thing}-")) {
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

    fn file(&self, thing: Thing, key: &Key) -> PathBuf {
        let ending = if thing.is_service() { "tar" } else { "zip" };
        self.folder.join(format!("{thing}-{key}.{ending}"))
    }
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
    use crate::decide::archive::pack_image;
    use crate::decide::site::Architecture;

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

    async fn keep(shelf: &Shelf, key: &Key) -> Artefact {
        let packed = pack_image("axon", Architecture::X86, key.0.as_bytes(), None).unwrap();
        let documents = DOCUMENTS.map(|document| (document, b"{}".to_vec()));
        let kept = shelf.keep(Thing::Axon, key, packed, 64, &documents);
        kept.await.unwrap()
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_is_damaged_is_not() {
        let (_folder, shelf) = shelf("kept");
        let key = Key("1".repeat(64));
        assert_eq!(shelf.find(Thing::Axon, &key).await, None);

        let kept = keep(&shelf, &key).await;
        assert_eq!(shelf.find(Thing::Axon, &key).await.as_ref(), Some(&kept));
        assert_eq!(shelf.find(Thing::Orbit, &key).await, None);

        let mut bytes = fs::read(&kept.file).await.unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&kept.file, &bytes).await.unwrap();
        assert_eq!(shelf.find(Thing::Axon, &key).await, None);

        for part in [note_of(&kept.file), kept.document(Document::Bill)] {
            keep(&shelf, &key).await;
            fs::remove_file(part).await.unwrap();
            assert_eq!(shelf.find(Thing::Axon, &key).await, None);
        }
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
    async fn only_the_newest_few_artefacts_are_kept() {
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
        assert!(shelf.find(Thing::Axon, &newest).await.is_some());
    }
}
