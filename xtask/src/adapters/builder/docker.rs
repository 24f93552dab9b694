//! Compiles in the Docker engine with `services/Dockerfile`, and copies the binaries out of the
//! images. Only the build cache stays in the engine.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, SystemVersion};
use bollard::query_parameters::{
    BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion, CreateContainerOptions,
    DownloadFromContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout};

use super::packages;
use super::progress::Progress;
use crate::adapters::docker::{ask, connection, labels, remove};
use crate::adapters::source::Checkout;
use crate::catalog::{Catalog, Component};
use crate::decide::artifact::context::{DOCKERFILE, beside_inputs, pack_context};
use crate::decide::artifact::image::Inputs;
use crate::decide::artifact::types::Variant;
use crate::decide::artifact::workspace::Workspace;
use crate::failure::Failure;
use crate::ports::{ProcessEnv, Source};
use crate::report::{BuildEvent, Report};

/// The API version of Docker 17.06, the first with what `services/Dockerfile` needs: several
/// stages, and arguments before the first one.
const API_MIN: (u32, u32) = (1, 30);
/// The API version of Docker 18.09, the first with `BuildKit` as a stable feature.
const API_OF_BUILDKIT: (u32, u32) = (1, 39);

/// The limit between two messages of the engine. Compiling and linking a crate prints nothing.
const SILENCE_LIMIT: Duration = Duration::from_mins(30);

pub(super) struct InDocker<'a> {
    catalog: &'a Catalog,
    engine: Docker,
    builder: BuilderVersion,
    /// Such as `amd64`.
    engines_architecture: String,
    process_env: &'a ProcessEnv,
    report: &'a Report,
    base: Option<&'a str>,
}

/// The build context.
pub(super) async fn context(
    checkout: &Checkout,
    inputs: &BTreeMap<Component, Inputs>,
) -> Result<Bytes> {
    let mut files = BTreeMap::new();
    for inputs in inputs.values() {
        files.extend(inputs.files.clone());
    }
    let workspace = Workspace::parse(&checkout.read("Cargo.toml").await?);
    for path in beside_inputs(&workspace) {
        let text = checkout.read(&path).await?;
        files.insert(path, text.into_bytes().into());
    }
    Ok(pack_context(&files)
        .context("pack the build context")?
        .into())
}

impl<'a> InDocker<'a> {
    pub(super) async fn connect(
        catalog: &'a Catalog,
        process_env: &'a ProcessEnv,
        report: &'a Report,
        base: Option<&'a str>,
    ) -> Result<Self> {
        let doing = "ask the engine for its version";
        let engine = connection::docker(process_env)?;
        let engine = ask(doing, engine.negotiate_version()).await?;
        let version = ask(doing, engine.version()).await?;
        Ok(Self {
            catalog,
            builder: builder_of(&version)?,
            engines_architecture: version.arch.unwrap_or_default(),
            engine,
            process_env,
            report,
            base,
        })
    }

    /// Sequentially, since they share the layers of their dependencies.
    pub(super) async fn compile(
        &self,
        variant: Variant,
        components: &[Component],
        context: Bytes,
    ) -> Result<BTreeMap<Component, Vec<u8>>> {
        let builder = match self.builder {
            BuilderVersion::BuilderBuildKit => "BuildKit",
            BuilderVersion::BuilderV1 => "the classic builder",
        };
        self.report.emit(BuildEvent::DockerBuildStarted {
            builder: builder.to_owned(),
            context_bytes: context.len() as u64,
        });
        let mut binaries = BTreeMap::new();
        for component in components {
            let image = self.image(*component, variant, context.clone()).await?;
            let taken = self.binary(*component, &image).await;
            self.forget(&image).await?;
            binaries.insert(*component, taken?);
        }
        Ok(binaries)
    }

    /// Builds the image of a component and returns its id. The engine stops when this future is
    /// dropped, because that closes the connection.
    async fn image(
        &self,
        component: Component,
        variant: Variant,
        context: Bytes,
    ) -> Result<String> {
        let started = Instant::now();
        let mut progress = Progress::new(self.report, component);
        let options = self.options(component, variant);
        let body = bollard::body_full(context);
        let mut stream = self.engine.build_image(options, None, Some(body));
        let mut image = None;
        // To the end: the engine reports failures in the stream, with HTTP status 200.
        while let Some(message) =
            timeout(SILENCE_LIMIT, stream.next())
                .await
                .with_context(|| {
                    format!("build {component}: no message of the engine for half an hour")
                })?
        {
            match message {
                Ok(message) => image = progress.record(message).or(image),
                Err(error) => return Err(progress.failure(error, variant.architecture, self.base)),
            }
        }
        let seconds = started.elapsed().as_secs();
        let crates = progress.crates_compiled();
        self.report.emit(BuildEvent::DockerBuilt {
            component,
            crates,
            seconds,
        });
        image.with_context(|| format!("build {component}: no image in the output of the engine"))
    }

    fn options(&self, component: Component, variant: Variant) -> BuildImageOptions {
        let architecture = variant.architecture;
        let profile = variant.profile.name();
        let packages = packages(self.catalog).join(" ");
        let mut arguments = HashMap::from([
            ("COMPONENT", component.name()),
            ("PACKAGES", &packages),
            ("PROFILE", profile),
        ]);
        let entry = self.catalog.entry(component);
        arguments.extend(entry.map(|entry| ("FOLDER", &*entry.common().folder)));
        arguments.extend(self.base.map(|base| ("BUILDER_BASE", base)));
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(DOCKERFILE)
            .buildargs(&arguments)
            .version(self.builder)
            .rm(true)
            .forcerm(true);
        if self.builder == BuilderVersion::BuilderBuildKit {
            options = options.session(&format!("xtask-{}-{component}", std::process::id()));
        }
        // Not for its own platform, since older engines do not support the option.
        if self.engines_architecture != architecture.oci() {
            options = options.platform(&format!("linux/{}", architecture.oci()));
        }
        options.build()
    }

    /// Copies the binary out of a container that is never started.
    async fn binary(&self, component: Component, image: &str) -> Result<Vec<u8>> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(labels(self.process_env)),
            ..ContainerCreateBody::default()
        };
        let created = self
            .engine
            .create_container(None::<CreateContainerOptions>, body);
        let container = ask("create a container", created).await?.id;
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(&format!("/{component}"))
            .build();
        let chunks = self
            .engine
            .download_from_container(&container, Some(options))
            .try_collect::<Vec<Bytes>>();
        let chunks = ask("copy the binary out of a container", chunks).await;
        remove(&self.engine, &container).await?;
        let archive = chunks?.concat();
        let mut binary = Vec::new();
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entries = archive.entries()?;
        let entry = entries
            .next()
            .context("no file in the response of the engine")?;
        entry?.read_to_end(&mut binary)?;
        Ok(binary)
    }

    /// Removes the image without its layers, which stay in the build cache.
    async fn forget(&self, image: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::new().noprune(true).build();
        let removal = self.engine.remove_image(image, Some(options), None);
        ask("remove an image", removal).await.map(drop)
    }
}

/// The builder of an engine of this version.
fn builder_of(version: &SystemVersion) -> Result<BuilderVersion> {
    let api = version.api_version.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<u32>().ok();
    let api = api
        .split_once('.')
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .with_context(|| format!("unexpected API version `{api}` of the engine"))?;
    if api < API_MIN {
        let version = version.version.as_deref().unwrap_or_default();
        return Err(Failure::not_ready(format!(
            "Docker {version} is too old for {DOCKERFILE}, which needs 17.06"
        ))
        .hint("upgrade Docker, or compile with the Rust of this machine: omit `--builder docker`")
        .into());
    }
    let components = version.components.iter().flatten();
    let is_podman = components
        .into_iter()
        .any(|component| component.name.starts_with("Podman"));
    Ok(if api >= API_OF_BUILDKIT && !is_podman {
        BuilderVersion::BuilderBuildKit
    } else {
        BuilderVersion::BuilderV1
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;
    use crate::failure;

    fn version(api: &str, component: &str) -> SystemVersion {
        SystemVersion {
            version: Some("1.2.3".to_owned()),
            api_version: Some(api.to_owned()),
            components: Some(vec![SystemVersionComponents {
                name: component.to_owned(),
                ..SystemVersionComponents::default()
            }]),
            ..SystemVersion::default()
        }
    }

    #[test]
    fn the_builder_depends_on_the_version() {
        let buildkit = BuilderVersion::BuilderBuildKit;
        for (api, component, builder) in [
            ("1.30", "Engine", BuilderVersion::BuilderV1),
            ("1.38", "Engine", BuilderVersion::BuilderV1),
            ("1.39", "Engine", buildkit),
            ("1.53", "Engine", buildkit),
            ("1.41", "Podman Engine", BuilderVersion::BuilderV1),
        ] {
            let found = builder_of(&version(api, component)).unwrap();
            assert_eq!(found, builder, "{api} {component}");
        }
    }

    #[test]
    fn an_old_engine_is_an_error_with_a_hint() {
        let error = builder_of(&version("1.29", "Engine")).unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let text = error.to_string();
        assert!(text.starts_with("Docker 1.2.3 is too old"), "{text}");
        assert!(failure::of(&error).unwrap().hint.is_some());
    }
}
