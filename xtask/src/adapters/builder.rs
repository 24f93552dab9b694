//! Makes artefacts of what was compiled, by this machine's Rust or in Docker, and keeps them below
//! `target/xtask/artefacts`; or takes them from a bundle, and makes none.

mod docker;
mod documents;
mod host;
mod progress;
mod shelf;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::fs;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::adapters::source::Checkout;
use crate::catalog::{ALL, Thing};
use crate::decide::archive::{pack_function, pack_image};
use crate::decide::compilation::{Profile, Variant, Way, check_binary};
use crate::decide::image::{Artefact, Digest, Inputs, Key};
use crate::decide::provenance::Built;
use crate::decide::sbom::Tree;
use crate::decide::scan::{scan, secret_variables};
use crate::decide::site::Architecture;
use crate::failure::{Failure, Kind};
use crate::report::{Report, megabytes};
use crate::world::{Builder, Surroundings};
use docker::InDocker;
use host::Host;
use shelf::Shelf;

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

/// The key says nothing of the way, as it says nothing of the machine: with one toolchain both
/// make the same bytes, which an end-to-end test compares, and a base of another Rust is refused.
pub struct Artefacts<'a> {
    surroundings: &'a Surroundings,
    checkout: Checkout,
    shelf: Shelf,
    report: &'a Report,
    /// Asked for once, whatever the number of things that are packed.
    tree: OnceCell<Tree>,
    way: Way,
    profile: Profile,
    /// Only what the shelf has is to be had: it is a bundle, and nothing is compiled.
    is_bundle: bool,
}

#[async_trait]
impl Builder for Artefacts<'_> {
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Thing, Key>> {
        let inputs = self.inputs().await?;
        Ok(keys_of(&inputs, self.variant(architecture)))
    }

    async fn at_hand(&self, thing: Thing, key: &Key) -> Result<Option<Artefact>> {
        Ok(self.shelf.find(thing, key).await)
    }

    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Thing, Key>,
    ) -> Result<BTreeMap<Thing, Artefact>> {
        if self.is_bundle {
            self.require_of_bundle(keys).await?;
        }
        let mut artefacts = BTreeMap::new();
        for (thing, key) in keys {
            if let Some(artefact) = self.shelf.find(*thing, key).await {
                artefacts.insert(*thing, artefact);
            }
        }
        let missing = keys.keys().copied();
        let missing: Vec<Thing> = missing
            .filter(|thing| !artefacts.contains_key(thing))
            .collect();
        if missing.is_empty() {
            return Ok(artefacts);
        }
        let variant = self.variant(architecture);
        let (inputs, binaries) = self.compile(variant, &missing).await?;
        let now = keys_of(&inputs, variant);
        if keys.iter().any(|(thing, key)| now[thing] != *key) {
            return Err(
                Failure::refused("the sources changed while they were compiled")
                    .hint("run the same command again")
                    .into(),
            );
        }
        for (thing, binary) in binaries {
            let artefact = self
                .pack(thing, &keys[&thing], variant, binary, &inputs[&thing])
                .await?;
            artefacts.insert(thing, artefact);
        }
        Ok(artefacts)
    }

    async fn bytes(&self, artefact: &Artefact) -> Result<Vec<u8>> {
        fs::read(&artefact.file)
            .await
            .with_context(|| format!("read {}", artefact.file.display()))
    }

    async fn require(&self, architecture: Architecture, things: &[Thing]) -> Result<()> {
        if !self.is_bundle {
            return Ok(());
        }
        let mut keys = self.keys(architecture).await?;
        keys.retain(|thing, _| things.contains(thing));
        self.require_of_bundle(&keys).await
    }

    async fn bundle(&self, artefacts: &BTreeMap<Thing, Artefact>, folder: &Path) -> Result<()> {
        for artefact in artefacts.values() {
            self.shelf.copy(artefact, folder).await?;
        }
        Ok(())
    }
}

impl<'a> Artefacts<'a> {
    pub fn new(
        surroundings: &'a Surroundings,
        report: &'a Report,
        (way, profile): (Way, Profile),
    ) -> Self {
        Self {
            surroundings,
            checkout: Checkout::new(surroundings),
            shelf: Shelf::new(surroundings.state_folder().join("artefacts")),
            report,
            tree: OnceCell::new(),
            way,
            profile,
            is_bundle: false,
        }
    }

    /// The same, but that artefacts come from this folder and from nowhere else.
    #[must_use]
    pub fn taken_from(mut self, bundle: Option<&Path>) -> Self {
        if let Some(folder) = bundle {
            self.shelf = Shelf::new(folder.to_owned());
            self.is_bundle = true;
        }
        self
    }

    /// Everything that the bundle lacks, or has with other bytes, is told at once.
    async fn require_of_bundle(&self, keys: &BTreeMap<Thing, Key>) -> Result<()> {
        let mut faults = Vec::new();
        for (thing, key) in keys {
            if self.shelf.find(*thing, key).await.is_none() {
                faults.push(self.shelf.fault(*thing, key).await);
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let hint = format!(
            "make it of this checkout as it is, with its whole history, for this environment:\n\
             cargo xtask build --out {}",
            self.shelf.folder().display()
        );
        Err(Failure::not_ready(faults.join("\n")).hint(hint).into())
    }

    fn variant(&self, architecture: Architecture) -> Variant {
        Variant {
            architecture,
            profile: self.profile,
        }
    }

    /// The bare handler that services are measured against, compiled as they are. Answers the
    /// folder of them all.
    pub async fn build_yardstick(&self, architecture: Architecture) -> Result<PathBuf> {
        let host = Host {
            surroundings: self.surroundings,
            report: self.report,
        };
        let services = ALL.map(Thing::name);
        // With the services: alone it would be compiled with other features of what it shares.
        host.run_cargo(
            self.variant(architecture),
            &[&services[..], &["yardstick"]].concat(),
        )
        .await
    }

    async fn inputs(&self) -> Result<BTreeMap<Thing, Inputs>> {
        let inputs =
            ALL.map(|thing| async move { Ok((thing, self.checkout.inputs(thing).await?)) });
        futures_util::future::try_join_all(inputs)
            .await
            .map(BTreeMap::from_iter)
    }

    /// The binaries of some things, and the inputs that they were compiled from.
    async fn compile(
        &self,
        variant: Variant,
        things: &[Thing],
    ) -> Result<(BTreeMap<Thing, Inputs>, BTreeMap<Thing, Vec<u8>>)> {
        let started = Instant::now();
        let (surroundings, report) = (self.surroundings, self.report);
        let compiled = match &self.way {
            Way::Host => {
                let host = Host {
                    surroundings,
                    report,
                };
                let binaries = host.compile(variant, things).await?;
                // Cargo read the files itself, at some time until now.
                (self.inputs().await?, binaries)
            }
            Way::Docker { base } => {
                let inputs = self.inputs().await?;
                let docker = InDocker::connect(surroundings, report, base.as_deref()).await?;
                let context = docker::context(&self.checkout, &inputs).await?;
                let binaries = docker.compile(variant, things, context).await?;
                (inputs, binaries)
            }
        };
        let seconds = started.elapsed().as_secs();
        self.report
            .line("build", &format!("compiled in {seconds} s"));
        Ok(compiled)
    }

    async fn pack(
        &self,
        thing: Thing,
        key: &Key,
        variant: Variant,
        binary: Vec<u8>,
        inputs: &Inputs,
    ) -> Result<Artefact> {
        let architecture = variant.architecture;
        check_binary(&binary, architecture).with_context(|| format!("the binary of {thing}"))?;
        self.refuse_secrets(thing, &binary)?;
        let unpacked_bytes = binary.len() as u64;
        let program = Digest::of(&binary);
        let (labels, name) = (inputs.labels.clone(), key.clone());
        let packed = tokio::task::spawn_blocking(move || {
            if thing.is_service() {
                pack_image(thing.name(), architecture, &binary, labels.as_ref())
            } else {
                pack_function(&binary, &name)
            }
        })
        .await?
        .with_context(|| format!("pack {thing}"))?;
        let documents = self
            .documents(&Built {
                thing,
                variant,
                key,
                inputs,
                builder: self.way.kind(),
                program: &program,
                digest: &packed.digest,
            })
            .await?;
        let artefact = self
            .shelf
            .keep(thing, key, packed, unpacked_bytes, &documents)
            .await?;
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

    /// Whoever pulls an image can read what is in it.
    fn refuse_secrets(&self, thing: Thing, binary: &[u8]) -> Result<()> {
        let leaks = scan(binary, &secret_variables(&self.surroundings.variables));
        if leaks.is_empty() {
            return Ok(());
        }
        let leaks: Vec<String> = leaks.iter().map(ToString::to_string).collect();
        let message = format!("the program {thing} holds secrets: {}", leaks.join(", "));
        Err(Failure::new(Kind::Findings, message)
            .hint("take them out of the sources, and replace them: they are known now")
            .into())
    }
}

fn keys_of(inputs: &BTreeMap<Thing, Inputs>, variant: Variant) -> BTreeMap<Thing, Key> {
    inputs
        .iter()
        .map(|(thing, inputs)| (*thing, Key::of(*thing, inputs, variant)))
        .collect()
}

fn is_progress(line: &str) -> bool {
    let first = line.split_whitespace().next();
    first.is_some_and(|word| PROGRESS.contains(&word))
}

/// How programs say it, the compiler and the linker among them, with or without a capital.
const NO_SPACE: &str = "no space left on device";

/// Shows what the compiler said, without its progress, and answers the failure that it is.
fn tell_failure<'l>(
    report: &Report,
    said: impl Iterator<Item = &'l str>,
    message: impl Into<String>,
) -> anyhow::Error {
    let said: Vec<&str> = said.filter(|line| !is_progress(line)).collect();
    report.block(&said.join("\n"));
    if said
        .iter()
        .any(|line| line.to_lowercase().contains(NO_SPACE))
    {
        return Failure::disk_full(message.into()).into();
    }
    Failure::new(Kind::Findings, message)
        .hint("mend what cargo says above, then run the same command again")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::referrer::DOCUMENTS;
    use crate::failure;
    use crate::report::Format;
    use crate::report::testing::captured;

    /// Without a `PATH` no program can be run: whoever asked for one would be told so.
    #[tokio::test]
    async fn of_a_bundle_all_that_is_missing_is_told_and_nothing_is_compiled() {
        let folder = std::env::temp_dir().join(format!("bundle-{}", std::process::id()));
        let surroundings = Surroundings {
            root: folder.clone(),
            here: folder.clone(),
            variables: BTreeMap::new(),
        };
        let (report, _, _) = captured(Format::Human);
        let bundle = folder.join("bundle");
        let builder = Artefacts::new(&surroundings, &report, (Way::Host, Profile::Release));
        let builder = builder.taken_from(Some(&bundle));
        let keys = builder.keys(Architecture::X86).await.unwrap();
        let error = builder.build(Architecture::X86, &keys).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        for thing in ALL {
            let lack = format!("bundle has no {thing} that was built of this checkout");
            assert!(error.to_string().contains(&lack), "{error}");
        }

        let key = &keys[&Thing::Axon];
        let packed = pack_image("axon", Architecture::X86, b"program", None).unwrap();
        let documents = DOCUMENTS.map(|document| (document, b"{}".to_vec()));
        let kept = builder.shelf.keep(Thing::Axon, key, packed, 7, &documents);
        let kept = kept.await.unwrap();
        let alone = [(Thing::Axon, key.clone())].into();
        let built = builder.build(Architecture::X86, &alone).await.unwrap();
        assert_eq!(built[&Thing::Axon], kept);
        let axon = builder.require(Architecture::X86, &[Thing::Axon]).await;
        let orbit = builder.require(Architecture::X86, &[Thing::Orbit]).await;
        fs::remove_dir_all(&folder).await.unwrap();
        axon.unwrap();
        assert!(orbit.unwrap_err().to_string().contains("has no orbit"));
    }

    #[test]
    fn cargos_progress_is_told_from_its_errors() {
        assert!(is_progress("   Compiling serde v1.0.0"));
        assert!(!is_progress("error[E0425]: cannot find value"));
        assert!(!is_progress(""));
    }
}
