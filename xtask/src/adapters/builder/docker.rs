//! Compiles in the Docker engine by `services/Dockerfile`, and takes the binary out of the image
//! that comes of it. Nothing stays in the engine but its own cache.

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

use super::progress::Progress;
use crate::adapters::docker::{ask, labels, remove};
use crate::adapters::host;
use crate::adapters::source::Checkout;
use crate::catalog::Component;
use crate::decide::artifact::compilation::Variant;
use crate::decide::artifact::context::{BESIDE_INPUTS, DOCKERFILE, pack_context};
use crate::decide::artifact::image::Inputs;
use crate::failure::Failure;
use crate::ports::{ProcessEnv, Source};
use crate::report::{BuildEvent, Report};

/// The engine's API of Docker 17.06, the first that has all that the recipe is made of: several
/// stages, and arguments before the first one.
const API_MIN: (u32, u32) = (1, 30);
/// Of Docker 18.09, the first that has `BuildKit` for everybody.
const API_OF_BUILDKIT: (u32, u32) = (1, 39);

/// The longest that an engine may say nothing: a crate that is compiled and linked says nothing.
const SILENCE_LIMIT: Duration = Duration::from_mins(30);

pub(super) struct InDocker<'a> {
    engine: Docker,
    builder: BuilderVersion,
    /// In the words of images, such as `amd64`.
    engines_architecture: String,
    process_env: &'a ProcessEnv,
    report: &'a Report,
    base: Option<&'a str>,
}

/// The zipped files that the engine gets.
pub(super) async fn context(
    checkout: &Checkout,
    inputs: &BTreeMap<Component, Inputs>,
) -> Result<Bytes> {
    let mut files = BTreeMap::new();
    for inputs in inputs.values() {
        files.extend(inputs.files.clone());
    }
    for path in BESIDE_INPUTS {
        files.insert(path.to_owned(), checkout.read(path).await?.into_bytes());
    }
    Ok(pack_context(&files)
        .context("pack what Docker gets")?
        .into())
}

impl<'a> InDocker<'a> {
    pub(super) async fn connect(
        process_env: &'a ProcessEnv,
        report: &'a Report,
        base: Option<&'a str>,
    ) -> Result<Self> {
        let doing = "ask the engine for its version";
        let engine = host::docker(process_env)?;
        let engine = ask(doing, engine.negotiate_version()).await?;
        let version = ask(doing, engine.version()).await?;
        Ok(Self {
            builder: builder_of(&version)?,
            engines_architecture: version.arch.unwrap_or_default(),
            engine,
            process_env,
            report,
            base,
        })
    }

    /// One after the other: they share the layers of their dependencies.
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

    /// Builds a component's image and answers its id. Where this is dropped, the engine sees that
    /// nobody listens any more and stops.
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
        // To its end: failures come in the stream, under HTTP status 200.
        while let Some(told) = timeout(SILENCE_LIMIT, stream.next())
            .await
            .with_context(|| {
                format!("build {component}: the engine said nothing for half an hour")
            })?
        {
            match told {
                Ok(told) => image = progress.see(told).or(image),
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
        image.with_context(|| format!("build {component}: the engine told no image"))
    }

    fn options(&self, component: Component, variant: Variant) -> BuildImageOptions {
        let architecture = variant.architecture;
        let profile = variant.profile.name();
        let mut arguments = HashMap::from([("SERVICE", component.name()), ("PROFILE", profile)]);
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
        // The engine's own is not named: an older engine knows no platforms.
        if self.engines_architecture != architecture.oci() {
            options = options.platform(&format!("linux/{}", architecture.oci()));
        }
        options.build()
    }

    /// A container gives files out, whether it ever ran or not.
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
        let chunks = ask("take the binary out of a container", chunks).await;
        remove(&self.engine, &container).await?;
        let archive = chunks?.concat();
        let mut binary = Vec::new();
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entries = archive.entries()?;
        let entry = entries.next().context("the engine gave no file")?;
        entry?.read_to_end(&mut binary)?;
        Ok(binary)
    }

    /// The layers stay in the engine's cache: without them the next build would begin anew.
    async fn forget(&self, image: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::new().noprune(true).build();
        let removal = self.engine.remove_image(image, Some(options), None);
        ask("remove an image", removal).await.map(drop)
    }
}

/// How an engine of this version builds.
fn builder_of(version: &SystemVersion) -> Result<BuilderVersion> {
    let api = version.api_version.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<u32>().ok();
    let api = api
        .split_once('.')
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .with_context(|| format!("the engine's API has the version `{api}`"))?;
    if api < API_MIN {
        let version = version.version.as_deref().unwrap_or_default();
        return Err(Failure::not_ready(format!(
            "Docker {version} is too old to build {DOCKERFILE}: 17.06 is the first that can"
        ))
        .hint("upgrade Docker, or leave `--builder docker` out: this machine's Rust compiles then")
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
    fn an_engine_builds_as_its_version_can() {
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
    fn an_engine_that_is_too_old_is_told_with_the_way_out() {
        let error = builder_of(&version("1.29", "Engine")).unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let text = error.to_string();
        assert!(text.starts_with("Docker 1.2.3 is too old"), "{text}");
        assert!(failure::of(&error).unwrap().hint.is_some());
    }
}
