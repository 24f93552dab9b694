//! Events of secrets: their first values, and a new signing pair.

use serde::Serialize;

use super::{Shown, done, live, warning};
use crate::catalog::Component;
use crate::report::count;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SecretsEvent {
    SecretPresent {
        component: Component,
    },
    SecretSet {
        component: Component,
    },
    SecretValuesRead,
    /// A service signs its calls with a key that the called one does not have.
    KeyRefused {
        component: Component,
        callee: Component,
    },
    /// What a rotation does first.
    RotationStarted {
        component: Component,
        change: SecretChange,
        /// An earlier run ended in the middle.
        resumed: bool,
    },
    /// The record of a rotation was created: from now on it holds the environment.
    RotationOpened {
        number: u64,
    },
    /// The record has its outcome.
    RotationClosed {
        number: u64,
        outcome: String,
    },
    /// A secret has a new version, which the tasks are to take up.
    SecretReplaced {
        component: Component,
        change: SecretChange,
    },
    /// Tasks are to log that they have the newest version of their secret.
    RotationWaiting {
        component: Component,
        tasks_ready: usize,
        tasks: usize,
        seconds_left: u64,
    },
    RotationDone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    NewKeyBesideOld,
    NewKeyBesideCallers,
    SignsWithNewKey,
    OldKeyRemoved,
}

impl SecretsEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::SecretPresent { component } => done(component, "has its secret already"),
            Self::SecretSet { component } => done(component, "secret has a value now"),
            Self::SecretValuesRead => done("secrets", "values read from stdin"),
            Self::KeyRefused { component, callee } => warning(
                component,
                format!("signs with a key that {callee} does not have"),
            ),
            Self::RotationStarted {
                component,
                change,
                resumed,
            } => {
                let going_on = if *resumed { "going on: " } else { "" };
                let text = format!("{going_on}{component} {}", change.intention());
                done("rotation", text)
            }
            Self::RotationOpened { number } => done("rotation", format!("{number} opened")),
            Self::RotationClosed { number, outcome } => {
                done("rotation", format!("{number} closed: {outcome}"))
            }
            Self::SecretReplaced { component, change } => done(component, change.text()),
            Self::RotationWaiting {
                component,
                tasks_ready,
                tasks,
                seconds_left,
            } => {
                let tasks = count(*tasks, "task");
                let text = format!(
                    "{tasks_ready} of {tasks} have their new secret; {seconds_left} s at most"
                );
                live(component, text)
            }
            Self::RotationDone => done("rotation", "done: the old key is not accepted any more"),
        }
    }
}

impl SecretChange {
    fn intention(self) -> &'static str {
        match self {
            Self::NewKeyBesideOld => "gets a new key beside the old one",
            Self::NewKeyBesideCallers => "gets a new key beside the one that a caller signs with",
            Self::SignsWithNewKey => "gets a new key to sign with",
            Self::OldKeyRemoved => "loses the old key",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NewKeyBesideOld => "new key in its secret, beside the old one",
            Self::NewKeyBesideCallers => {
                "new key in its secret, beside the one that a caller signs with"
            }
            Self::SignsWithNewKey => "new key to sign with in its secret",
            Self::OldKeyRemoved => "old key removed from its secret",
        }
    }
}
