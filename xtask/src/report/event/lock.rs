//! Events about who may change an environment: its lock, and holds.

use serde::Serialize;

use super::{Shown, done, live, warning};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LockEvent {
    /// Another run holds the lock, and is watched for a while.
    LockWatched {
        holder: String,
    },
    /// It does not live any more, so its lock is taken.
    HolderGone {
        holder: String,
    },
    /// It may live, and its lock is taken since the user wants it.
    TakingOver {
        holder: String,
    },
    /// A call that is made again.
    NotAnswered {
        how: String,
    },
    /// The environment takes no release.
    Held {
        hold: String,
    },
    HoldSet {
        hold: String,
    },
    /// `None`: it was not held.
    HoldLifted {
        hold: Option<String>,
    },
}

impl LockEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::LockWatched { holder } => live(
                "lock",
                format!("held by {holder}; watching whether it lives"),
            ),
            Self::HolderGone { holder } => done(
                "lock",
                format!("nobody works on {holder} any more: taking over"),
            ),
            Self::TakingOver { holder } => warning(
                "lock",
                format!("taking over from {holder}; its last change is waited for"),
            ),
            Self::NotAnswered { how } => live("aws", format!("no answer, trying again: {how}")),
            Self::Held { hold } => warning(
                "hold",
                format!("no release until `cargo xtask unhold`: {hold}"),
            ),
            Self::HoldSet { hold } => done("hold", format!("no release from now on: {hold}")),
            Self::HoldLifted { hold: Some(hold) } => done("hold", format!("lifted: {hold}")),
            Self::HoldLifted { hold: None } => done("hold", "there was none"),
        }
    }
}
