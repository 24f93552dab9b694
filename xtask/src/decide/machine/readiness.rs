//! What a machine lacks to run the local environment, and the commands that fix it. Inspecting the
//! machine and running the commands is up to the caller.

pub mod facts;

use serde::Serialize;

use facts::{
    EngineStatus, FixMeans, MachineFacts, PYTHON_VERSION_MIN, Platform, PythonStatus, SHELLS,
    ToolStatus, numbers,
};

/// Something that is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadinessFault {
    pub subject: &'static str,
    pub reason: String,
    /// For people: a command to copy, or an instruction.
    pub remedy: String,
    /// The commands of `doctor --fix`; empty if only a person can fix it.
    pub commands: Vec<Vec<String>>,
}

const ENGINE_VERSION_MIN: (u32, u32) = (20, 10);
/// The first version with `use_lockfile` in the S3 backend.
const INFRASTRUCTURE_VERSION_MIN: (u32, u32) = (1, 10);

/// Every fault, in the order in which to fix them.
pub fn faults(found: &MachineFacts) -> Vec<ReadinessFault> {
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

fn platform(platform: &Platform) -> Option<ReadinessFault> {
    let reason = match platform {
        Platform::Linux => return None,
        Platform::Wsl1 => "this is WSL 1, which cannot run containers".to_owned(),
        Platform::Other(name) => format!("the local environment does not support {name}"),
    };
    let remedy = "use Linux, or WSL 2, with a Docker engine of its own";
    Some(ReadinessFault::by_hand("platform", reason, remedy))
}

fn engine(engine: &EngineStatus, means: FixMeans) -> Option<ReadinessFault> {
    let fault = match engine {
        EngineStatus::Missing => {
            means.install("docker", "the Docker engine is not installed", "docker.io")
        }
        EngineStatus::Stopped => means.fix(
            "docker",
            "the Docker engine is not running",
            &[start_engine(means)],
        ),
        EngineStatus::Denied => ReadinessFault::by_hand(
            "docker",
            "this user has no access to the socket of the Docker engine",
            "sudo usermod -aG docker \"$USER\", then log in again",
        ),
        EngineStatus::Elsewhere { host } => ReadinessFault::by_hand(
            "docker",
            format!("no Docker engine answers at {host} (DOCKER_HOST)"),
            "unset DOCKER_HOST, or start that engine",
        ),
        EngineStatus::Answers { version, .. } if older(version, ENGINE_VERSION_MIN) => means
            .install(
                "docker",
                format!("Docker engine {version} is older than 20.10"),
                "docker.io",
            ),
        EngineStatus::Answers { native: false, .. } => ReadinessFault::by_hand(
            "docker",
            "the Docker engine does not run directly on this machine: its bridge has no address here \
             (Docker Desktop, a rootless or a remote engine)",
            "install the engine of your Linux distribution and use it: \
             export DOCKER_HOST=unix:///var/run/docker.sock",
        ),
        EngineStatus::Answers { .. } => return None,
    };
    Some(fault)
}

fn start_engine(means: FixMeans) -> &'static [&'static str] {
    if means.systemd {
        &["systemctl", "start", "docker"]
    } else if means.service_script {
        // The script raises limits, which fails in some containers.
        &[
            "sh",
            "-c",
            "service docker start || { setsid dockerd >/var/log/dockerd.log 2>&1 & }",
        ]
    } else {
        &["sh", "-c", "setsid dockerd >/var/log/dockerd.log 2>&1 &"]
    }
}

fn python(python: &PythonStatus, means: FixMeans) -> Option<ReadinessFault> {
    let fault = match python {
        PythonStatus::Missing => {
            means.install("python", "Python 3 is not installed", "python3-venv")
        }
        PythonStatus::Found {
            program, version, ..
        } if *version < PYTHON_VERSION_MIN => ReadinessFault::by_hand(
            "python",
            format!(
                "{program} is Python {}.{}, the local AWS needs 3.10 or later",
                version.0, version.1
            ),
            "install Python 3.10 or later; `python3.10` to `python3.14` on the PATH are used too",
        ),
        PythonStatus::Found {
            program,
            makes_environments: false,
            ..
        } => means.install(
            "python",
            format!("{program} cannot create virtual environments"),
            &format!("{program}-venv"),
        ),
        PythonStatus::NotNeeded | PythonStatus::Found { .. } => return None,
    };
    Some(fault)
}

fn infrastructure(tool: &ToolStatus, means: FixMeans) -> Option<ReadinessFault> {
    let reason = match tool {
        ToolStatus::Missing => "neither Terraform nor OpenTofu is installed".to_owned(),
        ToolStatus::Found {
            name,
            version: Some(version),
        } if older(version, INFRASTRUCTURE_VERSION_MIN) => {
            format!("{name} {version} is older than 1.10")
        }
        ToolStatus::Found { .. } => return None,
    };
    Some(if means.snap && *tool == ToolStatus::Missing {
        let install: &[&str] = &["snap", "install", "--classic", "opentofu"];
        means.fix("terraform", reason, &[install])
    } else {
        ReadinessFault::by_hand(
            "terraform",
            reason,
            "follow https://opentofu.org/docs/intro/install or \
             https://developer.hashicorp.com/terraform/install (Debian and Ubuntu have no package)",
        )
    })
}

fn git(found: bool, means: FixMeans) -> Option<ReadinessFault> {
    (!found).then(|| means.install("git", "git is not installed", "git"))
}

fn rust(found: bool) -> Option<ReadinessFault> {
    let reason = "cargo and rustc are not both on the PATH";
    let remedy = "follow https://rustup.rs, or add ~/.cargo/bin to the PATH";
    (!found).then(|| ReadinessFault::by_hand("rust", reason, remedy))
}

impl FixMeans {
    /// A fault that a package of Debian and Ubuntu fixes.
    fn install(
        self,
        subject: &'static str,
        reason: impl Into<String>,
        package: &str,
    ) -> ReadinessFault {
        self.install_by(subject, reason, &["apt-get", "install", "-y", package])
    }

    /// Like `install`, with a command whose last argument is the package.
    fn install_by(
        self,
        subject: &'static str,
        reason: impl Into<String>,
        command: &[&str],
    ) -> ReadinessFault {
        if !self.apt {
            let package = command.last().copied().unwrap_or_default();
            let remedy = format!("install the counterpart of the Debian package `{package}`");
            return ReadinessFault::by_hand(subject, reason, remedy);
        }
        let update: &[&str] = &["apt-get", "update"];
        self.fix(subject, reason, &[update, command])
    }

    /// A fault that commands of root fix, if this user may run them.
    fn fix(
        self,
        subject: &'static str,
        reason: impl Into<String>,
        plain: &[&[&str]],
    ) -> ReadinessFault {
        let (typed, run): (&[&str], &[&str]) = match self {
            Self { root: true, .. } => (&[], &[]),
            Self { sudo: false, .. } => {
                let remedy = format!("as root: {}", line(&[], plain));
                return ReadinessFault::by_hand(subject, reason, remedy);
            }
            Self { terminal: true, .. } => (&["sudo"], &["sudo"]),
            // Without a terminal, sudo must not wait for a password.
            Self { .. } => (&["sudo"], &["sudo", "-n"]),
        };
        ReadinessFault {
            subject,
            reason: reason.into(),
            remedy: line(typed, plain),
            commands: plain.iter().map(|command| prefixed(run, command)).collect(),
        }
    }
}

/// The reason why coverage cannot be measured.
pub const LLVM_MISSING: &str =
    "llvm-cov and llvm-profdata of LLVM 22, the version of the compiler, are not installed";

/// Two ways to fix that, of which one suffices. Profiles can only be read by the LLVM version of
/// the compiler, which not every distribution has; rustup has it.
pub fn llvm_faults(means: FixMeans) -> [ReadinessFault; 2] {
    // The recommended packages are 300 MB of headers.
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
        ReadinessFault {
            subject: "coverage",
            reason: LLVM_MISSING.to_owned(),
            remedy: shell_text(&rustup),
            commands: vec![rustup.to_vec()],
        },
    ]
}

/// The shells in which completion cannot be tested on this machine.
pub fn shell_faults(means: FixMeans) -> Vec<ReadinessFault> {
    let shells = SHELLS.iter().zip(means.shells_missing);
    let missing = shells.filter(|(_, missing)| *missing);
    missing
        .map(|(shell, _)| means.install(shell, format!("{shell} is not installed"), shell))
        .collect()
}

fn line(prefix: &[&str], commands: &[&[&str]]) -> String {
    let lines = commands
        .iter()
        .map(|command| shell_text(&prefixed(prefix, command)));
    lines.collect::<Vec<_>>().join(" && ")
}

fn prefixed(prefix: &[&str], command: &[&str]) -> Vec<String> {
    let words = prefix.iter().chain(command);
    words.map(|word| (*word).to_owned()).collect()
}

impl ReadinessFault {
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

/// A command as text for a shell.
pub fn shell_text(command: &[String]) -> String {
    let quoted = command.iter().map(|word| {
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Whether a version is too old. One that cannot be parsed counts as new enough.
fn older(version: &str, least: (u32, u32)) -> bool {
    numbers(version).is_some_and(|numbers| numbers < least)
}

#[cfg(test)]
mod tests;
