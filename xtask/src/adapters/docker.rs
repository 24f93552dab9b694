//! Runs an image in plain Docker with the settings of its definition, several of which the local
//! AWS ignores.

pub mod connection;
mod container;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, ImportImageOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use futures_util::TryStreamExt;
use tokio::time::timeout;

pub use crate::decide::definition::run_options::RunOptions;
use crate::failure::Failure;
use crate::ports::{Containers, ProcessEnv, RunningContainer};
pub use container::DockerContainer;

/// The labels of our containers: the checkout and the process that they belong to.
const CHECKOUT_LABEL: &str = "xtask.checkout";
const PROCESS_LABEL: &str = "xtask.process";

/// For one request to the engine, such as loading an image.
const LIMIT: Duration = Duration::from_mins(2);

pub struct Engine {
    docker: Docker,
    process_env: ProcessEnv,
}

impl Engine {
    pub async fn connect(process_env: &ProcessEnv) -> Result<Self> {
        let docker = connection::docker(process_env)?;
        ask("ask the engine for its version", docker.version()).await?;
        Ok(Self {
            docker,
            process_env: process_env.clone(),
        })
    }

    /// Loads the archive of an image and returns the image id.
    pub async fn load(&self, archive: Vec<u8>) -> Result<String> {
        let doing = "load an image";
        let body = bollard::body_full(archive.into());
        let lines = self
            .docker
            .import_image(ImportImageOptions::default(), body, None)
            .try_filter_map(async |line| Ok(line.stream))
            .try_collect::<Vec<String>>();
        // The engine reports failures in the stream, with HTTP status 200.
        let lines = ask(doing, lines).await?;
        lines
            .iter()
            .find_map(|line| line.trim().strip_prefix("Loaded image ID: "))
            .map(str::to_owned)
            .with_context(|| {
                format!(
                    "{doing}: no image id in the output of the engine: {}",
                    lines.concat()
                )
            })
    }

    /// The archive of an image, as `docker save` writes it.
    pub async fn export(&self, image: &str) -> Result<Vec<u8>> {
        let parts = self.docker.export_image(image).try_collect::<Vec<_>>();
        let parts = ask("export an image", parts).await?;
        Ok(parts.concat())
    }

    /// Removes a loaded image. An image that a container uses stays, and so does one with a name,
    /// which was not loaded by xtask.
    pub async fn forget(&self, image: &str) -> Result<()> {
        let inspected = ask("inspect an image", self.docker.inspect_image(image)).await?;
        let named = |names: Option<Vec<String>>| names.is_some_and(|names| !names.is_empty());
        if named(inspected.repo_digests) || named(inspected.repo_tags) {
            return Ok(());
        }
        let removal = self
            .docker
            .remove_image(image, None::<RemoveImageOptions>, None);
        match timeout(LIMIT, removal).await {
            Ok(Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            })) => Ok(()),
            answer => check("remove an image", answer).map(drop),
        }
    }

    /// The uncompressed size of an image.
    pub async fn size_bytes(&self, image: &str) -> Result<u64> {
        let inspected = ask("inspect an image", self.docker.inspect_image(image)).await?;
        let size = inspected.size.context("the engine reports no size")?;
        u64::try_from(size).context("the size is negative")
    }

    /// The address of this machine for containers.
    pub async fn host_address(&self) -> Result<std::net::Ipv4Addr> {
        connection::bridge_gateway(&self.docker).await
    }

    pub async fn run(&self, options: &RunOptions) -> Result<DockerContainer> {
        self.remove_leftovers().await?;
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, self.body(options));
        let created = ask("create a container", created).await?;
        let mut container = DockerContainer::new(&self.docker, &self.process_env, created.id);
        container.start(options.port).await?;
        Ok(container)
    }

    fn body(&self, options: &RunOptions) -> ContainerCreateBody {
        let pairs = |map: &BTreeMap<String, String>| -> HashMap<String, String> {
            map.clone().into_iter().collect()
        };
        let port = options.port.map(|port| format!("{port}/tcp"));
        let on_loopback = vec![PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: None,
        }];
        let files = options.files.iter();
        let environment = options.environment.iter();
        ContainerCreateBody {
            image: Some(options.image.clone()),
            cmd: (!options.command.is_empty()).then(|| options.command.clone()),
            env: Some(
                environment
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            user: options.user.clone(),
            exposed_ports: port.clone().map(|port| vec![port]),
            labels: Some(labels(&self.process_env)),
            host_config: Some(HostConfig {
                readonly_rootfs: Some(options.read_only),
                cap_drop: Some(options.capabilities_dropped.clone()),
                sysctls: Some(pairs(&options.system_controls)),
                memory: options.memory_bytes_max,
                port_bindings: port.map(|port| HashMap::from([(port, Some(on_loopback))])),
                binds: Some(
                    files
                        .map(|(inside, file)| format!("{}:{inside}:ro", file.display()))
                        .collect(),
                ),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// Removes the containers of processes that were killed.
    async fn remove_leftovers(&self) -> Result<()> {
        let label = format!("{CHECKOUT_LABEL}={}", checkout(&self.process_env));
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let listed = self.docker.list_containers(Some(options));
        for container in ask("list containers", listed).await? {
            let process = container
                .labels
                .and_then(|mut labels| labels.remove(PROCESS_LABEL));
            if let (Some(id), Some(process)) = (container.id, process)
                && !runs(&process)
            {
                remove(&self.docker, &id).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Containers for Engine {
    async fn load(&self, archive: Vec<u8>) -> Result<String> {
        Self::load(self, archive).await
    }

    async fn forget(&self, image: &str) -> Result<()> {
        Self::forget(self, image).await
    }

    async fn size_bytes(&self, image: &str) -> Result<u64> {
        Self::size_bytes(self, image).await
    }

    async fn host_address(&self) -> Result<std::net::Ipv4Addr> {
        Self::host_address(self).await
    }

    async fn run(&self, options: &RunOptions) -> Result<Box<dyn RunningContainer>> {
        Ok(Box::new(Self::run(self, options).await?))
    }
}

/// The labels by which a later process finds our containers, if this one cannot remove them.
pub(super) fn labels(process_env: &ProcessEnv) -> HashMap<String, String> {
    let labels = [
        (CHECKOUT_LABEL, checkout(process_env)),
        (PROCESS_LABEL, std::process::id().to_string()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

fn checkout(process_env: &ProcessEnv) -> String {
    process_env.root.display().to_string()
}

pub(super) async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    match timeout(LIMIT, docker.remove_container(id, Some(options))).await {
        // It is gone, or is being removed.
        Ok(Err(Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        })) => Ok(()),
        answer => check("remove a container", answer),
    }
}

/// Whether a process runs. Without `/proc` it counts as running.
fn runs(process: &str) -> bool {
    let processes = Path::new("/proc");
    !processes.is_dir() || processes.join(process).exists()
}

/// One request to the engine, with a time limit.
pub(super) async fn ask<T>(
    doing: &str,
    question: impl Future<Output = Result<T, Error>>,
) -> Result<T> {
    check(doing, timeout(LIMIT, question).await)
}

fn check<T>(
    doing: &str,
    answer: Result<Result<T, Error>, tokio::time::error::Elapsed>,
) -> Result<T> {
    match answer {
        Ok(answer) => answer.map_err(|error| explain(doing, error)),
        Err(_) => Err(silent(doing, "no answer in time")),
    }
}

/// A connection error means that the engine is not running; anything else is an error of the
/// engine.
pub(super) fn explain(doing: &str, error: Error) -> anyhow::Error {
    match error {
        Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::RequestTimeoutError
        | Error::SocketNotFoundError(_) => silent(doing, &anyhow!(error).root_cause().to_string()),
        Error::DockerResponseServerError { message, .. } => anyhow!("{doing}: {message}"),
        Error::DockerStreamError { error } => anyhow!("{doing}: {error}"),
        other => anyhow!(other).context(doing.to_owned()),
    }
}

fn silent(doing: &str, reason: &str) -> anyhow::Error {
    Failure::not_ready(format!(
        "{doing}: the Docker engine does not answer: {reason}"
    ))
    .hint("cargo xtask doctor --fix")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    #[test]
    fn a_connection_error_is_not_ready() {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = explain("load an image", Error::IOError { err: gone });
        assert_eq!(failure::exit_code(&error), 12);
        let text = format!("{error:#}");
        assert!(
            text.starts_with("load an image: the Docker engine does not answer"),
            "{text}"
        );
    }

    #[test]
    fn an_error_of_the_engine_is_shown() {
        let said = Error::DockerStreamError {
            error: "no space left on device".to_owned(),
        };
        let error = explain("load an image", said);
        assert_eq!(
            format!("{error:#}"),
            "load an image: no space left on device"
        );
        assert_eq!(failure::exit_code(&error), 1);
    }

    #[test]
    fn a_running_process_is_recognized() {
        assert!(runs(&std::process::id().to_string()));
        assert!(
            !runs("4194305"),
            "beyond the largest process id of the kernel"
        );
    }
}
