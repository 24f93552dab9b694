//! One release as it is written down, and what its record lets others do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::catalog::Component;
use crate::decide::release::rollout::Outcome;

/// How long a holder may be silent before its record counts as abandoned. It renews the time
/// while it works, so this only has to outlast one step without a look.
pub const LEASE: SignedDuration = SignedDuration::from_mins(10);

/// The longest value of an SSM parameter of the standard tier.
pub const RECORD_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub number: u64,
    pub state: ReleaseState,
    /// While in progress: until when the holder can be expected to be alive.
    pub until: Timestamp,
    pub opened: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    pub who: String,
    #[serde(rename = "where")]
    pub host: String,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default)]
    pub dirty: bool,
    /// Services whose deployment alarms are off: whoever opens the next release takes them over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without_alarms: BTreeSet<Component>,
    /// Always all three, whatever the release changed.
    pub components: BTreeMap<Component, Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    InProgress,
    /// Everything runs and was asked.
    Succeeded,
    /// It failed, and everything is back where it was.
    RolledBack,
    /// It failed, and something is not back.
    RollbackFailed,
    /// The watcher went away; AWS went on.
    Detached,
    /// Somebody else's deployment replaced ours.
    Superseded,
}

impl ReleaseState {
    pub fn text(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled back",
            Self::RollbackFailed => "rollback failed",
            Self::Detached => "detached",
            Self::Superseded => "superseded",
        }
    }
}

/// What one release did to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `None`: a placeholder, or none desired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Running>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Running>,
    /// `None`: this release did not touch it, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What runs of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// A revision `family:n`, or a function's version.
    pub revision: String,
    /// What identifies the content: the definition's hash, or the code's as Lambda has it.
    pub content: String,
    /// The digest of a service's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl Record {
    /// Whether somebody is at work on it.
    pub fn held(&self, now: Timestamp) -> bool {
        self.state == ReleaseState::InProgress && now < self.until
    }

    /// Whether somebody was at work on it and went away without a word.
    pub fn abandoned(&self, now: Timestamp) -> bool {
        self.state == ReleaseState::InProgress && !self.held(now)
    }

    /// One line that says who did what.
    pub fn about(&self) -> String {
        format!(
            "release {} by {}@{} ({})",
            self.number, self.who, self.host, self.why
        )
    }

    /// Whether what it left behind is what runs now.
    pub fn runs(&self, now: &BTreeMap<Component, Option<Running>>) -> bool {
        self.components.iter().all(|(component, entry)| {
            let content = |running: &Option<Running>| running.as_ref().map(|it| it.content.clone());
            now.get(component)
                .is_some_and(|running| content(running) == content(&entry.after))
        })
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::catalog;

    pub fn running(revision: &str, content: &str) -> Running {
        Running {
            revision: revision.to_owned(),
            content: content.to_owned(),
            image: None,
        }
    }

    /// A record of a release after which every component runs `content`.
    pub fn record(number: u64, state: ReleaseState, content: &str) -> Record {
        let entry = |component: Component| Entry {
            before: None,
            after: Some(running(&format!("demo-{component}:{number}"), content)),
            outcome: Some(Outcome::Succeeded),
        };
        Record {
            number,
            state,
            until: Timestamp::UNIX_EPOCH + LEASE,
            opened: Timestamp::UNIX_EPOCH,
            closed: None,
            who: "ada".into(),
            host: "laptop".into(),
            why: "deploy".into(),
            commit: None,
            dirty: false,
            without_alarms: BTreeSet::new(),
            components: catalog::ALL
                .into_iter()
                .map(|component| (component, entry(component)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::record;
    use super::*;
    use crate::catalog;

    #[test]
    fn a_record_in_progress_is_held_until_its_time_is_over() {
        let record = record(1, ReleaseState::InProgress, "a");
        assert!(record.held(Timestamp::UNIX_EPOCH));
        let later = Timestamp::UNIX_EPOCH + LEASE;
        assert!(!record.held(later) && record.abandoned(later));
        let succeeded = Record {
            state: ReleaseState::Succeeded,
            ..record
        };
        assert!(!succeeded.held(Timestamp::UNIX_EPOCH) && !succeeded.abandoned(later));
    }

    #[test]
    fn the_fullest_record_fits_into_a_parameter() {
        let mut record = record(123_456, ReleaseState::InProgress, &"f".repeat(64));
        record.without_alarms = catalog::SERVICES.into();
        record.commit = Some("c".repeat(40));
        record.who = "arn:aws:sts::111122223333:assumed-role/deploy-production/a-session".repeat(2);
        for entry in record.components.values_mut() {
            let full = Running {
                revision: "a-rather-long-project-name-orbit:123456".into(),
                content: "f".repeat(64),
                image: Some(format!("sha256:{}", "d".repeat(64))),
            };
            entry.before = Some(full.clone());
            entry.after = Some(full);
        }
        let bytes = serde_json::to_string(&record).unwrap().len();
        assert!(bytes < RECORD_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn what_runs_is_compared_by_content_and_not_by_revision() {
        let record = record(3, ReleaseState::Succeeded, "a");
        let now = |content: &str| {
            record
                .components
                .keys()
                .map(|component| (*component, Some(testing::running("other:7", content))))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(record.runs(&now("a")));
        assert!(!record.runs(&now("b")));
    }
}
