//! What a command says on its way, as values: only `report` turns them into text.
//!
//! In `--format json` each is one line of stderr: `{"event":"pushed","component":"NAME",...}`.
//! `xtask/events.schema.json` describes them; a test derives it from these types again.

mod build;
mod cleanup;
mod command;
mod infra;
mod lock;
mod machine;
mod release;
mod rollback;
mod secrets;

use serde::Serialize;

pub use build::{ArtifactKind, BuildEvent};
pub use cleanup::CleanupEvent;
pub use command::CommandEvent;
pub use infra::InfraEvent;
pub use lock::LockEvent;
pub use machine::{MachineEvent, RehearsedFault, Shortcoming};
pub use release::ReleaseEvent;
pub use rollback::{CauseEvidence, ContainerEvidence, RollbackEvent, TaskEvidence};
pub use secrets::{SecretChange, SecretsEvent};

/// Every event, by the part of xtask that it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Event {
    Release(ReleaseEvent),
    Rollback(RollbackEvent),
    Secrets(SecretsEvent),
    Build(BuildEvent),
    Infra(InfraEvent),
    Lock(LockEvent),
    Machine(MachineEvent),
    Cleanup(CleanupEvent),
    Command(CommandEvent),
}

macro_rules! from {
    ($($variant:ident($event:ident)),*) => {$(
        impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        }
    )*};
}

from!(
    Release(ReleaseEvent),
    Rollback(RollbackEvent),
    Secrets(SecretsEvent),
    Build(BuildEvent),
    Infra(InfraEvent),
    Lock(LockEvent),
    Machine(MachineEvent),
    Cleanup(CleanupEvent),
    Command(CommandEvent)
);

impl Event {
    /// What a workflow marks as an error: title and text.
    pub(super) fn errors(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Rollback(event) => event.errors(),
            _ => Vec::new(),
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::Release(event) => event.shown(),
            Self::Rollback(event) => event.shown(),
            Self::Secrets(event) => event.shown(),
            Self::Build(event) => event.shown(),
            Self::Infra(event) => event.shown(),
            Self::Lock(event) => event.shown(),
            Self::Machine(event) => event.shown(),
            Self::Cleanup(event) => event.shown(),
            Self::Command(event) => event.shown(),
        }
    }
}

/// How an event is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something is done, or is so.
    Done,
    /// Something goes on: the next event of the same subject replaces it.
    Live,
    /// The user should know it although the command goes on.
    Warning,
    /// Lines that belong together. The first is their title.
    Block,
    /// The same about something that failed: printed with `--quiet` too.
    Failed,
    /// The same of another program: its lines stay as they are.
    Output,
    /// Asked for with `--verbose`.
    Diagnostic,
}

/// An event as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) tone: Tone,
    /// The first column: a component, or what is at work. It is not at work any more where the tone
    /// is another than live; empty: none is.
    pub(super) subject: String,
    pub(super) text: String,
}

fn done(subject: impl ToString, text: impl Into<String>) -> Shown {
    shown(Tone::Done, subject, text)
}

fn live(subject: impl ToString, text: impl Into<String>) -> Shown {
    shown(Tone::Live, subject, text)
}

fn warning(subject: impl ToString, text: impl Into<String>) -> Shown {
    shown(Tone::Warning, subject, text)
}

/// Without a subject it ends all that goes on.
fn block(subject: impl ToString, text: impl Into<String>) -> Shown {
    shown(Tone::Block, subject, text)
}

/// A block that is a failure. It ends all that goes on.
fn failed(text: impl Into<String>) -> Shown {
    shown(Tone::Failed, "", text)
}

fn output(subject: impl ToString, text: impl Into<String>) -> Shown {
    shown(Tone::Output, subject, text)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a name or a component, whichever the caller has"
)]
fn shown(tone: Tone, subject: impl ToString, text: impl Into<String>) -> Shown {
    Shown {
        tone,
        subject: subject.to_string(),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests;
