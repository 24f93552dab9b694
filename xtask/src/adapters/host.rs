//! This machine: its Docker engine, its Python, its Terraform, and what can mend it.

use std::fs;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bollard::Docker;
use tokio::time::timeout;

use crate::adapters::emulator;
use crate::adapters::process::{Command, find_program};
use crate::decide::machine::readiness::found::{
    Engine, Found, Means, Platform, Python, SHELLS, Tool, numbers,
};
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::ports::{Depth, Machine, ProcessEnv};

const SOCKET: &str = "unix:///var/run/docker.sock";

/// A wedged engine must not make us wait as long as a slow one may take to pull an image.
const ENGINE_LIMIT: Duration = Duration::from_secs(5);

/// `python3` first: it is what the user means. The others are for where that one is too old.
const PYTHONS: [&str; 6] = [
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

#[async_trait]
impl Machine for ProcessEnv {
    /// Looks at all of it at once.
    async fn inspect(&self, depth: Depth) -> Found {
        let python_matters = depth == Depth::Thorough || !emulator::is_installed(self);
        let (engine, python, infrastructure) = tokio::join!(
            engine(self),
            async {
                if python_matters {
                    python(self).await
                } else {
                    Python::NotNeeded
                }
            },
            infrastructure(self, depth),
        );
        Found {
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
        // What package managers and daemons need lies where a user's `PATH` need not go.
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

/// The processor that images for this machine's own engine are built for.
pub fn architecture() -> Architecture {
    if cfg!(target_arch = "aarch64") {
        Architecture::Arm
    } else {
        Architecture::X86
    }
}

/// The Docker engine that the user's shell means.
pub fn docker(process_env: &ProcessEnv) -> Result<Docker> {
    let host = process_env.variable("DOCKER_HOST").unwrap_or(SOCKET);
    Docker::connect_with_host(host).map_err(|error| no_engine(host, &error.to_string()).into())
}

/// The address under which containers on the default bridge find this machine.
pub async fn bridge_gateway(docker: &Docker) -> Result<Ipv4Addr> {
    let network = timeout(ENGINE_LIMIT, docker.inspect_network("bridge", None))
        .await
        .map_err(|_| no_engine("its socket", "no answer in time"))?
        .map_err(|error| no_engine("its socket", &error.to_string()))?;
    network
        .ipam
        .and_then(|ipam| ipam.config)
        .into_iter()
        .flatten()
        .find_map(|config| gateway(config.gateway.as_deref(), config.subnet.as_deref()))
        .context("Docker's network `bridge` has no IPv4 gateway")
}

/// An engine that made its bridge itself does not tell the gateway until it is restarted: it is
/// the subnet's first address then.
fn gateway(told: Option<&str>, subnet: Option<&str>) -> Option<Ipv4Addr> {
    if let Some(address) = told.and_then(|address| address.parse().ok()) {
        return Some(address);
    }
    let (network, _) = subnet?.split_once('/')?;
    let network: Ipv4Addr = network.parse().ok()?;
    Some(Ipv4Addr::from_bits(network.to_bits() + 1))
}

/// This machine's name, as Python's `socket.gethostname` has it.
#[expect(
    clippy::disallowed_methods,
    reason = "what the kernel tells of this machine"
)]
pub fn name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// The first Python that can run the local AWS, else the first one there is.
pub async fn python(process_env: &ProcessEnv) -> Python {
    const QUESTION: &str =
        "import sys; print('%d.%d' % sys.version_info[:2]); import ensurepip, venv; print('yes')";
    let mut first = Python::Missing;
    for program in PYTHONS {
        if find_program(process_env, program).is_none() {
            continue;
        }
        let asked = Command::new(process_env, program).arguments(["-c", QUESTION]);
        let Ok(answer) = asked.run().await else {
            continue;
        };
        let Some(version) = numbers(&answer.output) else {
            continue;
        };
        let found = Python::Found {
            program: program.to_owned(),
            version,
            makes_environments: answer.succeeded(),
        };
        if found.clone().usable().is_some() {
            return found;
        }
        if first == Python::Missing {
            first = found;
        }
    }
    first
}

fn no_engine(host: &str, reason: &str) -> Failure {
    Failure::not_ready(format!(
        "the Docker engine does not answer at {host}: {reason}"
    ))
    .hint("cargo xtask doctor")
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the kernel tells of this machine"
)]
fn platform() -> Platform {
    if !cfg!(target_os = "linux") {
        return Platform::Other(std::env::consts::OS.to_owned());
    }
    // The second WSL writes itself `microsoft-standard-WSL2`.
    match fs::read_to_string("/proc/version") {
        Ok(version) if version.contains("Microsoft") && !version.contains("WSL2") => {
            Platform::FirstWsl
        }
        _ => Platform::Linux,
    }
}

async fn engine(process_env: &ProcessEnv) -> Engine {
    let silent = match (process_env.variable("DOCKER_HOST"), daemon(process_env)) {
        (Some(host), _) => Engine::Elsewhere {
            host: host.to_owned(),
        },
        (None, true) => Engine::Stopped,
        (None, false) => Engine::Missing,
    };
    let Ok(docker) = docker(process_env) else {
        return silent;
    };
    let version = match timeout(ENGINE_LIMIT, docker.version()).await {
        Ok(Ok(version)) => version.version.unwrap_or_default(),
        Ok(Err(error)) if format!("{error:?}").contains("PermissionDenied") => {
            return Engine::Denied;
        }
        _ => return silent,
    };
    let native = match bridge_gateway(&docker).await {
        Ok(gateway) => TcpListener::bind((gateway, 0)).is_ok(),
        Err(_) => false,
    };
    Engine::Answers { version, native }
}

/// Daemons live in `sbin`, which a user's `PATH` may lack.
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

async fn infrastructure(process_env: &ProcessEnv, depth: Depth) -> Tool {
    let Some(name) = ["terraform", "tofu"]
        .into_iter()
        .find(|name| find_program(process_env, name).is_some())
    else {
        return Tool::Missing;
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
    Tool::Found {
        name: name.to_owned(),
        version,
    }
}

fn means(process_env: &ProcessEnv) -> Means {
    Means {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_told_or_the_first_address() {
        let address = Some(Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(gateway(Some("172.17.0.1"), Some("172.17.0.0/16")), address);
        assert_eq!(gateway(None, Some("172.17.0.0/16")), address);
        assert_eq!(gateway(None, Some("fd00::/64")), None);
    }
}
