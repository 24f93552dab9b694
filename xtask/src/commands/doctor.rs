//! `doctor`: what is missing on this machine; `--fix` installs it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::decide::machine::readiness::{ReadinessFault, faults, shell_text};
use crate::failure::Failure;
use crate::ports::{Depth, Machine};
use crate::report::{CommandEvent, MachineEvent, Report, Shortcoming};

/// How long a service that was started may take until it answers.
const FIX_LIMIT: Duration = Duration::from_secs(20);
const FIX_INTERVAL: Duration = Duration::from_millis(500);

/// Parts of a definition that have no effect on the local AWS, each with what it is. The overlay of
/// the emulator reads the same file.
const NOT_HONORED: &str = include_str!("../../emulator/overlay/not_honored.json");

pub async fn doctor(fix: bool, machine: &dyn Machine, report: &Report) -> Result<()> {
    let found = missing(fix, machine, report).await;
    report.data(&found, &table(&found));
    if found.is_empty() {
        report.emit(MachineEvent::NothingMissing);
    }
    report.emit(MachineEvent::NotHonored {
        parts: serde_json::from_str(NOT_HONORED).context("not_honored.json")?,
    });
    judged(fix, &found)
}

/// As `doctor --fix`, for another command: what is missing is an event, not the result.
pub async fn make_ready(machine: &dyn Machine, report: &Report) -> Result<()> {
    let found = missing(true, machine, report).await;
    if !found.is_empty() {
        let missing = found.iter().map(shortcoming).collect();
        report.emit(MachineEvent::Missing { missing });
    }
    judged(true, &found)
}

/// What is missing; with `fix`, after everything that can be installed was installed.
async fn missing(fix: bool, machine: &dyn Machine, report: &Report) -> Vec<ReadinessFault> {
    let mut found = faults(&machine.inspect(Depth::Thorough).await);
    let mut tried = Vec::new();
    // Fixing one fault may show the next: an engine that was installed still has to be started.
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

/// Fails with everything that keeps the local AWS from running, before anything is started.
pub async fn require_local(machine: &dyn Machine) -> Result<()> {
    let mut found = faults(&machine.inspect(Depth::Quick).await);
    // Not needed for that: git only names the commit, Rust compiles what is not built yet.
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

/// Waits until this fault is gone, for a limited time, and returns the faults that are left.
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
