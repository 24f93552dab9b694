//! Events of a rollback: why, and what became of each component.

use serde::Serialize;

use super::{Shown, done, failed, warning};
use crate::catalog::Component;
use crate::decide::release::cause::{Cause, CauseKind};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RollbackEvent {
    /// A release failed; what it changed is rolled back from now on. Without a component no single
    /// one failed.
    ReleaseFailed {
        number: u64,
        component: Option<Component>,
        reason: String,
        /// All that explain it.
        causes: Vec<CauseEvidence>,
        /// Tasks that stopped of themselves, one for each way in which they did.
        tasks: Vec<TaskEvidence>,
        /// What else is known about the cause.
        notes: Vec<String>,
    },
    RolledBack {
        component: Component,
        to: String,
    },
    /// Another deployment of this component began meanwhile: it is left alone.
    LeftAlone {
        component: Component,
        by: String,
    },
    /// `by_hand` is the command that rolls it back.
    RollbackFailed {
        component: Component,
        error: String,
        by_hand: String,
    },
    /// The release had changed nothing that runs.
    NothingRolledBack {
        number: u64,
    },
    /// The release had this component, which is not there any more.
    ComponentGone {
        component: Component,
    },
    /// The release was made before this component: it stays as it is.
    ComponentNewer {
        component: Component,
    },
    AlarmsOff {
        component: Component,
    },
    AlarmsOn {
        component: Component,
    },
}

/// A cause, with what shows it and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CauseEvidence {
    pub cause: CauseKind,
    /// In the words of AWS or of the program.
    pub detail: String,
    pub remedy: String,
}

/// A task that stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct TaskEvidence {
    pub id: String,
    /// ECS's code, such as `EssentialContainerExited`.
    pub stop_code: String,
    /// ECS's words.
    pub reason: String,
    pub containers: Vec<ContainerEvidence>,
    /// The newest lines of its log, the oldest first.
    pub log: Vec<String>,
    /// Why its log could not be read.
    pub log_error: Option<String>,
    /// So many more tasks stopped the same way.
    pub more: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ContainerEvidence {
    pub name: String,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

impl RollbackEvent {
    /// What a person reads.
    pub fn text(&self) -> String {
        self.shown().text
    }

    /// What a workflow marks as an error: title and text.
    pub(super) fn errors(&self) -> Vec<(&'static str, String)> {
        let Self::ReleaseFailed {
            component, causes, ..
        } = self
        else {
            return Vec::new();
        };
        let component = component.map_or("the release", Component::name);
        let error = |it: &CauseEvidence| {
            let text = format!("{component}: {}\n{}", it.detail, it.remedy);
            (it.cause.name(), text)
        };
        causes.iter().map(error).collect()
    }

    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::ReleaseFailed {
                number,
                component,
                reason,
                causes,
                tasks,
                notes,
            } => {
                let component = component.map_or("the release", Component::name);
                let mut lines = vec![
                    format!("release {number} failed, rolling back"),
                    format!("  what        {component}"),
                    format!("  why         {reason}"),
                ];
                lines.extend(causes.iter().flat_map(CauseEvidence::lines));
                lines.extend(notes.iter().map(|note| format!("  {note}")));
                lines.extend(tasks.iter().flat_map(TaskEvidence::lines));
                failed(lines.join("\n"))
            }
            Self::RolledBack { component, to } => done(component, format!("rolled back to {to}")),
            Self::LeftAlone { component, by } => {
                warning(component, format!("left alone: superseded by {by}"))
            }
            Self::RollbackFailed {
                component, error, ..
            } => warning(component, format!("ROLLBACK FAILED: {error}")),
            Self::NothingRolledBack { .. } => done(
                "release",
                "nothing to roll back: it had changed nothing that runs",
            ),
            Self::ComponentGone { component } => {
                done(component.name(), "is not there any more and is left out")
            }
            Self::ComponentNewer { component } => done(
                component.name(),
                "is newer than that release and stays as it is",
            ),
            Self::AlarmsOff { component } => done(component, "its alarms are off for the rollback"),
            Self::AlarmsOn { component } => done(component, "its alarms are on again"),
        }
    }
}

impl CauseEvidence {
    /// As the block of a failure has it.
    pub fn lines(&self) -> [String; 2] {
        let name = self.cause.name();
        [
            format!("  cause       {name}: {}", self.detail),
            format!("  remedy      {}", self.remedy),
        ]
    }
}

impl From<Cause> for CauseEvidence {
    fn from(cause: Cause) -> Self {
        Self {
            cause: cause.kind,
            remedy: cause.kind.remedy().to_owned(),
            detail: cause.detail,
        }
    }
}

impl TaskEvidence {
    fn lines(&self) -> Vec<String> {
        let id = self.id.get(..8).unwrap_or(&self.id);
        let mut lines = vec![format!(
            "  task        {id} {}: {}",
            self.stop_code, self.reason
        )];
        lines.extend(self.containers.iter().map(ContainerEvidence::line));
        lines.extend(self.log.iter().map(|line| format!("    log       {line}")));
        if let Some(error) = &self.log_error {
            lines.push(format!("    log       could not be read: {error}"));
        }
        if self.more > 0 {
            let more = self.more;
            lines.push(format!("  tasks       {more} more stopped the same way"));
        }
        lines
    }
}

impl ContainerEvidence {
    fn line(&self) -> String {
        let Self { name, reason, .. } = self;
        let code = self
            .exit_code
            .map_or("none".to_owned(), |code| code.to_string());
        let reason = reason
            .as_ref()
            .map_or(String::new(), |it| format!(" ({it})"));
        format!("    container {name} exit code {code}{reason}")
    }
}
