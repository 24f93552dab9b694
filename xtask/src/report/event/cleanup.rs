//! Events of a cleanup.

use serde::Serialize;

use super::{Shown, block, done, warning};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CleanupEvent {
    /// What would be removed: the document that `cleanup --dry-run` answers.
    CleanupPlan {
        plan: serde_json::Value,
        #[serde(skip)]
        text: String,
    },
    NothingToRemove,
    /// The record of a cleanup was created: from now on it holds the environment.
    CleanupOpened {
        number: u64,
    },
    /// The record has its outcome.
    CleanupClosed {
        number: u64,
        outcome: String,
    },
    Removed {
        /// A component, or `ledger`.
        subject: String,
        names: Vec<String>,
    },
    NotRemoved {
        subject: String,
        names: Vec<String>,
        error: String,
    },
}

impl CleanupEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::CleanupPlan { text, .. } => block("cleanup", text),
            Self::NothingToRemove => done("cleanup", "nothing to remove"),
            Self::CleanupOpened { number } => done("cleanup", format!("{number} opened")),
            Self::CleanupClosed { number, outcome } => {
                done("cleanup", format!("{number} closed: {outcome}"))
            }
            Self::Removed { subject, names } => {
                done(subject, format!("removed {}", names.join(", ")))
            }
            Self::NotRemoved {
                subject,
                names,
                error,
            } => warning(
                subject,
                format!("{} not removed: {error}", names.join(", ")),
            ),
        }
    }
}
