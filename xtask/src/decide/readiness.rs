//! What a machine lacks to run the local environment, and what mends it. The machine is looked at
//! elsewhere; commands are values here.

pub mod found;

use serde::Serialize;

use found::{Engine, Found, Means, PYTHON_VERSION_MIN, Platform, Python, Tool, numbers};

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
        &["service", "docker", "start"]
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

impl Means {
    /// The fault that a package of Debian and Ubuntu mends.
    fn install(self, subject: &'static str, reason: impl Into<String>, package: &str) -> Fault {
        if !self.apt {
            let remedy = format!("install what Debian calls `{package}` with your package manager");
            return Fault::by_hand(subject, reason, remedy);
        }
        let update: &[&str] = &["apt-get", "update"];
        self.mend(
            subject,
            reason,
            &[update, &["apt-get", "install", "-y", package]],
        )
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
        assert_eq!(
            start(root),
            "sh -c 'setsid dockerd >/var/log/dockerd.log 2>&1 &'"
        );
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
        assert_eq!(
            install(user),
            "sudo apt-get update && sudo apt-get install -y docker.io"
        );
        let run = |means| engine_fault(Engine::Missing, means).commands.remove(0);
        assert_eq!(run(user), ["sudo", "-n", "apt-get", "update"]);
        assert_eq!(
            run(Means {
                terminal: true,
                ..user
            })[..2],
            ["sudo", "apt-get"]
        );
        let without_sudo = engine_fault(
            Engine::Missing,
            Means {
                sudo: false,
                ..user
            },
        );
        assert!(without_sudo.commands.is_empty());
        assert!(
            without_sudo.remedy.starts_with("as root: apt-get"),
            "{without_sudo:?}"
        );
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
