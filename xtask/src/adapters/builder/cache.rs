//! The artifact cache of this machine, by component and key. A bundle is a copy of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::catalog::Component;
use crate::decide::artifact::archive::PackedArtifact;
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::referrer::{IMAGE_DOCUMENTS, ImageDocument};
use crate::decide::artifact::types::{Digest, Key};

/// The number of artifacts that are kept of a component.
const KEPT: usize = 5;

pub(super) struct ArtifactCache {
    folder: PathBuf,
}

/// The metadata of an artifact, written last. Without it the artifact does not count as cached.
#[derive(Serialize, Deserialize)]
struct CacheEntry {
    digest: Digest,
    packed_bytes: u64,
    unpacked_bytes: u64,
    /// The digest of the archive and its documents.
    content: Digest,
}

impl CacheEntry {
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

impl ArtifactCache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An artifact that is cached with its documents, all undamaged.
    pub(super) async fn find(&self, component: Component, key: &Key) -> Option<Artifact> {
        let file = self.file(component, key);
        let entry: CacheEntry =
            serde_json::from_slice(&fs::read(entry_of(&file)).await.ok()?).ok()?;
        let mut bytes = Vec::new();
        for part in parts(&file) {
            bytes.extend(fs::read(part).await.ok()?);
        }
        (Digest::of(&bytes) == entry.content).then(|| entry.artifact(component, key, file))
    }

    /// The reason why an artifact is not found.
    pub(super) async fn fault(&self, component: Component, key: &Key) -> String {
        let folder = self.folder.display();
        if fs::metadata(entry_of(&self.file(component, key)))
            .await
            .is_ok()
        {
            return format!("{component} in {folder} is damaged");
        }
        format!("{folder} has no {component} that was built from this checkout as it is")
    }

    /// Copies an artifact to another folder, which is then a cache as well.
    pub(super) async fn copy(&self, artifact: &Artifact, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)
            .await
            .with_context(|| format!("create {}", folder.display()))?;
        let entry = entry_of(&artifact.file);
        for file in parts(&artifact.file).into_iter().chain([entry]) {
            let bytes = fs::read(&file).await;
            let bytes = bytes.with_context(|| format!("read {}", file.display()))?;
            let name = file.file_name().context("an artifact has a name")?;
            write_atomically(&folder.join(name), &bytes).await?;
        }
        Ok(())
    }

    /// Adds an artifact, completely or not at all.
    pub(super) async fn keep(
        &self,
        component: Component,
        key: &Key,
        packed: PackedArtifact,
        unpacked_bytes: u64,
        documents: &[(ImageDocument, Vec<u8>)],
    ) -> Result<Artifact> {
        let mut content = vec![packed.bytes.as_slice()];
        content.extend(documents.iter().map(|(_, bytes)| bytes.as_slice()));
        let entry = CacheEntry {
            content: Digest::of(&content.concat()),
            digest: packed.digest,
            packed_bytes: packed.packed_bytes,
            unpacked_bytes,
        };
        fs::create_dir_all(&self.folder)
            .await
            .with_context(|| format!("create {}", self.folder.display()))?;
        let file = self.file(component, key);
        write_atomically(&file, &packed.bytes).await?;
        for (document, bytes) in documents {
            write_atomically(&file.with_extension(document.extension()), bytes).await?;
        }
        write_atomically(&entry_of(&file), &serde_json::to_vec(&entry)?).await?;
        self.remove_old(component)
            .await
            .with_context(|| format!("remove old artifacts of {}", self.folder.display()))?;
        Ok(entry.artifact(component, key, file))
    }

    /// Removes all but the newest artifacts of a component, with their documents.
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

/// The archive and its documents.
fn parts(file: &Path) -> Vec<PathBuf> {
    let documents = IMAGE_DOCUMENTS.map(|document| file.with_extension(document.extension()));
    [vec![file.to_owned()], documents.to_vec()].concat()
}

fn entry_of(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Writes a file atomically: to a temporary file, which is then renamed.
async fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let written = async {
        fs::write(&temporary, bytes).await?;
        fs::rename(&temporary, path).await
    };
    let written = written.await;
    if written.is_err() {
        // Frees the space on a full disk.
        drop(fs::remove_file(&temporary).await);
    }
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    use crate::catalog::testing::{AXON, ORBIT};
    use crate::decide::artifact::archive::pack_image;
    use crate::decide::outputs::Architecture;

    fn cache() -> (TempDir, ArtifactCache) {
        let folder = TempDir::new().unwrap();
        let cache = ArtifactCache::new(folder.path().to_owned());
        (folder, cache)
    }

    async fn keep(cache: &ArtifactCache, key: &Key) -> Artifact {
        let packed = pack_image("axon", Architecture::X86, key.0.as_bytes(), None).unwrap();
        let documents = IMAGE_DOCUMENTS.map(|document| (document, b"{}".to_vec()));
        let kept = cache.keep(Component::Service(AXON), key, packed, 64, &documents);
        kept.await.unwrap()
    }

    /// Changes one bit of a file.
    async fn damage(file: &Path) {
        let mut bytes = fs::read(file).await.unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, &bytes).await.unwrap();
    }

    #[tokio::test]
    async fn a_cached_artifact_is_found_unless_it_is_damaged() {
        let (_folder, cache) = cache();
        let key = Key("1".repeat(64));
        assert_eq!(cache.find(Component::Service(AXON), &key).await, None);

        let kept = keep(&cache, &key).await;
        assert_eq!(
            cache.find(Component::Service(AXON), &key).await.as_ref(),
            Some(&kept)
        );
        assert_eq!(cache.find(Component::Service(ORBIT), &key).await, None);

        for part in parts(&kept.file) {
            keep(&cache, &key).await;
            damage(&part).await;
            assert_eq!(cache.find(Component::Service(AXON), &key).await, None);
        }
        for part in [entry_of(&kept.file), kept.document(ImageDocument::Sbom)] {
            keep(&cache, &key).await;
            fs::remove_file(part).await.unwrap();
            assert_eq!(cache.find(Component::Service(AXON), &key).await, None);
        }
    }

    #[tokio::test]
    async fn a_copy_is_a_shelf_and_says_what_it_lacks() {
        let (_folder, cache) = cache();
        let key = Key("1".repeat(64));
        let kept = keep(&cache, &key).await;
        let copy = ArtifactCache::new(cache.folder.join("copy"));
        cache.copy(&kept, &copy.folder).await.unwrap();
        let copied = copy.find(Component::Service(AXON), &key).await.unwrap();
        assert_eq!(copied.digest, kept.digest);
        assert!(copied.file.starts_with(&copy.folder), "{copied:?}");

        damage(&copied.file).await;
        assert_eq!(copy.find(Component::Service(AXON), &key).await, None);
        let fault = copy.fault(Component::Service(AXON), &key).await;
        assert!(fault.contains("is damaged"), "{fault}");
        let fault = copy
            .fault(Component::Service(AXON), &Key("2".repeat(64)))
            .await;
        assert!(fault.contains("has no axon that was built from"), "{fault}");
    }

    #[tokio::test]
    async fn a_failed_write_leaves_no_file() {
        let (_folder, cache) = cache();
        let taken = cache.folder.join("taken");
        fs::create_dir_all(taken.join("by a folder")).await.unwrap();
        write_atomically(&taken, b"anything").await.unwrap_err();
        let mut files = fs::read_dir(&cache.folder).await.unwrap();
        assert_eq!(files.next_entry().await.unwrap().unwrap().path(), taken);
        assert!(files.next_entry().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_the_newest_artifacts_are_kept() {
        let (_folder, cache) = cache();
        for index in 0..KEPT + 2 {
            keep(&cache, &Key(index.to_string().repeat(64))).await;
        }
        let mut files = fs::read_dir(&cache.folder).await.unwrap();
        let mut count = 0;
        while files.next_entry().await.unwrap().is_some() {
            count += 1;
        }
        // The archive, its two documents and the entry.
        assert_eq!(count, 4 * KEPT);
        let newest = Key((KEPT + 1).to_string().repeat(64));
        assert!(
            cache
                .find(Component::Service(AXON), &newest)
                .await
                .is_some()
        );
    }
}
