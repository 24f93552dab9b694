//! The faults of a machine.

use super::*;

fn healthy_machine() -> MachineFacts {
    MachineFacts {
        platform: Platform::Linux,
        engine: EngineStatus::Answers {
            version: "20.10.24+dfsg1".into(),
            native: true,
        },
        python: PythonStatus::Found {
            program: "python3".into(),
            version: (3, 11),
            makes_environments: true,
        },
        infrastructure: ToolStatus::Found {
            name: "terraform".into(),
            version: Some("1.10.0".into()),
        },
        git: true,
        rust: true,
        means: FixMeans {
            root: true,
            apt: true,
            ..FixMeans::default()
        },
    }
}

fn engine_fault(engine: EngineStatus, means: FixMeans) -> ReadinessFault {
    let mut faults = faults(&MachineFacts {
        engine,
        means,
        ..healthy_machine()
    });
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn a_machine_with_everything_has_no_fault() {
    assert_eq!(faults(&healthy_machine()), []);
    let installed = MachineFacts {
        python: PythonStatus::NotNeeded,
        infrastructure: ToolStatus::Found {
            name: "tofu".into(),
            version: None,
        },
        ..healthy_machine()
    };
    assert_eq!(faults(&installed), []);
}

#[test]
fn all_faults_are_reported_at_once() {
    let found = MachineFacts {
        platform: Platform::Other("macos".into()),
        engine: EngineStatus::Missing,
        python: PythonStatus::Missing,
        infrastructure: ToolStatus::Missing,
        git: false,
        rust: false,
        ..healthy_machine()
    };
    let subjects: Vec<&str> = faults(&found).iter().map(|fault| fault.subject).collect();
    assert_eq!(
        subjects,
        ["platform", "docker", "python", "terraform", "git", "rust"]
    );
}

#[test]
fn a_stopped_engine_is_started_with_the_init_system_of_the_machine() {
    let root = healthy_machine().means;
    let start = |means| engine_fault(EngineStatus::Stopped, means).remedy;
    let systemd = FixMeans {
        systemd: true,
        ..root
    };
    assert_eq!(start(systemd), "systemctl start docker");
    let script = FixMeans {
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
fn commands_run_with_the_privileges_of_the_user() {
    let install = |means| engine_fault(EngineStatus::Missing, means).remedy;
    let user = FixMeans {
        root: false,
        sudo: true,
        ..healthy_machine().means
    };
    assert_eq!(
        install(healthy_machine().means),
        "apt-get update && apt-get install -y docker.io"
    );
    assert_eq!(
        install(user),
        "sudo apt-get update && sudo apt-get install -y docker.io"
    );
    let run = |means| {
        engine_fault(EngineStatus::Missing, means)
            .commands
            .remove(0)
    };
    assert_eq!(run(user), ["sudo", "-n", "apt-get", "update"]);
    assert_eq!(
        run(FixMeans {
            terminal: true,
            ..user
        })[..2],
        ["sudo", "apt-get"]
    );
    let without_sudo = engine_fault(
        EngineStatus::Missing,
        FixMeans {
            sudo: false,
            ..user
        },
    );
    assert!(without_sudo.commands.is_empty());
    assert!(
        without_sudo.remedy.starts_with("as root: apt-get"),
        "{without_sudo:?}"
    );
    let without_apt = FixMeans { apt: false, ..user };
    assert!(
        engine_fault(EngineStatus::Missing, without_apt)
            .commands
            .is_empty()
    );
}

#[test]
fn a_running_engine_may_be_unusable() {
    let answers = |version: &str, native| EngineStatus::Answers {
        version: version.into(),
        native,
    };
    let fault = engine_fault(answers("19.03.15", true), healthy_machine().means);
    assert!(fault.reason.contains("19.03.15"), "{fault:?}");
    let fault = engine_fault(answers("29.0.1", false), healthy_machine().means);
    assert!(fault.commands.is_empty(), "{fault:?}");
}

#[test]
fn an_installed_python_may_be_unusable() {
    let python = |version, makes_environments| PythonStatus::Found {
        program: "python3".into(),
        version,
        makes_environments,
    };
    for (unusable, word) in [
        (python((3, 9), true), "3.9"),
        (python((3, 12), false), "virtual"),
    ] {
        let found = MachineFacts {
            python: unusable.clone(),
            ..healthy_machine()
        };
        assert!(faults(&found)[0].reason.contains(word), "{unusable:?}");
        assert_eq!(unusable.usable(), None);
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
fn llvm_is_installed_by_apt_or_rustup() {
    let remedies = |means| llvm_faults(means).map(|fault| fault.remedy);
    let rustup = "rustup component add llvm-tools";
    let apt = "apt-get update && apt-get install -y --no-install-recommends llvm-22";
    assert_eq!(remedies(healthy_machine().means), [apt, rustup]);
    let without_apt = FixMeans {
        apt: false,
        ..healthy_machine().means
    };
    let by_hand = "install the counterpart of the Debian package `llvm-22`";
    assert_eq!(remedies(without_apt), [by_hand, rustup]);
}
