//! What a machine lacks to run the local environment, and what mends it. The machine is looked at
//! elsewhere; commands are values here.

pub mod found;

use serde::Serialize;

use found::{Engine, Found, Means, PYTHON_VERSION_MIN, Platform, Python, SHELLS, Tool, numbers};

/// One component that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub subject: &'static str,
    pub reason: String,
    /// For a person: a command to copy, or what to do.
    pub remedy: String,
    /// What `doctor --fix` runs; empty where only a person can mend it.
    pub commands: Vec<Vec<String>>,
}

const ENGINE_VERSION_MIN: (u32, u32) = (20, 10);
/// The first with `use_lockfile` of the S3 backend.
const INFRASTRUCTURE_VERSION_MIN: (u32, u32) = (1, 10);

/// Every fault, in the order in which they are best mended.
pub fn faults(found: &Found) -> Vec<Fault> {
    [
        platform(&found.platform),
        engine(&found.engine, found.means),
        python(&found.python, found.means),
        infrastructure(&found.infrastructure, found.means),
        git(found.git, found.means),
        rust(found.rust),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn platform(platform: &Platform) -> Option<Fault> {
    let reason = match platform {
        Platform::Linux => return None,
        Platform::FirstWsl => "this is the first WSL, which cannot run containers".to_owned(),
        Platform::Other(name) => format!("the local environment does not run on {name}"),
    };
    let remedy = "use Linux, or WSL 2, with a Docker engine of its own";
    Some(Fault::by_hand("platform", reason, remedy))
}

fn engine(engine: &Engine, means: Means) -> Option<Fault> {
    let fault = match engine {
        Engine::Missing => {
            means.install("docker", "the Docker engine is not installed", "docker.io")
        }
        Engine::Stopped => means.mend(
            "docker",
            "the Docker engine does not run",
            &[start_engine(means)],
        ),
        Engine::Denied => Fault::by_hand(
            "docker",
            "this user may not use the Docker engine's socket",
            "sudo usermod -aG docker \"$USER\", then log in again",
        ),
        Engine::Elsewhere { host } => Fault::by_hand(
            "docker",
            format!("no Docker engine answers at {host}, which DOCKER_HOST names"),
            "unset DOCKER_HOST, or start that engine",
        ),
        Engine::Answers { version, .. } if older(version, ENGINE_VERSION_MIN) => means.install(
            "docker",
            format!("Docker engine {version} is older than 20.10"),
            "docker.io",
        ),
        Engine::Answers { native: false, .. } => Fault::by_hand(
            "docker",
            "the Docker engine does not run on this machine itself: its bridge has no address here \
             (Docker Desktop, a rootless or a remote engine)",
            "install the engine of your Linux distribution and choose it: \
             export DOCKER_HOST=unix:///var/run/docker.sock",
        ),
        Engine::Answers { .. } => return None,
    };
    Some(fault)
}

fn start_engine(means: Means) -> &'static [&'static str] {
    if means.systemd {
        &["systemctl", "start", "docker"]
    } else if means.service_script {
        // The script raises limits, which it may not do inside some containers.
        &[
            "sh",
            "-c",
            "service docker start || { setsid dockerd >/var/log/dockerd.log 2>&1 & }",
        ]
    } else {
        &["sh", "-c", "setsid dockerd >/var/log/dockerd.log 2>&1 &"]
    }
}

fn python(python: &Python, means: Means) -> Option<Fault> {
    let fault = match python {
        Python::Missing => means.install("python", "Python 3 is not installed", "python3-venv"),
        Python::Found {
            program, version, ..
        } if *version < PYTHON_VERSION_MIN => Fault::by_hand(
            "python",
            format!(
                "{program} is Python {}.{}; the local AWS needs 3.10 or later",
                version.0, version.1
            ),
            "install Python 3.10 or later; `python3.10` to `python3.14` on PATH are found too",
        ),
        Python::Found {
            program,
            makes_environments: false,
            ..
        } => means.install(
            "python",
            format!("{program} cannot make virtual environments"),
            &format!("{program}-venv"),
        ),
        Python::NotNeeded | Python::Found { .. } => return None,
    };
    Some(fault)
}

fn infrastructure(tool: &Tool, means: Means) -> Option<Fault> {
    let reason = match tool {
        Tool::Missing => "neither Terraform nor OpenTofu is installed".to_owned(),
        Tool::Found {
            name,
            version: Some(version),
        } if older(version, INFRASTRUCTURE_VERSION_MIN) => {
            format!("{name} {version} is older than 1.10")
        }
        Tool::Found { .. } => return None,
    };
    Some(if means.snap && *tool == Tool::Missing {
        let install: &[&str] = &["snap", "install", "--classic", "opentofu"];
        means.mend("terraform", reason, &[install])
    } else {
        Fault::by_hand(
            "terraform",
            reason,
            "follow https://opentofu.org/docs/intro/install or \
             https://developer.hashicorp.com/terraform/install (Debian and Ubuntu do not have it)",
        )
    })
}

fn git(found: bool, means: Means) -> Option<Fault> {
    (!found).then(|| means.install("git", "git is not installed", "git"))
}

fn rust(found: bool) -> Option<Fault> {
    let reason = "cargo and rustc are not both on the PATH";
    let remedy = "install Rust as https://rustup.rs says, or put ~/.cargo/bin on the PATH";
    (!found).then(|| Fault::by_hand("rust", reason, remedy))
}

impl Means {
    /// The fault that a package of Debian and Ubuntu mends.
    fn install(self, subject: &'static str, reason: impl Into<String>, package: &str) -> Fault {
        self.install_by(subject, reason, &["apt-get", "install", "-y", package])
    }

    /// As `install`, by a command that ends with the package.
    fn install_by(
        self,
        subject: &'static str,
        reason: impl Into<String>,
        command: &[&str],
    ) -> Fault {
        if !self.apt {
            let package = command.last().copied().unwrap_or_default();
            let remedy = format!("install what Debian calls `{package}` with your package manager");
            return Fault::by_hand(subject, reason, remedy);
        }
        let update: &[&str] = &["apt-get", "update"];
        self.mend(subject, reason, &[update, command])
    }

    /// The fault that commands of the superuser mend, if this user may run them.
    fn mend(self, subject: &'static str, reason: impl Into<String>, plain: &[&[&str]]) -> Fault {
        let (typed, run): (&[&str], &[&str]) = match self {
            Self { root: true, .. } => (&[], &[]),
            Self { sudo: false, .. } => {
                let remedy = format!("as root: {}", line(&[], plain));
                return Fault::by_hand(subject, reason, remedy);
            }
            Self { terminal: true, .. } => (&["sudo"], &["sudo"]),
            // Nobody could type the password, and it would wait for ever.
            Self { .. } => (&["sudo"], &["sudo", "-n"]),
        };
        Fault {
            subject,
            reason: reason.into(),
            remedy: line(typed, plain),
            commands: plain.iter().map(|command| prefixed(run, command)).collect(),
        }
    }
}

/// Why the coverage of tests can't be measured.
pub const LLVM_MISSING: &str =
    "llvm-cov and llvm-profdata of the compiler's LLVM, 22, are not installed";

/// The ways to mend that, of which one is enough. Only the compiler's own LLVM reads what the
/// compiler writes: a distribution has that version or has not, rustup has it wherever a network
/// leads to it.
pub fn llvm_faults(means: Means) -> [Fault; 2] {
    // What it recommends are the headers, of which there are 300 MB.
    let apt = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "llvm-22",
    ];
    let rustup = ["rustup", "component", "add", "llvm-tools"].map(str::to_owned);
    [
        means.install_by("coverage", LLVM_MISSING, &apt),
        Fault {
            subject: "coverage",
            reason: LLVM_MISSING.to_owned(),
            remedy: shown(&rustup),
            commands: vec![rustup.to_vec()],
        },
    ]
}

/// The shells in which completion cannot be tested on this machine.
pub fn shell_faults(means: Means) -> Vec<Fault> {
    let shells = SHELLS.iter().zip(means.shells_missing);
    let missing = shells.filter(|(_, missing)| *missing);
    missing
        .map(|(shell, _)| means.install(shell, format!("{shell} is not installed"), shell))
        .collect()
}

fn line(prefix: &[&str], commands: &[&[&str]]) -> String {
    let lines = commands
        .iter()
        .map(|command| shown(&prefixed(prefix, command)));
    lines.collect::<Vec<_>>().join(" && ")
}

fn prefixed(prefix: &[&str], command: &[&str]) -> Vec<String> {
    let words = prefix.iter().chain(command);
    words.map(|word| (*word).to_owned()).collect()
}

impl Fault {
    fn by_hand(
        subject: &'static str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            reason: reason.into(),
            remedy: remedy.into(),
            commands: Vec::new(),
        }
    }
}

/// A command as one would type it.
pub fn shown(command: &[String]) -> String {
    let quoted = command.iter().map(|word| {
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A version that cannot be read is taken to be new enough.
fn older(version: &str, least: (u32, u32)) -> bool {
    numbers(version).is_some_and(|numbers| numbers < least)
}

#[cfg(test)]
mod tests;
