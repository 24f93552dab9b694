//! The facts about a machine that readiness depends on.

/// The facts about a machine.
#[derive(Debug, Clone)]
pub struct MachineFacts {
    pub platform: Platform,
    pub engine: EngineStatus,
    pub python: PythonStatus,
    pub infrastructure: ToolStatus,
    pub git: bool,
    /// Cargo and the compiler.
    pub rust: bool,
    pub means: FixMeans,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    Linux,
    /// WSL 1 has no Linux kernel and so no containers.
    Wsl1,
    Other(String),
}

/// The Docker engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineStatus {
    /// Neither a socket nor the program of the daemon.
    Missing,
    /// The program exists, but no engine answers.
    Stopped,
    /// The socket exists, but this user has no access.
    Denied,
    /// `DOCKER_HOST` names an engine that does not answer.
    Elsewhere { host: String },
    Answers {
        version: String,
        /// Whether this machine has the address of the bridge. It has not if the engine runs in a
        /// virtual machine or in the network namespace of a user.
        native: bool,
    },
}

/// A Python interpreter, and whether it can create virtual environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonStatus {
    /// The installed virtual environment is complete.
    NotNeeded,
    Missing,
    Found {
        program: String,
        version: (u32, u32),
        makes_environments: bool,
    },
}

/// Terraform or OpenTofu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolStatus {
    Missing,
    /// The version is only known after a thorough inspection.
    Found {
        name: String,
        version: Option<String>,
    },
}

/// The means to fix a machine: privileges and package managers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FixMeans {
    pub root: bool,
    pub sudo: bool,
    /// Whether a user can enter a password.
    pub terminal: bool,
    pub apt: bool,
    pub snap: bool,
    pub systemd: bool,
    /// Whether the engine has a script for `service`.
    pub service_script: bool,
    /// Which of `SHELLS` are not installed.
    pub shells_missing: [bool; 3],
}

/// Shells whose completion is tested.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub const PYTHON_VERSION_MIN: (u32, u32) = (3, 10);

impl PythonStatus {
    /// The program, if it can run the local AWS.
    pub fn usable(self) -> Option<String> {
        match self {
            Self::Found {
                program,
                version,
                makes_environments: true,
            } if version >= PYTHON_VERSION_MIN => Some(program),
            _ => None,
        }
    }
}

/// The first two numbers of a version: `20.10.24+dfsg1`, `v1.9.8`, `3.14.0rc1`.
pub fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version
        .trim()
        .trim_start_matches('v')
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
