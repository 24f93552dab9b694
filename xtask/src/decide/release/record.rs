//! The record of one release, or of one rotation of the signing key, in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rollout::Outcome;
use super::snapshot::{
    FunctionRunning, FunctionState, Revision, ServiceRunning, ServiceSnapshot, Snapshot,
};
use crate::catalog::{Component, Function, Service};

/// The maximum size of a record. An item of a table has at most 400 KB.
pub const RECORD_BYTES_MAX: usize = 300_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub number: u64,
    /// Records that were written before there were kinds lack it.
    #[serde(default)]
    pub kind: RecordKind,
    pub state: ReleaseState,
    /// That of the lock while the record is in progress. Only its holder writes the record.
    #[serde(default)]
    pub token: String,
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
    /// The record in progress that this one took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_over: Option<u64>,
    /// What was done, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// Services whose deployment alarms this release disabled. The next release has to enable them
    /// again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without_alarms: BTreeSet<Service>,
    /// Why it failed, with the evidence, in lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<String>,
    #[serde(flatten)]
    pub entries: Entries,
}

/// A part of a release that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub ended: Timestamp,
}

/// The maximum size of a cause. What is left out is said.
const CAUSE_BYTES_MAX: usize = 20_000;

/// What a record is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    #[default]
    Release,
    /// A release to what ran after an earlier one.
    Rollback,
    /// A release after which no service runs.
    Stop,
    /// A new signing key. No component changes, so it has no entries.
    Rotation,
    /// An apply of the infrastructure. No component changes: its entries are those of before.
    Infra,
    /// What earlier releases left behind is removed. As for an apply.
    Cleanup,
}

impl RecordKind {
    pub fn text(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Rollback => "rollback",
            Self::Stop => "stop",
            Self::Rotation => "rotation",
            Self::Infra => "infra",
            Self::Cleanup => "cleanup",
        }
    }

    /// Whether it may change components.
    pub fn changes_components(self) -> bool {
        !matches!(self, Self::Rotation | Self::Infra | Self::Cleanup)
    }

    /// What it is called in front of its number.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Release | Self::Rollback | Self::Stop => "release",
            Self::Rotation => "rotation",
            Self::Infra => "apply",
            Self::Cleanup => "cleanup",
        }
    }
}

/// Every component, whatever the release changed; none for a rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    pub services: BTreeMap<Service, Entry<ServiceRunning>>,
    pub functions: BTreeMap<Function, Entry<FunctionRunning>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    InProgress,
    /// Everything runs and has answered.
    Succeeded,
    /// It failed, and every component was rolled back.
    RolledBack,
    /// It failed, and a component could not be rolled back.
    RollbackFailed,
    /// xtask stopped watching, AWS continued.
    Detached,
    /// Another deployment replaced ours.
    Superseded,
    /// Its run ended without closing it, and a later one took over.
    Abandoned,
    /// An apply of the infrastructure, or a cleanup, that did not end: a part of it may be done.
    Failed,
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
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
        }
    }
}

/// What one release did to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<R> {
    /// `None`: a placeholder, or a desired count of 0.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub before: Option<R>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub after: Option<R>,
    /// `None`: this release did not touch it, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

fn none<R>() -> Option<R> {
    None
}

impl<R: Clone + PartialEq> Entry<R> {
    /// Of a component that runs, before a release touches it.
    pub fn untouched(running: Option<R>) -> Self {
        Self {
            before: running.clone(),
            after: running,
            outcome: None,
        }
    }

    /// What ran after the release, where the release changed this component. What it rolled back
    /// to, an earlier one brought.
    pub fn brought(&self) -> Option<&R> {
        let outcome = self.outcome.filter(|it| *it != Outcome::RolledBack);
        outcome.and(self.after.as_ref())
    }

    fn conclude(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        if outcome == Outcome::RolledBack {
            self.after.clone_from(&self.before);
        }
    }

    /// Whether it was left with what the entry says.
    fn is_left(&self) -> bool {
        let otherwise = [Outcome::RollbackFailed, Outcome::Superseded];
        self.outcome
            .is_none_or(|outcome| !otherwise.contains(&outcome))
    }

    fn detach(&mut self) {
        if self.after != self.before && self.outcome.is_none() {
            self.outcome = Some(Outcome::Detached);
        }
    }
}

/// What ran of a component after a release.
type RanService<'a> = Option<&'a ServiceRunning>;
type RanFunction<'a> = Option<&'a FunctionRunning>;

impl Entries {
    /// What runs now, untouched.
    pub fn of(snapshot: &Snapshot) -> Self {
        let services = snapshot.services.iter();
        let functions = snapshot.functions.iter();
        Self {
            services: services
                .map(|(service, found)| (*service, Entry::untouched(found.running())))
                .collect(),
            functions: functions
                .map(|(function, found)| (*function, Entry::untouched(found.running())))
                .collect(),
        }
    }

    /// What ran after all of it, as a record begins that changes none of it.
    #[must_use]
    pub fn untouched(&self) -> Self {
        let services = self.services.iter();
        let functions = self.functions.iter();
        Self {
            services: services
                .map(|(service, entry)| (*service, Entry::untouched(entry.after.clone())))
                .collect(),
            functions: functions
                .map(|(function, entry)| (*function, Entry::untouched(entry.after.clone())))
                .collect(),
        }
    }

    pub fn conclude(&mut self, component: Component, outcome: Outcome) {
        match component {
            Component::Service(service) => {
                if let Some(entry) = self.services.get_mut(&service) {
                    entry.conclude(outcome);
                }
            }
            Component::Function(function) => {
                if let Some(entry) = self.functions.get_mut(&function) {
                    entry.conclude(outcome);
                }
            }
        }
    }

    /// Whatever was begun and has no outcome goes on without us.
    pub fn detach(&mut self) {
        self.services.values_mut().for_each(Entry::detach);
        self.functions.values_mut().for_each(Entry::detach);
    }

    /// The services that are there now. Those that are gone, and those that came later, are left
    /// as they are by a rollback.
    fn services_of<'a>(&'a self, now: &'a Snapshot) -> Vec<(RanService<'a>, &'a ServiceSnapshot)> {
        let services = self.services.iter();
        let common = services
            .filter_map(|(name, entry)| Some((entry.after.as_ref(), now.services.get(name)?)));
        common.collect()
    }

    /// The same for functions.
    fn functions_of<'a>(&'a self, now: &'a Snapshot) -> Vec<(RanFunction<'a>, &'a FunctionState)> {
        let functions = self.functions.iter();
        let common = functions
            .filter_map(|(name, entry)| Some((entry.after.as_ref(), now.functions.get(name)?)));
        common.collect()
    }

    /// Whether something ran afterwards of every component that is there now, and of one at least.
    pub fn all_run(&self, now: &Snapshot) -> bool {
        let (services, functions) = (self.services_of(now), self.functions_of(now));
        services.len() + functions.len() > 0
            && services.iter().all(|(after, _)| after.is_some())
            && functions.iter().all(|(after, _)| after.is_some())
    }

    /// What this revision of a service consists of, as far as the record knows.
    pub fn content(&self, service: Service, revision: &Revision) -> Option<&ServiceRunning> {
        let entry = self.services.get(&service)?;
        let mut known = entry.after.iter().chain(&entry.before);
        known.find(|known| known.revision == *revision)
    }

    /// The first component that does not run what it was left with, or runs although nothing of it
    /// was left, and what it runs instead. Of those that were left otherwise the record says so.
    pub fn differs(&self, now: &Snapshot) -> Option<(Component, String)> {
        let mut services = self.services.iter().filter(|(_, entry)| entry.is_left());
        let service = services.find_map(|(service, entry)| {
            let found = now.services.get(service)?;
            let differs = match &entry.after {
                Some(after) => found.revision != after.revision || found.state.desired == 0,
                None => found.running().is_some(),
            };
            differs.then(|| ((*service).into(), found.revision.to_string()))
        });
        let mut functions = self.functions.iter().filter(|(_, entry)| entry.is_left());
        service.or_else(|| {
            functions.find_map(|(function, entry)| {
                let after = &entry.after.as_ref()?.version;
                let found = now.functions.get(function)?;
                let differs = found.version != *after;
                differs.then(|| ((*function).into(), format!("version {}", found.version)))
            })
        })
    }

    /// Whether the content that it left running is what runs now. Content decides: the same
    /// definition may be registered under two revisions.
    pub fn run_in(&self, now: &Snapshot) -> bool {
        let services = self.services_of(now).into_iter().all(|(after, found)| {
            let running = found.running();
            running.map(|it| it.content) == after.map(|it| it.content.clone())
        });
        let functions = self.functions_of(now).into_iter().all(|(after, found)| {
            let running = found.running();
            running.map(|it| it.code_sha256) == after.map(|it| it.code_sha256.clone())
        });
        services && functions
    }
}

impl Record {
    /// Whether it left the component of this name running.
    pub fn runs(&self, name: &str) -> bool {
        let mut services = self.entries.services.iter();
        let mut functions = self.entries.functions.iter();
        services.any(|(service, entry)| service.name() == name && entry.after.is_some())
            || functions.any(|(function, entry)| function.name() == name && entry.after.is_some())
    }

    pub fn end_phase(&mut self, name: impl Into<String>, at: Timestamp) {
        self.phases.push(Phase {
            name: name.into(),
            ended: at,
        });
    }

    /// The phases with their lengths.
    pub fn phase_lengths(&self) -> Vec<(&str, i64)> {
        let mut began = self.opened;
        let phases = self.phases.iter().map(|phase| {
            let seconds = phase.ended.duration_since(began).as_secs();
            began = phase.ended;
            (phase.name.as_str(), seconds)
        });
        phases.collect()
    }

    pub fn set_cause(&mut self, text: &str) {
        let mut left = CAUSE_BYTES_MAX;
        self.cause.clear();
        for line in text.lines() {
            if line.len() > left {
                self.cause.push("  (cut here)".to_owned());
                return;
            }
            left -= line.len();
            self.cause.push(line.to_owned());
        }
    }

    /// The same record after another run has taken over.
    #[must_use]
    pub fn abandoned(mut self, at: Timestamp) -> Self {
        self.state = ReleaseState::Abandoned;
        self.closed = Some(at);
        self.entries.detach();
        self
    }

    /// Whether a release succeeded.
    pub fn is_succeeded_release(&self) -> bool {
        self.state == ReleaseState::Succeeded && self.kind.changes_components()
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.kind.noun(), self.number)
    }

    /// One line with number, user, host and command.
    pub fn about(&self) -> String {
        let name = self.name();
        format!("{name} by {}@{} ({})", self.who, self.host, self.why)
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::catalog::testing::{FUNCTIONS, SERVICES};

    pub fn service_running(revision: &str, content: &str) -> ServiceRunning {
        ServiceRunning {
            revision: revision.parse().unwrap(),
            content: content.to_owned(),
            image: None,
            key: None,
        }
    }

    /// A record of a release after which every component runs `content`.
    pub fn record(number: u64, state: ReleaseState, content: &str) -> Record {
        let service = |service: Service| Entry {
            before: None,
            after: Some(service_running(
                &format!("demo-{service}:{number}"),
                content,
            )),
            outcome: Some(Outcome::Succeeded),
        };
        let function = Entry {
            before: None,
            after: Some(FunctionRunning {
                version: number.to_string().parse().unwrap(),
                code_sha256: content.to_owned(),
            }),
            outcome: Some(Outcome::Succeeded),
        };
        Record {
            number,
            kind: RecordKind::Release,
            state,
            token: format!("token-{number}"),
            opened: Timestamp::UNIX_EPOCH,
            closed: None,
            who: "ada".into(),
            host: "laptop".into(),
            why: "deploy".into(),
            commit: None,
            dirty: false,
            took_over: None,
            without_alarms: BTreeSet::new(),
            phases: Vec::new(),
            cause: Vec::new(),
            entries: Entries {
                services: SERVICES.map(|name| (name, service(name))).into(),
                functions: FUNCTIONS.map(|name| (name, function.clone())).into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::RolloutState::Completed;
    use super::super::snapshot::testing::{deployment, service};
    use super::testing::{record, service_running};
    use super::*;
    use crate::catalog::testing::AXON;
    use crate::decide::artifact::image::{Digest, Key};

    #[test]
    fn a_record_of_two_hundred_services_fits_into_an_item() {
        let mut record = record(123_456, ReleaseState::InProgress, &"f".repeat(64));
        record.commit = Some("c".repeat(40));
        record.who = "arn:aws:sts::111122223333:assumed-role/deploy-production/a-session".repeat(2);
        let full = ServiceRunning {
            revision: "a-rather-long-project-name-orbit:123456".parse().unwrap(),
            content: "f".repeat(64),
            image: Digest::parse(&format!("sha256:{}", "d".repeat(64))),
            key: Key::parse(&"e".repeat(64)),
        };
        let entry = Entry::untouched(Some(full));
        let services = (0..200).map(|index| format!("service-{index}").parse().unwrap());
        let services: Vec<Service> = services.collect();
        record.entries.services = services.iter().map(|it| (*it, entry.clone())).collect();
        record.without_alarms = services.into_iter().collect();
        let bytes = serde_json::to_string(&record).unwrap().len();
        assert!(bytes < RECORD_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_cause_has_a_limit() {
        let mut record = record(3, ReleaseState::RolledBack, "a");
        record.set_cause("what\nwhy");
        assert_eq!(record.cause, ["what", "why"]);
        record.set_cause(&format!("{}\n", "x".repeat(999)).repeat(999));
        let bytes: usize = record.cause.iter().map(String::len).sum();
        assert!(bytes < CAUSE_BYTES_MAX + 20 && bytes > CAUSE_BYTES_MAX / 2);
        assert_eq!(record.cause.last().unwrap(), "  (cut here)");
    }

    #[test]
    fn what_differs_from_what_a_release_left_is_named() {
        let found = |desired: i32| ServiceSnapshot {
            state: service(vec![deployment("demo-axon:3", Completed, desired, desired)]),
            revision: "demo-axon:3".parse().unwrap(),
            content: Some(service_running("demo-axon:3", "c")),
            definition: None,
        };
        let snapshot = |found: ServiceSnapshot| Snapshot {
            services: [(AXON, found)].into(),
            functions: BTreeMap::new(),
        };
        let mut left = record(3, ReleaseState::Succeeded, "c").entries;
        let differs = |left: &Entries, desired| {
            let found = left.differs(&snapshot(found(desired)));
            found.map(|(component, _)| component)
        };
        assert_eq!(differs(&left, 2), None);
        assert_eq!(differs(&left, 0), Some(AXON.into()));
        left.services.get_mut(&AXON).unwrap().after = None;
        assert_eq!(differs(&left, 0), None);
        assert_eq!(
            differs(&left, 2),
            Some(AXON.into()),
            "somebody scaled what was stopped"
        );
        // Whatever runs of a revision that ECS does not have any more is not known.
        let unknown = ServiceSnapshot {
            content: None,
            ..found(2)
        };
        assert_eq!(left.differs(&snapshot(unknown)), None);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record(3, ReleaseState::Succeeded, "a");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn a_record_without_a_kind_is_of_a_release() {
        let record = record(3, ReleaseState::Succeeded, "a");
        let mut document = serde_json::to_value(&record).unwrap();
        assert_eq!(
            document.as_object_mut().unwrap().remove("kind"),
            Some("release".into())
        );
        assert_eq!(serde_json::from_value::<Record>(document).unwrap(), record);
    }
}
