//! Runs an image alone in the Docker engine, as its definition says and as no emulator does.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, ImportImageOptions, InspectContainerOptions,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptions, StatsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use super::host;
use crate::failure::Failure;
use crate::world::Surroundings;

/// Labels of every container of ours: the checkout that it belongs to, and the process.
const CHECKOUT_LABEL: &str = "xtask.checkout";
const PROCESS_LABEL: &str = "xtask.process";

/// For one question to the engine, loading an image included.
const LIMIT: Duration = Duration::from_mins(2);
/// For removing a container on the way out.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

pub struct Engine {
    docker: Docker,
    surroundings: Surroundings,
}

/// How to run an image: what its definition says of the container.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// An image's id, or any other name that the engine knows.
    pub image: String,
    /// In place of the image's own arguments.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub read_only: bool,
    pub capabilities_dropped: Vec<String>,
    pub system_controls: BTreeMap<String, String>,
    pub memory_bytes_max: Option<i64>,
    /// The container's port; it is reached under another one of 127.0.0.1.
    pub port: Option<u16>,
    /// Path in the container, and the file of this machine that is seen there.
    pub files: BTreeMap<String, PathBuf>,
}

impl Engine {
    pub async fn connect(surroundings: &Surroundings) -> Result<Self> {
        let docker = host::docker(surroundings)?;
        ask("ask the engine for its version", docker.version()).await?;
        Ok(Self {
            docker,
            surroundings: surroundings.clone(),
        })
    }

    /// Loads an image's archive and answers the image's id.
    pub async fn load(&self, archive: Vec<u8>) -> Result<String> {
        let doing = "load an image";
        let body = bollard::body_full(archive.into());
        let lines = self
            .docker
            .import_image(ImportImageOptions::default(), body, None)
            .try_filter_map(async |line| Ok(line.stream))
            .try_collect::<Vec<String>>();
        // Failures come in the stream, under HTTP status 200.
        let lines = ask(doing, lines).await?;
        lines
            .iter()
            .find_map(|line| line.trim().strip_prefix("Loaded image ID: "))
            .map(str::to_owned)
            .with_context(|| format!("{doing}: the engine told no id, but: {}", lines.concat()))
    }

    /// Removes an image that was loaded. One that a container still uses stays.
    pub async fn forget(&self, image: &str) -> Result<()> {
        let removal = self
            .docker
            .remove_image(image, None::<RemoveImageOptions>, None);
        match timeout(LIMIT, removal).await {
            Ok(Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            })) => Ok(()),
            answer => settle("remove an image", answer).map(drop),
        }
    }

    /// What an image takes unpacked.
    pub async fn size_bytes(&self, image: &str) -> Result<u64> {
        let inspected = ask("look at an image", self.docker.inspect_image(image)).await?;
        let size = inspected.size.context("the engine tells no size")?;
        u64::try_from(size).context("a size below zero")
    }

    /// The address under which a container finds this machine.
    pub async fn host_address(&self) -> Result<std::net::Ipv4Addr> {
        host::bridge_gateway(&self.docker).await
    }

    pub async fn run(&self, options: &RunOptions) -> Result<Container> {
        self.remove_leftovers().await?;
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, self.body(options));
        let created = ask("create a container", created).await?;
        let mut container = Container {
            docker: self.docker.clone(),
            surroundings: self.surroundings.clone(),
            id: created.id,
            host_port: 0,
            removed: false,
        };
        let started = self.docker.start_container(&container.id, None);
        ask("start a container", started).await?;
        if let Some(port) = options.port {
            container.host_port = container.find_host_port(port).await?;
        }
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
        let labels = [
            (CHECKOUT_LABEL, self.checkout()),
            (PROCESS_LABEL, std::process::id().to_string()),
        ];
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
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
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

    fn checkout(&self) -> String {
        self.surroundings.root.display().to_string()
    }

    /// A process that was killed could not remove its containers.
    async fn remove_leftovers(&self) -> Result<()> {
        let label = format!("{CHECKOUT_LABEL}={}", self.checkout());
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

/// A running container. It goes away with this value.
pub struct Container {
    docker: Docker,
    surroundings: Surroundings,
    id: String,
    host_port: u16,
    removed: bool,
}

impl Container {
    /// The port of 127.0.0.1 under which the container's own is reached.
    pub fn host_port(&self) -> u16 {
        self.host_port
    }

    /// All lines so far, of both streams as they came.
    pub async fn logs(&self) -> Result<Vec<String>> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let chunks = self.docker.logs(&self.id, Some(options));
        let bytes = chunks.try_fold(Vec::new(), async |mut bytes: Vec<u8>, chunk| {
            bytes.extend_from_slice(chunk.as_ref());
            Ok(bytes)
        });
        let bytes = ask("read a container's logs", bytes).await?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// What the container's processes hold, without what the kernel may take back from them.
    pub async fn memory_bytes(&self) -> Result<u64> {
        let options = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let stats = self
            .docker
            .stats(&self.id, Some(options))
            .try_collect::<Vec<_>>();
        let stats = ask("measure a container", stats).await?;
        let memory = stats.into_iter().find_map(|stats| stats.memory_stats);
        let memory = memory.context("the engine tells no memory")?;
        let usage = memory.usage.context("the engine tells no memory")?;
        let details = memory.stats.unwrap_or_default();
        // The name under the first version of control groups, and under the second.
        let reclaimable = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|name| details.get(*name));
        Ok(usage.saturating_sub(reclaimable.copied().unwrap_or(0)))
    }

    /// Asks the program to end (SIGTERM), kills it after the grace, and answers its exit code.
    pub async fn stop(&self, grace_seconds: i32) -> Result<i64> {
        let options = StopContainerOptionsBuilder::new().t(grace_seconds).build();
        ask(
            "stop a container",
            self.docker.stop_container(&self.id, Some(options)),
        )
        .await?;
        self.exit_code().await
    }

    /// Waits until the program ends by itself, and answers its exit code.
    pub async fn wait(&self, limit: Duration) -> Result<i64> {
        let ended = self
            .docker
            .wait_container(&self.id, None::<WaitContainerOptions>)
            .try_collect::<Vec<_>>();
        match timeout(limit, ended).await {
            Err(_) => bail!("the container still runs after {} s", limit.as_secs()),
            // Any exit code but 0 is an error to the library.
            Ok(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => self.exit_code().await,
            Ok(Err(error)) => Err(explain("wait for a container", error)),
        }
    }

    pub async fn remove(mut self) -> Result<()> {
        remove(&self.docker, &self.id).await?;
        self.removed = true;
        Ok(())
    }

    async fn exit_code(&self) -> Result<i64> {
        let state = self.inspect().await?.state;
        let code = state.and_then(|state| state.exit_code);
        code.context("the engine tells no exit code")
    }

    async fn find_host_port(&self, port: u16) -> Result<u16> {
        let inspected = self.inspect().await?;
        let bindings = inspected
            .network_settings
            .and_then(|network| network.ports)
            .and_then(|mut ports| ports.remove(&format!("{port}/tcp")))
            .flatten();
        let bound = bindings
            .into_iter()
            .flatten()
            .find_map(|binding| binding.host_port?.parse().ok());
        if let Some(bound) = bound {
            return Ok(bound);
        }
        let code = self.exit_code().await?;
        let logs = self.logs().await?.join("\n");
        bail!("the container ended at once with exit code {code}:\n{logs}")
    }

    async fn inspect(&self) -> Result<bollard::models::ContainerInspectResponse> {
        let inspected = self
            .docker
            .inspect_container(&self.id, None::<InspectContainerOptions>);
        ask("look at a container", inspected).await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (surroundings, id) = (self.surroundings.clone(), std::mem::take(&mut self.id));
        // In a runtime of its own, because the one that we are dropped in may be going down.
        let removing = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let docker = host::docker(&surroundings)?;
                timeout(REMOVAL_LIMIT, remove(&docker, &id)).await?
            })
        });
        if let Ok(Err(error)) = removing.join() {
            tracing::warn!(error = format!("{error:#}"), "a container is left behind");
        }
    }
}

async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    match timeout(LIMIT, docker.remove_container(id, Some(options))).await {
        // It is gone, or somebody else is removing it.
        Ok(Err(Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        })) => Ok(()),
        answer => settle("remove a container", answer),
    }
}

/// Whether a process of this machine runs. Where the kernel does not tell, it may.
fn runs(process: &str) -> bool {
    let processes = Path::new("/proc");
    !processes.is_dir() || processes.join(process).exists()
}

/// One question to the engine, in bounded time.
async fn ask<T>(doing: &str, question: impl Future<Output = Result<T, Error>>) -> Result<T> {
    settle(doing, timeout(LIMIT, question).await)
}

fn settle<T>(
    doing: &str,
    answer: Result<Result<T, Error>, tokio::time::error::Elapsed>,
) -> Result<T> {
    match answer {
        Ok(answer) => answer.map_err(|error| explain(doing, error)),
        Err(_) => Err(silent(doing, "no answer in time")),
    }
}

/// An engine that was stopped is the user's to start; anything else is the engine's own answer.
fn explain(doing: &str, error: Error) -> anyhow::Error {
    match error {
        Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::RequestTimeoutError
        | Error::SocketNotFoundError(_) => silent(doing, &format!("{:#}", anyhow!(error))),
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
