//! Inspects this machine: its Docker engine, its Python, its Terraform, and the means to fix them.

use std::fs;
use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::time::timeout;

use super::docker::connection::{ENGINE_LIMIT, bridge_gateway, docker};
use super::emulator;
use super::process::{Command, find_program};
use super::virtual_environment::python;
use crate::decide::machine::readiness::facts::{
    EngineStatus, FixMeans, MachineFacts, Platform, PythonStatus, SHELLS, ToolStatus,
};
use crate::ports::{Depth, Machine, ProcessEnv};

#[async_trait]
impl Machine for ProcessEnv {
    /// Inspects everything concurrently.
    async fn inspect(&self, depth: Depth) -> MachineFacts {
        let python_matters = depth == Depth::Thorough || !emulator::is_installed(self);
        let (engine, python, infrastructure) = tokio::join!(
            engine(self),
            async {
                if python_matters {
                    python(self).await
                } else {
                    PythonStatus::NotNeeded
                }
            },
            infrastructure(self, depth),
        );
        MachineFacts {
            platform: platform(),
            engine,
            python,
            infrastructure,
            git: find_program(self, "git").is_some(),
            rust: ["cargo", "rustc"].map(|name| find_program(self, name).is_some()) == [true; 2],
            means: means(self),
        }
    }

    async fn run(&self, command: &[String]) -> Result<()> {
        let (program, arguments) = command.split_first().context("an empty command")?;
        // Package managers and daemons need folders that the `PATH` of a user may lack.
        let path = self.variable("PATH").unwrap_or_default();
        Command::new(self, program)
            .arguments(arguments)
            .variable("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
            .variable("DEBIAN_FRONTEND", "noninteractive")
            .succeed()
            .await?;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel has it in a file")]
fn platform() -> Platform {
    if !cfg!(target_os = "linux") {
        return Platform::Other(std::env::consts::OS.to_owned());
    }
    // WSL 2 has `microsoft-standard-WSL2`.
    match fs::read_to_string("/proc/version") {
        Ok(version) if version.contains("Microsoft") && !version.contains("WSL2") => Platform::Wsl1,
        _ => Platform::Linux,
    }
}

async fn engine(process_env: &ProcessEnv) -> EngineStatus {
    let no_answer = match (process_env.variable("DOCKER_HOST"), daemon(process_env)) {
        (Some(host), _) => EngineStatus::Elsewhere {
            host: host.to_owned(),
        },
        (None, true) => EngineStatus::Stopped,
        (None, false) => EngineStatus::Missing,
    };
    let Ok(docker) = docker(process_env) else {
        return no_answer;
    };
    let version = match timeout(ENGINE_LIMIT, docker.version()).await {
        Ok(Ok(version)) => version.version.unwrap_or_default(),
        Ok(Err(error)) if format!("{error:?}").contains("PermissionDenied") => {
            return EngineStatus::Denied;
        }
        _ => return no_answer,
    };
    let native = match bridge_gateway(&docker).await {
        Ok(gateway) => TcpListener::bind((gateway, 0)).is_ok(),
        Err(_) => false,
    };
    EngineStatus::Answers { version, native }
}

/// Whether dockerd is installed. It may be in `sbin`, which the `PATH` of a user may lack.
fn daemon(process_env: &ProcessEnv) -> bool {
    find_program(process_env, "dockerd").is_some()
        || [
            "/usr/sbin/dockerd",
            "/usr/bin/dockerd",
            "/usr/local/bin/dockerd",
        ]
        .iter()
        .any(|file| Path::new(file).is_file())
}

async fn infrastructure(process_env: &ProcessEnv, depth: Depth) -> ToolStatus {
    let Some(name) = ["terraform", "tofu"]
        .into_iter()
        .find(|name| find_program(process_env, name).is_some())
    else {
        return ToolStatus::Missing;
    };
    let mut version = None;
    if depth == Depth::Thorough {
        let asked = Command::new(process_env, name).arguments(["version", "-json"]);
        let answer = asked.run().await.ok();
        version = answer.and_then(|answer| {
            let document: serde_json::Value = serde_json::from_str(&answer.output).ok()?;
            Some(document["terraform_version"].as_str()?.to_owned())
        });
    }
    ToolStatus::Found {
        name: name.to_owned(),
        version,
    }
}

fn means(process_env: &ProcessEnv) -> FixMeans {
    FixMeans {
        root: rustix::process::geteuid().is_root(),
        sudo: find_program(process_env, "sudo").is_some(),
        terminal: std::io::stderr().is_terminal(),
        apt: find_program(process_env, "apt-get").is_some(),
        snap: find_program(process_env, "snap").is_some(),
        systemd: Path::new("/run/systemd/system").is_dir(),
        service_script: Path::new("/etc/init.d/docker").is_file(),
        shells_missing: SHELLS.map(|shell| find_program(process_env, shell).is_none()),
    }
}
