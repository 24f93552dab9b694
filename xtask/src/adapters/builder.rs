//! Compiles and packs artifacts, with the Rust of this machine or in Docker, and caches them below
//! `target/xtask/artifacts`. With a bundle it only takes them from there.

mod cache;
mod docker;
mod documents;
mod host;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::fs;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::adapters::source::Checkout;
use crate::catalog::{Catalog, Component};
use crate::decide::artifact::archive::{pack_function, pack_image};
use crate::decide::artifact::compilation::{BuildMethod, check_binary};
use crate::decide::artifact::image::{Artifact, Inputs};
use crate::decide::artifact::linked_libc::LinkedLibc;
use crate::decide::artifact::provenance::BuildRecord;
use crate::decide::artifact::sbom::CargoTree;
use crate::decide::artifact::scan::{scan, secret_variables};
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::artifact::types::{Profile, Variant};
use crate::decide::outputs::Architecture;
use crate::failure::{Failure, Kind};
use crate::ports::{Builder, ProcessEnv};
use crate::report::{ArtifactKind, BuildEvent, Report};
use cache::ArtifactCache;
use docker::InDocker;
use host::Host;

/// The first words of progress lines of cargo. Other lines are errors and warnings.
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

/// Neither the build method nor the machine is part of a key, because the same toolchain gives the
/// same bytes. An end-to-end test compares them, and a base image with another toolchain is
/// rejected.
pub struct Artifacts<'a> {
    catalog: &'a Catalog,
    process_env: &'a ProcessEnv,
    checkout: Checkout,
    cache: ArtifactCache,
    report: &'a Report,
    /// Read once for all components.
    tree: OnceCell<CargoTree>,
    method: BuildMethod,
    profile: Profile,
    /// Whether `cache` is a bundle, so that nothing is compiled.
    is_bundle: bool,
}

#[async_trait]
impl Builder for Artifacts<'_> {
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Component, Key>> {
        let inputs = self.inputs().await?;
        Ok(keys_of(&inputs, self.variant(architecture)))
    }

    async fn cached(&self, component: Component, key: &Key) -> Result<Option<Artifact>> {
        Ok(self.cache.find(component, key).await)
    }

    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Component, Key>,
    ) -> Result<BTreeMap<Component, Artifact>> {
        if self.is_bundle {
            self.require_of_bundle(keys).await?;
        }
        let mut artifacts = BTreeMap::new();
        for (component, key) in keys {
            if let Some(artifact) = self.cache.find(*component, key).await {
                artifacts.insert(*component, artifact);
            }
        }
        let missing = keys.keys().copied();
        let missing: Vec<Component> = missing
            .filter(|component| !artifacts.contains_key(component))
            .collect();
        if missing.is_empty() {
            return Ok(artifacts);
        }
        let variant = self.variant(architecture);
        let (inputs, binaries) = self.compile(variant, &missing).await?;
        let now = keys_of(&inputs, variant);
        if keys.iter().any(|(component, key)| now[component] != *key) {
            return Err(
                Failure::refused("the sources changed while they were compiled")
                    .hint("run the same command again")
                    .into(),
            );
        }
        for (component, binary) in binaries {
            let artifact = self
                .pack(
                    component,
                    &keys[&component],
                    variant,
                    binary,
                    &inputs[&component],
                )
                .await?;
            artifacts.insert(component, artifact);
        }
        Ok(artifacts)
    }

    async fn bytes(&self, artifact: &Artifact) -> Result<Vec<u8>> {
        fs::read(&artifact.file)
            .await
            .with_context(|| format!("read {}", artifact.file.display()))
    }

    async fn require(&self, architecture: Architecture, components: &[Component]) -> Result<()> {
        if !self.is_bundle {
            return Ok(());
        }
        let mut keys = self.keys(architecture).await?;
        keys.retain(|component, _| components.contains(component));
        self.require_of_bundle(&keys).await
    }

    async fn bundle(&self, artifacts: &BTreeMap<Component, Artifact>, folder: &Path) -> Result<()> {
        for artifact in artifacts.values() {
            self.cache.copy(artifact, folder).await?;
        }
        Ok(())
    }
}

impl<'a> Artifacts<'a> {
    pub fn new(
        catalog: &'a Catalog,
        process_env: &'a ProcessEnv,
        report: &'a Report,
        (method, profile): (BuildMethod, Profile),
    ) -> Self {
        Self {
            catalog,
            process_env,
            checkout: Checkout::new(process_env),
            cache: ArtifactCache::new(process_env.state_folder().join("artifacts")),
            report,
            tree: OnceCell::new(),
            method,
            profile,
            is_bundle: false,
        }
    }

    /// Takes artifacts only from this folder, if there is one.
    #[must_use]
    pub fn taken_from(mut self, bundle: Option<&Path>) -> Self {
        if let Some(folder) = bundle {
            self.cache = ArtifactCache::new(folder.to_owned());
            self.is_bundle = true;
        }
        self
    }

    /// Reports all artifacts that the bundle lacks or has with other bytes.
    async fn require_of_bundle(&self, keys: &BTreeMap<Component, Key>) -> Result<()> {
        let mut faults = Vec::new();
        for (component, key) in keys {
            if self.cache.find(*component, key).await.is_none() {
                faults.push(self.cache.fault(*component, key).await);
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let hint = format!(
            "create it from this checkout as it is, with its whole history, for this environment:\n\
             cargo xtask build --out {}",
            self.cache.folder().display()
        );
        Err(Failure::not_ready(faults.join("\n")).hint(hint).into())
    }

    fn variant(&self, architecture: Architecture) -> Variant {
        Variant {
            architecture,
            profile: self.profile,
        }
    }

    /// Compiles the baseline that the services are compared with, in the same way as them. Returns
    /// the folder of the binaries.
    pub async fn build_baseline(&self, architecture: Architecture) -> Result<PathBuf> {
        let host = Host {
            process_env: self.process_env,
            report: self.report,
        };
        // Together with the services, so that shared dependencies have the same features.
        let mut packages = packages(self.catalog);
        packages.push("baseline");
        host.run_cargo(self.variant(architecture), &packages).await
    }

    async fn inputs(&self) -> Result<BTreeMap<Component, Inputs>> {
        let entries = self.catalog.entries().iter();
        let entries = entries.filter(|entry| !entry.common().retired);
        self.checkout.inputs(entries).await
    }

    /// The binaries of some components, and the inputs that they were compiled from.
    async fn compile(
        &self,
        variant: Variant,
        components: &[Component],
    ) -> Result<(BTreeMap<Component, Inputs>, BTreeMap<Component, Vec<u8>>)> {
        let started = Instant::now();
        let (process_env, report) = (self.process_env, self.report);
        let compiled = match &self.method {
            BuildMethod::Host => {
                let host = Host {
                    process_env,
                    report,
                };
                let binaries = host
                    .compile(variant, &packages(self.catalog), components)
                    .await?;
                // Cargo may have read the files at any time until now.
                (self.inputs().await?, binaries)
            }
            BuildMethod::Docker { base } => {
                let inputs = self.inputs().await?;
                let docker =
                    InDocker::connect(self.catalog, process_env, report, base.as_deref()).await?;
                let context = docker::context(&self.checkout, &inputs).await?;
                let binaries = docker.compile(variant, components, context).await?;
                (inputs, binaries)
            }
        };
        let seconds = started.elapsed().as_secs();
        self.report.emit(BuildEvent::Compiled { seconds });
        Ok(compiled)
    }

    async fn pack(
        &self,
        component: Component,
        key: &Key,
        variant: Variant,
        binary: Vec<u8>,
        inputs: &Inputs,
    ) -> Result<Artifact> {
        let architecture = variant.architecture;
        check_binary(&binary, architecture)
            .with_context(|| format!("the binary of {component}"))?;
        self.refuse_secrets(component, &binary)?;
        let unpacked_bytes = binary.len() as u64;
        let program = Digest::of(&binary);
        let libc = LinkedLibc::find(&binary);
        let (labels, name) = (inputs.labels.clone(), key.clone());
        let packed = tokio::task::spawn_blocking(move || {
            if component.service().is_some() {
                pack_image(component.name(), architecture, &binary, labels.as_ref())
            } else {
                pack_function(&binary, &name)
            }
        })
        .await?
        .with_context(|| format!("pack {component}"))?;
        let documents = self
            .documents(&BuildRecord {
                component,
                variant,
                key,
                inputs,
                builder: self.method.kind(),
                program: &program,
                libc,
                digest: &packed.digest,
            })
            .await?;
        let artifact = self
            .cache
            .keep(component, key, packed, unpacked_bytes, &documents)
            .await?;
        self.report.emit(BuildEvent::Packed {
            component,
            kind: match component {
                Component::Service(_) => ArtifactKind::Image,
                Component::Function(_) => ArtifactKind::Zip,
            },
            packed_bytes: artifact.packed_bytes,
            unpacked_bytes: artifact.unpacked_bytes,
        });
        Ok(artifact)
    }

    /// Everyone who can pull an image can read its contents.
    fn refuse_secrets(&self, component: Component, binary: &[u8]) -> Result<()> {
        let leaks = scan(binary, &secret_variables(&self.process_env.variables));
        if leaks.is_empty() {
            return Ok(());
        }
        let leaks: Vec<String> = leaks.iter().map(ToString::to_string).collect();
        let message = format!(
            "the program {component} contains secrets: {}",
            leaks.join(", ")
        );
        Err(Failure::new(Kind::Findings, message)
            .hint("remove them from the sources and rotate them")
            .into())
    }
}

/// All components are compiled together, whichever of them is asked for.
fn packages(catalog: &Catalog) -> Vec<&'static str> {
    let components = catalog.components().into_iter();
    components.map(Component::name).collect()
}

fn keys_of(inputs: &BTreeMap<Component, Inputs>, variant: Variant) -> BTreeMap<Component, Key> {
    inputs
        .iter()
        .map(|(component, inputs)| (*component, Key::of(*component, inputs, variant)))
        .collect()
}

fn is_progress(line: &str) -> bool {
    let first = line.split_whitespace().next();
    first.is_some_and(|word| PROGRESS.contains(&word))
}

/// The message of ENOSPC in the output of programs, in lower case.
const NO_SPACE: &str = "no space left on device";

/// Shows the output of the compiler without its progress, and returns the failure.
fn report_failure<'l>(
    report: &Report,
    output: impl Iterator<Item = &'l str>,
    message: impl Into<String>,
) -> anyhow::Error {
    let lines: Vec<&str> = output.filter(|line| !is_progress(line)).collect();
    report.emit(BuildEvent::ToolFailed {
        subject: "build".to_owned(),
        tool: "cargo".to_owned(),
        output: lines.join("\n"),
    });
    if lines
        .iter()
        .any(|line| line.to_lowercase().contains(NO_SPACE))
    {
        return Failure::disk_full(message.into()).into();
    }
    Failure::new(Kind::Findings, message)
        .hint("fix the errors of cargo above, then run the same command again")
        .into()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    use crate::catalog::testing::{AXON, ORBIT, catalog};
    use crate::decide::artifact::referrer::IMAGE_DOCUMENTS;
    use crate::failure;
    use crate::report::Format;
    use crate::report::testing::captured;

    /// Without a `PATH`, so that running any program would be an error.
    #[tokio::test]
    async fn every_artifact_that_a_bundle_lacks_is_reported() {
        let folder = TempDir::new().unwrap();
        let process_env = ProcessEnv {
            root: folder.path().to_owned(),
            here: folder.path().to_owned(),
            variables: BTreeMap::new(),
        };
        let (report, _, _) = captured(Format::Human);
        let bundle = folder.path().join("bundle");
        let catalog = catalog();
        let crates = catalog.entries().iter().map(|entry| &entry.common().folder);
        for member in crates.map(String::as_str).chain([""]) {
            let member = folder.path().join(member);
            fs::create_dir_all(&member).await.unwrap();
            fs::write(member.join("Cargo.toml"), "").await.unwrap();
        }
        let builder = Artifacts::new(
            &catalog,
            &process_env,
            &report,
            (BuildMethod::Host, Profile::Release),
        );
        let builder = builder.taken_from(Some(&bundle));
        let keys = builder.keys(Architecture::X86).await.unwrap();
        let error = builder.build(Architecture::X86, &keys).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        for component in catalog.components() {
            let lack = format!("bundle has no {component} that was built from this checkout");
            assert!(error.to_string().contains(&lack), "{error}");
        }

        let key = &keys[&Component::Service(AXON)];
        let packed = pack_image("axon", Architecture::X86, b"program", None).unwrap();
        let documents = IMAGE_DOCUMENTS.map(|document| (document, b"{}".to_vec()));
        let kept = builder
            .cache
            .keep(Component::Service(AXON), key, packed, 7, &documents);
        let kept = kept.await.unwrap();
        let alone = [(Component::Service(AXON), key.clone())].into();
        let built = builder.build(Architecture::X86, &alone).await.unwrap();
        assert_eq!(built[&Component::Service(AXON)], kept);
        let axon = builder
            .require(Architecture::X86, &[Component::Service(AXON)])
            .await;
        let orbit = builder
            .require(Architecture::X86, &[Component::Service(ORBIT)])
            .await;
        axon.unwrap();
        assert!(orbit.unwrap_err().to_string().contains("has no orbit"));
    }

    #[test]
    fn progress_differs_from_errors() {
        assert!(is_progress("   Compiling serde v1.0.0"));
        assert!(!is_progress("error[E0425]: cannot find value"));
        assert!(!is_progress(""));
    }
}
