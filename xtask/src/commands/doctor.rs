//! What is missing on this machine, and mending it.

use std::time::Duration;

use anyhow::Result;

use crate::decide::machine::readiness::{ReadinessFault, faults, shell_text};
use crate::failure::Failure;
use crate::ports::{Depth, Machine};
use crate::report::{CommandEvent, MachineEvent, Report, Shortcoming};

/// A service that was started needs a moment until it answers.
const FIX_LIMIT: Duration = Duration::from_secs(20);
const FIX_INTERVAL: Duration = Duration::from_millis(500);

pub async fn doctor(fix: bool, machine: &dyn Machine, report: &Report) -> Result<()> {
    let found = missing(fix, machine, report).await;
    report.data(&found, &table(&found));
    if found.is_empty() {
        report.emit(MachineEvent::NothingMissing);
    }
    judged(fix, &found)
}

/// As `doctor --fix`, before another command, whose result is its own.
pub async fn make_ready(machine: &dyn Machine, report: &Report) -> Result<()> {
    let found = missing(true, machine, report).await;
    if !found.is_empty() {
        let missing = found.iter().map(shortcoming).collect();
        report.emit(MachineEvent::Missing { missing });
    }
    judged(true, &found)
}

/// What is missing, and with `fix` what still is once everything was tried.
async fn missing(fix: bool, machine: &dyn Machine, report: &Report) -> Vec<ReadinessFault> {
    let mut found = faults(&machine.inspect(Depth::Thorough).await);
    let mut tried = Vec::new();
    // Mending one fault may show the next: an engine that was installed still has to be started.
    while let Some(fault) = next(&found, &tried).filter(|_| fix) {
        found = match fix_fault(&fault, machine, report).await {
            Ok(()) => without(&fault, machine).await,
            Err(error) => {
                report.emit(CommandEvent::ErrorIgnored {
                    subject: fault.subject.to_owned(),
                    error: format!("{error:#}"),
                });
                faults(&machine.inspect(Depth::Thorough).await)
            }
        };
        tried.push(fault);
    }
    found
}

fn judged(fix: bool, found: &[ReadinessFault]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lacks = found.iter().map(|fault| fault.subject);
    let message = format!("missing: {}", lacks.collect::<Vec<_>>().join(", "));
    let mut failure = Failure::not_ready(message);
    if !fix && found.iter().any(|fault| !fault.commands.is_empty()) {
        failure = failure.hint("cargo xtask doctor --fix");
    }
    Err(failure.into())
}

/// Everything that keeps the local environment from running, at once, before anything is started.
pub async fn require_local(machine: &dyn Machine) -> Result<()> {
    let mut found = faults(&machine.inspect(Depth::Quick).await);
    // It runs without: git names a commit, Rust compiles what is not built yet.
    found.retain(|fault| !["git", "rust"].contains(&fault.subject));
    if found.is_empty() {
        return Ok(());
    }
    let reasons: Vec<&str> = found.iter().map(|fault| fault.reason.as_str()).collect();
    let mut remedies: Vec<&str> = found.iter().map(|fault| fault.remedy.as_str()).collect();
    if found.iter().any(|fault| !fault.commands.is_empty()) {
        remedies.push("or let `cargo xtask doctor --fix` run these commands");
    }
    Err(Failure::not_ready(reasons.join("; "))
        .hint(remedies.join("\n"))
        .into())
}

fn next(found: &[ReadinessFault], tried: &[ReadinessFault]) -> Option<ReadinessFault> {
    let fixable = |fault: &&ReadinessFault| !fault.commands.is_empty() && !tried.contains(fault);
    found.iter().find(fixable).cloned()
}

pub(super) async fn fix_fault(
    fault: &ReadinessFault,
    machine: &dyn Machine,
    report: &Report,
) -> Result<()> {
    report.emit(MachineEvent::Fixing {
        subject: fault.subject.to_owned(),
        reason: fault.reason.clone(),
    });
    for command in &fault.commands {
        report.emit(MachineEvent::Running {
            subject: fault.subject.to_owned(),
            command: shell_text(command),
        });
        machine.run(command).await?;
    }
    Ok(())
}

/// What is missing once this fault is gone, or has not gone in time.
async fn without(fault: &ReadinessFault, machine: &dyn Machine) -> Vec<ReadinessFault> {
    let deadline = tokio::time::Instant::now() + FIX_LIMIT;
    loop {
        let found = faults(&machine.inspect(Depth::Thorough).await);
        if !found.contains(fault) || tokio::time::Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(FIX_INTERVAL).await;
    }
}

fn shortcoming(fault: &ReadinessFault) -> Shortcoming {
    Shortcoming {
        subject: fault.subject.to_owned(),
        reason: fault.reason.clone(),
        remedy: fault.remedy.clone(),
    }
}

fn table(found: &[ReadinessFault]) -> String {
    let lines = found.iter().map(|fault| {
        format!(
            "{:<11} {}\n{:<11} {}\n",
            fault.subject, fault.reason, "", fault.remedy
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::decide::machine::readiness::facts::{
        EngineStatus, FixMeans, MachineFacts, Platform, PythonStatus, ToolStatus,
    };
    use crate::failure;
    use crate::report::Format;
    use crate::report::testing::captured;

    /// A machine on which every command works: installing stops short of starting, as in a
    /// container, and starting takes two looks.
    struct Fake {
        found: Mutex<MachineFacts>,
        looks_until_started: Mutex<u32>,
        ran: Mutex<Vec<String>>,
        commands_fail: bool,
    }

    impl Fake {
        fn new(engine: EngineStatus, infrastructure: ToolStatus) -> Self {
            let means = FixMeans {
                root: true,
                apt: true,
                ..FixMeans::default()
            };
            Self {
                found: Mutex::new(MachineFacts {
                    platform: Platform::Linux,
                    engine,
                    python: PythonStatus::NotNeeded,
                    infrastructure,
                    git: true,
                    rust: true,
                    means,
                }),
                looks_until_started: Mutex::new(u32::MAX),
                ran: Mutex::default(),
                commands_fail: false,
            }
        }
    }

    #[async_trait]
    impl Machine for Fake {
        async fn inspect(&self, _: Depth) -> MachineFacts {
            let mut found = self.found.lock().unwrap();
            let mut looks = self.looks_until_started.lock().unwrap();
            *looks = looks.saturating_sub(1);
            if *looks == 0 {
                found.engine = EngineStatus::Answers {
                    version: "29.0.0".into(),
                    native: true,
                };
            }
            found.clone()
        }

        async fn run(&self, command: &[String]) -> Result<()> {
            let line = shell_text(command);
            self.ran.lock().unwrap().push(line.clone());
            anyhow::ensure!(!self.commands_fail, "`{line}` ended with 100");
            if line.contains("install") {
                self.found.lock().unwrap().engine = EngineStatus::Stopped;
            } else if line.contains("dockerd") {
                *self.looks_until_started.lock().unwrap() = 3;
            }
            Ok(())
        }
    }

    fn terraform() -> ToolStatus {
        ToolStatus::Found {
            name: "terraform".into(),
            version: Some("1.14.0".into()),
        }
    }

    #[tokio::test]
    async fn without_the_flag_nothing_is_run() {
        let machine = Fake::new(EngineStatus::Missing, terraform());
        let (report, data, _) = captured(Format::Human);
        let error = doctor(false, &machine, &report).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let hint = failure::of(&error).unwrap().hint.as_deref();
        assert_eq!(hint, Some("cargo xtask doctor --fix"));
        assert!(
            data.text().contains("apt-get install -y docker.io"),
            "{}",
            data.text()
        );
        assert!(machine.ran.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_installed_is_started_too_and_each_command_is_shown_first() {
        let machine = Fake::new(EngineStatus::Missing, terraform());
        let (report, _, talk) = captured(Format::Human);
        doctor(true, &machine, &report).await.unwrap();
        let ran = machine.ran.lock().unwrap().clone();
        assert_eq!(ran.len(), 3, "{ran:?}");
        assert_eq!(ran[1], "apt-get install -y docker.io");
        assert!(ran[2].contains("dockerd"), "{ran:?}");
        for command in ran {
            assert!(
                talk.text().contains(&format!("$ {command}\n")),
                "{}",
                talk.text()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_mended_is_tried_once_and_told() {
        let mut machine = Fake::new(EngineStatus::Missing, ToolStatus::Missing);
        machine.commands_fail = true;
        let (report, _, talk) = captured(Format::Human);
        let error = doctor(true, &machine, &report).await.unwrap_err();
        assert_eq!(error.to_string(), "missing: docker, terraform");
        assert_eq!(machine.ran.lock().unwrap().len(), 1);
        assert!(talk.text().contains("ended with 100"), "{}", talk.text());
    }

    #[tokio::test]
    async fn all_that_keeps_the_local_environment_from_running_is_told_at_once() {
        let machine = Fake::new(EngineStatus::Stopped, ToolStatus::Missing);
        let error = require_local(&machine).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let failure = failure::of(&error).unwrap();
        assert!(failure.message.contains("Docker"), "{failure}");
        assert!(failure.message.contains("Terraform"), "{failure}");
        assert_eq!(failure.hint.as_ref().unwrap().lines().count(), 3);
    }
}
