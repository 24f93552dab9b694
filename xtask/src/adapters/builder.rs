//! Builds artefacts by cargo, and keeps what it built below `target/xtask/artefacts`.

mod documents;
mod shelf;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::fs;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::adapters::process::Command;
use crate::adapters::source::Checkout;
use crate::adapters::toolchain::cargo_home;
use crate::catalog::{ALL, Thing};
use crate::decide::archive::{pack_function, pack_image};
use crate::decide::compilation::{Folders, cargo_arguments, check_binary, rustflags};
use crate::decide::image::{Artefact, Digest, Inputs, Key};
use crate::decide::provenance::{BuilderKind, Built};
use crate::decide::sbom::Tree;
use crate::decide::scan::{scan, secret_variables};
use crate::decide::site::Architecture;
use crate::failure::{Failure, Kind};
use crate::report::{Report, megabytes};
use crate::world::{Builder, Surroundings};
use shelf::Shelf;

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

pub struct Cargo<'a> {
    surroundings: &'a Surroundings,
    checkout: Checkout,
    shelf: Shelf,
    report: &'a Report,
    /// Asked for once, whatever the number of things that are packed.
    tree: OnceCell<Tree>,
}

#[async_trait]
impl Builder for Cargo<'_> {
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Thing, Key>> {
        let inputs = self.inputs().await?;
        Ok(keys_of(&inputs, architecture))
    }

    async fn at_hand(&self, thing: Thing, key: &Key) -> Result<Option<Artefact>> {
        Ok(self.shelf.find(thing, key).await)
    }

    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Thing, Key>,
    ) -> Result<BTreeMap<Thing, Artefact>> {
        let started = Instant::now();
        self.compile(architecture, &ALL.map(Thing::name)).await?;
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
            let artefact = if let Some(artefact) = self.shelf.find(*thing, key).await {
                artefact
            } else {
                self.pack(*thing, key, architecture, &inputs[thing]).await?
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
            shelf: Shelf::new(surroundings.state_folder().join("artefacts")),
            report,
            tree: OnceCell::new(),
        }
    }

    /// The bare handler that services are measured against, compiled as they are. Answers the
    /// folder of them all.
    pub async fn build_yardstick(&self, architecture: Architecture) -> Result<PathBuf> {
        let services = ALL.map(Thing::name);
        // With the services: alone it would be compiled with other features of what it shares.
        let packages = [&services[..], &["yardstick"]].concat();
        self.compile(architecture, &packages).await?;
        let folder = self.target_folder().join(architecture.target());
        Ok(folder.join("release"))
    }

    async fn inputs(&self) -> Result<BTreeMap<Thing, Inputs>> {
        let inputs =
            ALL.map(|thing| async move { Ok((thing, self.checkout.inputs(thing).await?)) });
        futures_util::future::try_join_all(inputs)
            .await
            .map(BTreeMap::from_iter)
    }

    async fn compile(&self, architecture: Architecture, packages: &[&str]) -> Result<()> {
        let (libraries, version) = tokio::try_join!(
            self.libraries(architecture),
            self.rustc(&["--version", "--verbose"]),
        )?;
        let target = self.target_folder();
        let folders = Folders {
            root: &self.surroundings.root,
            cargo_home: &cargo_home(self.surroundings),
            target: &target,
            libraries: &libraries,
        };
        let flags = rustflags(folders, &version);
        let mut command = Command::new(self.surroundings, "cargo")
            .arguments(cargo_arguments(architecture, packages))
            .folder(&self.surroundings.root)
            .variable("CARGO_ENCODED_RUSTFLAGS", flags)
            .variable("CARGO_TARGET_DIR", target.display().to_string())
            // Set by `cargo xtask` itself; rust-toolchain.toml, which is part of the key, decides.
            .without_variable("RUSTUP_TOOLCHAIN");
        for (name, value) in &self.surroundings.variables {
            if is_setting(name) {
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

    /// Where the compiler has its libraries for the architecture. They may not be installed.
    async fn libraries(&self, architecture: Architecture) -> Result<PathBuf> {
        let target = architecture.target();
        let said = self
            .rustc(&["--print", "target-libdir", "--target", target])
            .await?;
        // The last line: rustup may have told before it what it installs.
        let folder = PathBuf::from(said.lines().last().unwrap_or_default());
        if folder.is_dir() {
            return Ok(folder);
        }
        let message = format!("Rust on this machine cannot compile for {target}");
        Err(Failure::not_ready(message)
            .hint(format!(
                "run this on a Linux machine of that architecture, or, where a linker for it \
                 is installed:\nrustup target add {target}"
            ))
            .into())
    }

    async fn rustc(&self, arguments: &[&str]) -> Result<String> {
        Command::new(self.surroundings, "rustc")
            .arguments(arguments.iter().copied())
            .folder(&self.surroundings.root)
            .without_variable("RUSTUP_TOOLCHAIN")
            .succeed()
            .await
    }

    async fn pack(
        &self,
        thing: Thing,
        key: &Key,
        architecture: Architecture,
        inputs: &Inputs,
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
        self.refuse_secrets(thing, &binary)?;
        let unpacked_bytes = binary.len() as u64;
        let program = Digest::of(&binary);
        let labels = inputs.labels.clone();
        let packed = tokio::task::spawn_blocking(move || {
            if thing.is_service() {
                pack_image(thing.name(), architecture, &binary, labels.as_ref())
            } else {
                pack_function(&binary)
            }
        })
        .await?
        .with_context(|| format!("pack {}", path.display()))?;
        let documents = self
            .documents(&Built {
                thing,
                architecture,
                key,
                inputs,
                builder: BuilderKind::Host,
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

    /// The folder that xtask itself was built in: cargo compiles nothing twice then.
    /// Where cargo leaves what it builds.
    pub fn target_folder(&self) -> PathBuf {
        let named = self.surroundings.variable("CARGO_TARGET_DIR");
        self.surroundings.root.join(named.unwrap_or("target"))
    }
}

fn keys_of(inputs: &BTreeMap<Thing, Inputs>, architecture: Architecture) -> BTreeMap<Thing, Key> {
    inputs
        .iter()
        .map(|(thing, inputs)| (*thing, Key::of(*thing, inputs, architecture)))
        .collect()
}

fn is_setting(variable: &str) -> bool {
    CARGO_SETTINGS
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

fn is_progress(line: &str) -> bool {
    let first = line.split_whitespace().next();
    first.is_some_and(|word| PROGRESS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_progress_is_told_from_its_errors() {
        assert!(is_progress("   Compiling serde v1.0.0"));
        assert!(!is_progress("error[E0425]: cannot find value"));
        assert!(!is_progress(""));
    }

    #[test]
    fn cargo_learns_where_crates_come_from_and_nothing_that_changes_bytes() {
        assert!(is_setting("CARGO_REGISTRIES_OURS_INDEX"));
        assert!(is_setting("CARGO_HTTP_PROXY"));
        for other in [
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_BUILD_TARGET",
            "RUSTFLAGS",
        ] {
            assert!(!is_setting(other), "{other}");
        }
    }
}
