//! What is told of a machine, from what was found on it.

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
        rust: true,
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
        rust: false,
        ..well()
    };
    let subjects: Vec<&str> = faults(&found).iter().map(|fault| fault.subject).collect();
    assert_eq!(
        subjects,
        ["platform", "docker", "python", "terraform", "git", "rust"]
    );
}

#[test]
fn a_stopped_engine_is_started_by_what_the_machine_has() {
    let root = well().means;
    let start = |means| engine_fault(Engine::Stopped, means).remedy;
    let systemd = Means {
        systemd: true,
        ..root
    };
    assert_eq!(start(systemd), "systemctl start docker");
    let script = Means {
        service_script: true,
        ..root
    };
    assert!(start(script).starts_with("sh -c 'service docker start || {"));
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

#[test]
fn llvm_comes_by_apt_and_else_by_rustup() {
    let remedies = |means| llvm_faults(means).map(|fault| fault.remedy);
    let rustup = "rustup component add llvm-tools";
    let apt = "apt-get update && apt-get install -y --no-install-recommends llvm-22";
    assert_eq!(remedies(well().means), [apt, rustup]);
    let without_apt = Means {
        apt: false,
        ..well().means
    };
    let by_hand = "install what Debian calls `llvm-22` with your package manager";
    assert_eq!(remedies(without_apt), [by_hand, rustup]);
}
