//! One running container: its logs, its memory use and its exit code.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    InspectContainerOptions, LogsOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptions,
};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use super::{ask, connection, explain, remove};
use crate::ports::{ProcessEnv, RunningContainer};

/// For removing a container when it is dropped.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// A running container, removed on drop.
pub struct DockerContainer {
    docker: Docker,
    process_env: ProcessEnv,
    id: String,
    host_port: u16,
    removed: bool,
}

impl DockerContainer {
    pub(super) fn new(docker: &Docker, process_env: &ProcessEnv, id: String) -> Self {
        Self {
            docker: docker.clone(),
            process_env: process_env.clone(),
            id,
            host_port: 0,
            removed: false,
        }
    }

    /// Starts the container and looks up the host port of the given container port.
    pub(super) async fn start(&mut self, port: Option<u16>) -> Result<()> {
        let started = self.docker.start_container(&self.id, None);
        ask("start a container", started).await?;
        if let Some(port) = port {
            self.host_port = self.find_host_port(port).await?;
        }
        Ok(())
    }

    /// The port of 127.0.0.1 that is published for the container.
    pub fn host_port(&self) -> u16 {
        self.host_port
    }

    /// All lines so far, of stdout and stderr.
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

    /// Runs a command in the container and returns its exit code.
    pub async fn execute(&self, command: &[String]) -> Result<i64> {
        let doing = "run a command in a container";
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let created = ask(doing, self.docker.create_exec(&self.id, options)).await?;
        let started = ask(doing, self.docker.start_exec(&created.id, None)).await?;
        if let StartExecResults::Attached { output, .. } = started {
            // The output ends when the command does.
            ask(doing, output.try_collect::<Vec<_>>()).await?;
        }
        let ended = ask(doing, self.docker.inspect_exec(&created.id)).await?;
        ended.exit_code.context("the engine reports no exit code")
    }

    /// The memory use of the container, without page cache that the kernel can reclaim.
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
        let memory = memory.context("the engine reports no memory")?;
        let usage = memory.usage.context("the engine reports no memory")?;
        let details = memory.stats.unwrap_or_default();
        // The names in versions 1 and 2 of control groups.
        let reclaimable = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|name| details.get(*name));
        Ok(usage.saturating_sub(reclaimable.copied().unwrap_or(0)))
    }

    /// Sends SIGTERM, kills the program after the grace period, and returns its exit code.
    pub async fn stop(&self, grace_seconds: i32) -> Result<i64> {
        let options = StopContainerOptionsBuilder::new().t(grace_seconds).build();
        ask(
            "stop a container",
            self.docker.stop_container(&self.id, Some(options)),
        )
        .await?;
        self.exit_code().await
    }

    /// Waits for the program to exit, and returns its exit code.
    pub async fn wait(&self, limit: Duration) -> Result<i64> {
        let ended = self
            .docker
            .wait_container(&self.id, None::<WaitContainerOptions>)
            .try_collect::<Vec<_>>();
        match timeout(limit, ended).await {
            Err(_) => bail!("the container is still running after {} s", limit.as_secs()),
            // The library reports any exit code but 0 as an error.
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
        code.context("the engine reports no exit code")
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
        bail!("the container exited at once with code {code}:\n{logs}")
    }

    async fn inspect(&self) -> Result<ContainerInspectResponse> {
        let inspected = self
            .docker
            .inspect_container(&self.id, None::<InspectContainerOptions>);
        ask("inspect a container", inspected).await
    }
}

#[async_trait]
impl RunningContainer for DockerContainer {
    fn host_port(&self) -> u16 {
        Self::host_port(self)
    }

    async fn logs(&self) -> Result<Vec<String>> {
        Self::logs(self).await
    }

    async fn execute(&self, command: &[String]) -> Result<i64> {
        Self::execute(self, command).await
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        Self::remove(*self).await
    }
}

impl Drop for DockerContainer {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (process_env, id) = (self.process_env.clone(), std::mem::take(&mut self.id));
        // In its own runtime, because the current one may be shutting down.
        let removing = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let docker = connection::docker(&process_env)?;
                timeout(REMOVAL_LIMIT, remove(&docker, &id)).await?
            })
        });
        if let Ok(Err(error)) = removing.join() {
            tracing::warn!(error = format!("{error:#}"), "cannot remove a container");
        }
    }
}
