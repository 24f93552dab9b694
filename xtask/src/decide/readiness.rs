//! What a machine lacks to run the local environment, and what mends it. The machine is looked at
//! elsewhere; commands are values here.

use serde::Serialize;

/// What was found on this machine.
#[derive(Debug, Clone)]
pub struct Found {
    pub platform: Platform,
    pub engine: Engine,
    pub python: Python,
    pub infrastructure: Tool,
    pub git: bool,
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

/// The newest Python that was found, and whether it can make a virtual environment.
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
}

/// One thing that is missing.
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
const PYTHON_VERSION_MIN: (u32, u32) = (3, 10);
/// The first with `use_lockfile` of the S3 backend.
const INFRASTRUCTURE_VERSION_MIN: (u32, u32) = (1, 10);

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

/// Every fault, in the order in which they are best mended.
pub fn faults(found: &Found) -> Vec<Fault> {
    [
        platform(&found.platform),
        engine(&found.engine, found.means),
        python(&found.python, found.means),
        infrastructure(&found.infrastructure, found.means),
        git(found.git, found.means),
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
        Engine::Stopped => Fault::mended_by(
            "docker",
            "the Docker engine does not run",
            vec![means.as_root(start_engine(means))],
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
        &["service", "docker", "start"]
    } else {
        &["sh", "-c", "dockerd >/var/log/dockerd.log 2>&1 &"]
    }
}

fn python(python: &Python, means: Means) -> Option<Fault> {
    let fault = match python {
        Python::NotNeeded => return None,
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
            "python3-venv",
        ),
        Python::Found { .. } => return None,
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
        let install = &["snap", "install", "--classic", "opentofu"];
        Fault::mended_by("terraform", reason, vec![means.as_root(install)])
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

impl Means {
    /// The fault that a package of Debian and Ubuntu mends.
    fn install(self, subject: &'static str, reason: impl Into<String>, package: &str) -> Fault {
        if !self.apt {
            let remedy = format!("install what Debian calls `{package}` with your package manager");
            return Fault::by_hand(subject, reason, remedy);
        }
        let commands = vec![
            self.as_root(&["apt-get", "update"]),
            self.as_root(&["apt-get", "install", "-y", package]),
        ];
        Fault::mended_by(subject, reason, commands)
    }

    fn as_root(self, command: &[&str]) -> Vec<String> {
        let prefix: &[&str] = match self {
            Self { root: true, .. } => &[],
            // Without a terminal nobody could type the password, and it would wait for ever.
            Self {
                terminal: false, ..
            } => &["sudo", "-n"],
            Self { .. } => &["sudo"],
        };
        [prefix, command]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
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

    fn mended_by(
        subject: &'static str,
        reason: impl Into<String>,
        commands: Vec<Vec<String>>,
    ) -> Self {
        let lines: Vec<String> = commands.iter().map(|command| shown(command)).collect();
        Self {
            subject,
            reason: reason.into(),
            remedy: lines.join(" && "),
            commands,
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

/// The first two numbers of a version: `20.10.24+dfsg1`, `v1.9.8`, `3.14.0rc1`.
pub fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version
        .trim()
        .trim_start_matches('v')
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Found {
        Found {
            platform: Platform::Linux,
            engine: Engine::Answers {
                version: "20.10.24+dfsg1".into(),
                native: true,
            },
            python: Python::Found {
                program: "python3".into(),
                version: (3, 11),
                makes_environments: true,
            },
            infrastructure: Tool::Found {
                name: "terraform".into(),
                version: Some("1.10.0".into()),
            },
            git: true,
            means: Means {
                root: true,
                apt: true,
                ..Means::default()
            },
        }
    }

    fn engine_fault(engine: Engine, means: Means) -> Fault {
        let mut faults = faults(&Found {
            engine,
            means,
            ..well()
        });
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    }

    #[test]
    fn a_machine_with_everything_has_no_fault() {
        assert_eq!(faults(&well()), []);
        let installed = Found {
            python: Python::NotNeeded,
            infrastructure: Tool::Found {
                name: "tofu".into(),
                version: None,
            },
            ..well()
        };
        assert_eq!(faults(&installed), []);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let found = Found {
            platform: Platform::Other("macos".into()),
            engine: Engine::Missing,
            python: Python::Missing,
            infrastructure: Tool::Missing,
            git: false,
            ..well()
        };
        let subjects: Vec<&str> = faults(&found).iter().map(|fault| fault.subject).collect();
        assert_eq!(
            subjects,
            ["platform", "docker", "python", "terraform", "git"]
        );
    }

    #[test]
    fn a_stopped_engine_is_started_by_what_the_machine_has() {
        let root = well().means;
        let start = |means| engine_fault(Engine::Stopped, means).remedy;
        assert_eq!(
            start(Means {
                systemd: true,
                ..root
            }),
            "systemctl start docker"
        );
        assert_eq!(
            start(Means {
                service_script: true,
                ..root
            }),
            "service docker start"
        );
        assert_eq!(start(root), "sh -c 'dockerd >/var/log/dockerd.log 2>&1 &'");
    }

    #[test]
    fn commands_are_run_as_who_may_run_them() {
        let install = |means| engine_fault(Engine::Missing, means).remedy;
        let user = Means {
            root: false,
            sudo: true,
            ..well().means
        };
        assert_eq!(
            install(well().means),
            "apt-get update && apt-get install -y docker.io"
        );
        assert!(install(user).starts_with("sudo -n apt-get update"));
        let at_terminal = Means {
            terminal: true,
            ..user
        };
        assert!(install(at_terminal).starts_with("sudo apt-get update"));
        let without_apt = Means { apt: false, ..user };
        assert!(
            engine_fault(Engine::Missing, without_apt)
                .commands
                .is_empty()
        );
    }

    #[test]
    fn engines_that_answer_may_still_be_unfit() {
        let answers = |version: &str, native| Engine::Answers {
            version: version.into(),
            native,
        };
        let fault = engine_fault(answers("19.03.15", true), well().means);
        assert!(fault.reason.contains("19.03.15"), "{fault:?}");
        let fault = engine_fault(answers("29.0.1", false), well().means);
        assert!(fault.commands.is_empty(), "{fault:?}");
    }

    #[test]
    fn pythons_that_are_there_may_still_be_unfit() {
        let python = |version, makes_environments| Python::Found {
            program: "python3".into(),
            version,
            makes_environments,
        };
        for (unfit, word) in [
            (python((3, 9), true), "3.9"),
            (python((3, 12), false), "virtual"),
        ] {
            let found = Found {
                python: unfit.clone(),
                ..well()
            };
            assert!(faults(&found)[0].reason.contains(word), "{unfit:?}");
            assert_eq!(unfit.usable(), None);
        }
        assert_eq!(python((3, 10), true).usable().as_deref(), Some("python3"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("20.10.24+dfsg1"), Some((20, 10)));
        assert_eq!(numbers("v1.9.8"), Some((1, 9)));
        assert!(older("1.9.8", INFRASTRUCTURE_VERSION_MIN));
        assert!(!older("1.10.0-rc1", INFRASTRUCTURE_VERSION_MIN));
        assert!(!older("unknown", INFRASTRUCTURE_VERSION_MIN));
    }
}
