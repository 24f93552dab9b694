//! Builds artefacts by cargo, and keeps what it built below `target/xtask/artefacts`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::time::Instant;

use crate::adapters::process::Command;
use crate::adapters::source::Checkout;
use crate::catalog::{ALL, Thing};
use crate::decide::archive::{Packed, pack_function, pack_image};
use crate::decide::compilation::{Folders, cargo_arguments, check_binary, rustflags};
use crate::decide::image::{Artefact, Digest, Inputs, Key, Labels};
use crate::decide::site::Architecture;
use crate::failure::{Failure, Kind};
use crate::report::{Report, megabytes};
use crate::world::{Builder, Surroundings};

/// Variables by which a user tells cargo where crates come from and how to reach them.
const CARGO_SETTINGS: [&str; 5] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

/// What cargo's lines of progress begin with; every other line is what somebody did wrong.
const PROGRESS: [&str; 8] = [
    "Blocking",
    "Compiling",
    "Downloaded",
    "Downloading",
    "Finished",
    "Fresh",
    "Locking",
    "Updating",
];

/// How many artefacts of a thing are kept.
const KEPT: usize = 5;

pub struct Cargo<'a> {
    surroundings: &'a Surroundings,
    checkout: Checkout,
    report: &'a Report,
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

/// Where an artefact lies, whether it is there or not.
struct Place {
    file: PathBuf,
}

impl Place {
    fn note(&self) -> PathBuf {
        self.file.with_extension("json")
    }
}

#[async_trait]
impl Builder for Cargo<'_> {
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Thing, Key>> {
        let inputs = self.inputs().await?;
        Ok(keys_of(&inputs, architecture))
    }

    async fn at_hand(&self, thing: Thing, key: &Key) -> Result<Option<Artefact>> {
        let place = self.place(thing, key);
        let (Ok(note), Ok(bytes)) = tokio::join!(fs::read(place.note()), fs::read(&place.file))
        else {
            return Ok(None);
        };
        let artefact = serde_json::from_slice(&note)
            .ok()
            .filter(|note: &Note| Digest::of(&bytes) == note.content)
            .map(|note| Artefact {
                thing,
                key: key.clone(),
                digest: note.digest,
                file: place.file,
                packed_bytes: note.packed_bytes,
                unpacked_bytes: note.unpacked_bytes,
            });
        Ok(artefact)
    }

    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Thing, Key>,
    ) -> Result<BTreeMap<Thing, Artefact>> {
        let started = Instant::now();
        self.compile(architecture).await?;
        let seconds = started.elapsed().as_secs();
        self.report
            .line("build", &format!("compiled in {seconds} s"));
        let inputs = self.inputs().await?;
        if keys_of(&inputs, architecture) != *keys {
            return Err(
                Failure::refused("the sources changed while they were compiled")
                    .hint("run the same command again")
                    .into(),
            );
        }
        let mut artefacts = BTreeMap::new();
        for (thing, key) in keys {
            let artefact = if let Some(artefact) = self.at_hand(*thing, key).await? {
                artefact
            } else {
                let labels = inputs.get(thing).and_then(|inputs| inputs.labels.clone());
                self.pack(*thing, key, architecture, labels).await?
            };
            artefacts.insert(*thing, artefact);
        }
        Ok(artefacts)
    }

    async fn bytes(&self, artefact: &Artefact) -> Result<Vec<u8>> {
        fs::read(&artefact.file)
            .await
            .with_context(|| format!("read {}", artefact.file.display()))
    }
}

impl<'a> Cargo<'a> {
    pub fn new(surroundings: &'a Surroundings, report: &'a Report) -> Self {
        Self {
            surroundings,
            checkout: Checkout::new(surroundings),
            report,
        }
    }

    async fn inputs(&self) -> Result<BTreeMap<Thing, Inputs>> {
        let inputs =
            ALL.map(|thing| async move { Ok((thing, self.checkout.inputs(thing).await?)) });
        futures_util::future::try_join_all(inputs)
            .await
            .map(BTreeMap::from_iter)
    }

    async fn compile(&self, architecture: Architecture) -> Result<()> {
        self.expect_target(architecture).await?;
        let target = self.target_folder();
        let flags = rustflags(Folders {
            root: &self.surroundings.root,
            cargo_home: &self.cargo_home(),
            target: &target,
        });
        let mut command = Command::new(self.surroundings, "cargo")
            .arguments(cargo_arguments(architecture))
            .folder(&self.surroundings.root)
            .variable("CARGO_ENCODED_RUSTFLAGS", flags)
            .variable("CARGO_TARGET_DIR", target.display().to_string())
            // Set by `cargo xtask` itself; rust-toolchain.toml, which is part of the key, decides.
            .without_variable("RUSTUP_TOOLCHAIN");
        for (name, value) in &self.surroundings.variables {
            if CARGO_SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
                command = command.variable(name, value);
            }
        }
        let finished = command
            .run_watched(|line| {
                if is_progress(line) {
                    self.report.live("build", line.trim());
                }
            })
            .await?;
        if finished.succeeded() {
            return Ok(());
        }
        let said: Vec<&str> = finished
            .output
            .lines()
            .filter(|line| !is_progress(line))
            .collect();
        self.report.block(&said.join("\n"));
        Err(
            Failure::new(Kind::Findings, "cargo cannot build the services")
                .hint("mend what cargo says above, then run the same command again")
                .into(),
        )
    }

    /// Compiling for another architecture needs its standard library.
    async fn expect_target(&self, architecture: Architecture) -> Result<()> {
        let target = architecture.target();
        let folder = Command::new(self.surroundings, "rustc")
            .arguments(["--print", "target-libdir", "--target", target])
            .folder(&self.surroundings.root)
            .without_variable("RUSTUP_TOOLCHAIN")
            .without_stderr()
            .succeed()
            .await?;
        if Path::new(folder.trim()).is_dir() {
            return Ok(());
        }
        Err(
            Failure::not_ready(format!("Rust on this machine cannot compile for {target}"))
                .hint(format!(
                    "run this on a Linux machine of that architecture, or, where a linker for it \
                     is installed:\nrustup target add {target}"
                ))
                .into(),
        )
    }

    async fn pack(
        &self,
        thing: Thing,
        key: &Key,
        architecture: Architecture,
        labels: Option<Labels>,
    ) -> Result<Artefact> {
        let path = self
            .target_folder()
            .join(architecture.target())
            .join("release")
            .join(thing.name());
        let binary = fs::read(&path)
            .await
            .with_context(|| format!("read {}", path.display()))?;
        check_binary(&binary, architecture).with_context(|| path.display().to_string())?;
        let unpacked_bytes = binary.len() as u64;
        let packed = tokio::task::spawn_blocking(move || {
            if thing.is_service() {
                pack_image(thing.name(), architecture, &binary, labels.as_ref())
            } else {
                pack_function(&binary)
            }
        })
        .await?
        .with_context(|| format!("pack {}", path.display()))?;
        let artefact = self.keep(thing, key, packed, unpacked_bytes).await?;
        self.report.line(
            thing.name(),
            &format!(
                "{} {} ({} unpacked)",
                if thing.is_service() { "image" } else { "zip" },
                megabytes(artefact.packed_bytes),
                megabytes(artefact.unpacked_bytes),
            ),
        );
        Ok(artefact)
    }

    /// Writes an artefact so that it is there as a whole or not at all.
    async fn keep(
        &self,
        thing: Thing,
        key: &Key,
        packed: Packed,
        unpacked_bytes: u64,
    ) -> Result<Artefact> {
        let place = self.place(thing, key);
        let note = Note {
            digest: packed.digest.clone(),
            packed_bytes: packed.packed_bytes,
            unpacked_bytes,
            content: Digest::of(&packed.bytes),
        };
        fs::create_dir_all(self.folder())
            .await
            .with_context(|| format!("create {}", self.folder().display()))?;
        write_whole(&place.file, &packed.bytes).await?;
        write_whole(&place.note(), &serde_json::to_vec(&note)?).await?;
        self.remove_old(thing).await?;
        Ok(Artefact {
            thing,
            key: key.clone(),
            digest: packed.digest,
            file: place.file,
            packed_bytes: packed.packed_bytes,
            unpacked_bytes,
        })
    }

    /// Removes all but the newest few artefacts of a thing, and whatever belongs to them.
    async fn remove_old(&self, thing: Thing) -> Result<()> {
        let mut newest: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut files = Vec::new();
        let mut entries = fs::read_dir(self.folder()).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((stem, _)) = name.split_once('.') else {
                continue;
            };
            if stem.starts_with(&format!("{}-", thing.name())) {
                let modified = entry.metadata().await?.modified()?;
                let known = newest.entry(stem.to_owned()).or_insert(modified);
                *known = modified.max(*known);
                files.push((stem.to_owned(), entry.path()));
            }
        }
        let mut by_age: Vec<(SystemTime, String)> = newest
            .into_iter()
            .map(|(stem, modified)| (modified, stem))
            .collect();
        by_age.sort();
        let kept: BTreeSet<String> = by_age
            .into_iter()
            .rev()
            .take(KEPT)
            .map(|(_, stem)| stem)
            .collect();
        for (stem, path) in files {
            if !kept.contains(&stem) {
                fs::remove_file(&path)
                    .await
                    .with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn place(&self, thing: Thing, key: &Key) -> Place {
        let ending = if thing.is_service() { "tar" } else { "zip" };
        Place {
            file: self.folder().join(format!("{thing}-{key}.{ending}")),
        }
    }

    fn folder(&self) -> PathBuf {
        self.surroundings.state_folder().join("artefacts")
    }

    /// The folder that xtask itself was built in: cargo compiles nothing twice then.
    fn target_folder(&self) -> PathBuf {
        let named = self.surroundings.variable("CARGO_TARGET_DIR");
        self.surroundings.root.join(named.unwrap_or("target"))
    }

    fn cargo_home(&self) -> PathBuf {
        let named = |name| self.surroundings.variable(name).map(PathBuf::from);
        named("CARGO_HOME").unwrap_or_else(|| named("HOME").unwrap_or_default().join(".cargo"))
    }
}

fn keys_of(inputs: &BTreeMap<Thing, Inputs>, architecture: Architecture) -> BTreeMap<Thing, Key> {
    inputs
        .iter()
        .map(|(thing, inputs)| (*thing, Key::of(*thing, inputs, architecture)))
        .collect()
}

fn is_progress(line: &str) -> bool {
    let first = line.split_whitespace().next();
    first.is_some_and(|word| PROGRESS.contains(&word))
}

/// Nobody ever sees a half-written file under this name.
async fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let written = async {
        fs::write(&unfinished, bytes).await?;
        fs::rename(&unfinished, path).await
    };
    written
        .await
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Format;
    use crate::report::testing::captured;

    struct Folder(PathBuf);

    impl Drop for Folder {
        #[expect(clippy::disallowed_methods, reason = "a test cleans up after itself")]
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn surroundings(name: &str) -> (Folder, Surroundings) {
        let root = std::env::temp_dir().join(format!("builder-{name}-{}", std::process::id()));
        let surroundings = Surroundings {
            root: root.clone(),
            variables: BTreeMap::new(),
        };
        (Folder(root), surroundings)
    }

    async fn keep(cargo: &Cargo<'_>, key: &Key) -> Artefact {
        let packed = pack_image("axon", Architecture::X86, key.0.as_bytes(), None).unwrap();
        cargo.keep(Thing::Axon, key, packed, 64).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_kept_is_at_hand_and_what_is_damaged_is_not() {
        let (_folder, surroundings) = surroundings("kept");
        let (report, ..) = captured(Format::Human);
        let cargo = Cargo::new(&surroundings, &report);
        let key = Key("1".repeat(64));
        assert_eq!(cargo.at_hand(Thing::Axon, &key).await.unwrap(), None);

        let kept = keep(&cargo, &key).await;
        let found = cargo.at_hand(Thing::Axon, &key).await.unwrap();
        assert_eq!(found.as_ref(), Some(&kept));
        assert_eq!(cargo.at_hand(Thing::Orbit, &key).await.unwrap(), None);

        let mut bytes = cargo.bytes(&kept).await.unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&kept.file, &bytes).await.unwrap();
        assert_eq!(cargo.at_hand(Thing::Axon, &key).await.unwrap(), None);

        keep(&cargo, &key).await;
        fs::remove_file(kept.file.with_extension("json"))
            .await
            .unwrap();
        assert_eq!(cargo.at_hand(Thing::Axon, &key).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_the_newest_few_artefacts_are_kept() {
        let (_folder, surroundings) = surroundings("few");
        let (report, ..) = captured(Format::Human);
        let cargo = Cargo::new(&surroundings, &report);
        for index in 0..KEPT + 2 {
            keep(&cargo, &Key(index.to_string().repeat(64))).await;
        }
        let mut files = fs::read_dir(cargo.folder()).await.unwrap();
        let mut count = 0;
        while files.next_entry().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 2 * KEPT);
        let newest = Key((KEPT + 1).to_string().repeat(64));
        assert!(cargo.at_hand(Thing::Axon, &newest).await.unwrap().is_some());
    }

    #[test]
    fn cargos_progress_is_told_from_its_errors() {
        assert!(is_progress("   Compiling serde v1.0.0"));
        assert!(!is_progress("error[E0425]: cannot find value"));
        assert!(!is_progress(""));
    }
}
