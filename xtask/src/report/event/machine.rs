//! Events of this machine: what it lacks, and the local AWS.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Shown, block, done, live, warning};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MachineEvent {
    /// All that is missing on this machine.
    Missing {
        missing: Vec<Shortcoming>,
    },
    NothingMissing,
    /// Parts of a task definition that have no effect on the local AWS, and what each one is.
    NotHonored {
        parts: BTreeMap<String, String>,
    },
    /// Something that is missing is about to be installed or started.
    Fixing {
        subject: String,
        reason: String,
    },
    /// A command that changes this machine is run.
    Running {
        subject: String,
        command: String,
    },
    /// Packages of Python come into a virtual environment. It happens once.
    PackagesMissing {
        subject: String,
        purpose: String,
    },
    MakingVirtualEnvironment {
        subject: String,
    },
    InstallingPackages {
        subject: String,
    },
    /// Another run of xtask is at the local AWS.
    LocalBusy,
    LocalStarting,
    LocalStopping,
    /// The services that ran before come back.
    LocalSettling,
    /// Not all of them did.
    LocalUnsettled,
    LocalUp {
        endpoint: String,
        started: bool,
    },
    LocalDown {
        state_kept: bool,
    },
    /// A first apply was cut off, so its remains are deleted.
    LocalBegunAnew,
    /// Calls of the command that follows fail on purpose.
    Rehearsing {
        seed: u64,
        rate: f64,
        stale: f64,
        blackout_s: u64,
    },
    /// The calls that did.
    Rehearsed {
        faults: Vec<RehearsedFault>,
    },
}

/// A fault that a rehearsal put in front of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct RehearsedFault {
    pub fault: String,
    /// The operation of AWS, or method and path.
    pub call: String,
    pub count: u32,
}

/// Something that a machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Shortcoming {
    pub subject: String,
    pub reason: String,
    /// A command to copy, or what to do.
    pub remedy: String,
}

impl MachineEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::Missing { missing } => block(
                "doctor",
                missing.iter().map(Shortcoming::lines).collect::<String>(),
            ),
            Self::NothingMissing => done("doctor", "nothing is missing"),
            Self::NotHonored { parts } => {
                let lines = parts
                    .iter()
                    .map(|(key, what)| format!("  {key:<22} {what}\n"));
                let listed = lines.collect::<String>();
                block(
                    "doctor",
                    format!("The local AWS ignores of a task definition:\n{listed}"),
                )
            }
            Self::Fixing { subject, reason } => done(subject, reason),
            Self::Running { subject, command } => done(subject, format!("$ {command}")),
            Self::PackagesMissing { subject, purpose } => {
                done(subject, format!("installing {purpose}; this happens once"))
            }
            Self::MakingVirtualEnvironment { subject } => {
                live(subject, "making a virtual environment")
            }
            Self::InstallingPackages { subject } => live(subject, "installing packages"),
            Self::LocalBusy => live("local", "waiting for another run"),
            Self::LocalStarting => live("local", "starting the local AWS"),
            Self::LocalStopping => live("local", "stopping the local AWS"),
            Self::LocalSettling => live("local", "waiting until the services of before run again"),
            Self::LocalUnsettled => warning(
                "local",
                "not every service has come back: cargo xtask status",
            ),
            Self::LocalUp { endpoint, started } => {
                let text = if *started { "came up" } else { "is up" };
                done("local", format!("{text} at {endpoint}"))
            }
            Self::LocalDown { state_kept: true } => done("local", "is down; its state is kept"),
            Self::LocalDown { state_kept: false } => done("local", "is down; its state is deleted"),
            Self::LocalBegunAnew => warning(
                "local",
                "an apply of its infrastructure was cut off before its first release: beginning anew",
            ),
            Self::Rehearsing {
                seed,
                rate,
                stale,
                blackout_s,
            } => warning(
                "rehearsal",
                format!(
                    "CALLS FAIL ON PURPOSE: --seed {seed}, {} of the calls, {} of the reads stale, \
                     {blackout_s} s without a network",
                    percent(*rate),
                    percent(*stale)
                ),
            ),
            Self::Rehearsed { faults } => {
                let count: u32 = faults.iter().map(|it| it.count).sum();
                let lines = faults.iter().map(RehearsedFault::line);
                block(
                    "rehearsal",
                    format!(
                        "{count} calls failed on purpose\n{}",
                        lines.collect::<String>()
                    ),
                )
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

impl RehearsedFault {
    fn line(&self) -> String {
        let Self { fault, call, count } = self;
        format!("{fault:<11} {count} x {call}\n")
    }
}

impl Shortcoming {
    fn lines(&self) -> String {
        let Self {
            subject,
            reason,
            remedy,
        } = self;
        format!("{subject:<11} {reason}\n{:<11} {remedy}\n", "")
    }
}
