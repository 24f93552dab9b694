//! What was found on a machine, as values.

/// What was found on this machine.
#[derive(Debug, Clone)]
pub struct Found {
    pub platform: Platform,
    pub engine: Engine,
    pub python: Python,
    pub infrastructure: Tool,
    pub git: bool,
    /// Cargo and the compiler.
    pub rust: bool,
    pub means: Means,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    Linux,
    /// The first WSL has no Linux kernel, so no containers.
    FirstWsl,
    Other(String),
}

/// The Docker engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Neither a socket nor a daemon's program.
    Missing,
    /// The program is there and nothing answers.
    Stopped,
    /// The socket is there and this user may not use it.
    Denied,
    /// `DOCKER_HOST` names an engine that does not answer.
    Elsewhere { host: String },
    Answers {
        version: String,
        /// Whether this machine has the bridge's address: not so where the engine runs in a
        /// virtual machine or in a user's own network namespace.
        native: bool,
    },
}

/// The Python that was found, and whether it can make a virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Python {
    /// What is installed already will do.
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
pub enum Tool {
    Missing,
    /// Its version is asked for only where there is time for it.
    Found {
        name: String,
        version: Option<String>,
    },
}

/// What this machine can be mended with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    pub root: bool,
    pub sudo: bool,
    /// Whether somebody can type a password.
    pub terminal: bool,
    pub apt: bool,
    pub snap: bool,
    pub systemd: bool,
    /// The engine has a script for `service`.
    pub service_script: bool,
    /// Which of `SHELLS` are not installed.
    pub shells_missing: [bool; 3],
}

/// Shells whose completion is tested.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub const PYTHON_VERSION_MIN: (u32, u32) = (3, 10);

impl Python {
    /// The program, if it is fit to run the local AWS.
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
