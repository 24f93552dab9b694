//! What a cleanup removes: what earlier releases left behind that neither runs nor is needed for a
//! rollback to one of the last releases.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::record::{Entry, Record};
use super::snapshot::{FunctionVersion, Revision, Snapshot};
use crate::catalog::{Function, Service};
use crate::decide::artifact::types::Digest;

/// Everything that releases have left behind.
#[derive(Debug, Default)]
pub struct Inventory {
    pub revisions: BTreeMap<Service, Vec<Revision>>,
    pub images: BTreeMap<Service, Vec<Digest>>,
    pub versions: BTreeMap<Function, Vec<FunctionVersion>>,
    /// Newest first.
    pub records: Vec<Record>,
}

/// What of that is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The oldest release that a rollback can go to afterwards.
    pub oldest_target: Option<u64>,
    /// In this order. The records go last: they name what is left where a cleanup ends early.
    pub remove: Vec<Batch>,
}

/// What one call removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Batch {
    Revision {
        service: Service,
        revision: Revision,
    },
    Images {
        service: Service,
        digests: Vec<Digest>,
    },
    Version {
        function: Function,
        version: FunctionVersion,
    },
    Records {
        numbers: Vec<u64>,
    },
}

/// What one call of ECR removes at most.
const IMAGES_MAX: usize = 100;
/// A transaction of `DynamoDB` has at most a hundred parts, and the lock is one of them.
const RECORDS_MAX: usize = 99;

impl Removal {
    /// What is removed so that the last `keep` releases that succeeded can be gone back to. Every
    /// record since the oldest of them is kept, with whatever it names.
    pub fn of(inventory: &Inventory, now: &Snapshot, keep: usize) -> Self {
        let records = &inventory.records;
        let mut targets = records
            .iter()
            .filter(|it| it.is_succeeded_release() && it.entries.all_run(now));
        let oldest_target = targets.by_ref().take(keep).last().map(|it| it.number);
        let is_full = targets.next().is_some();
        let first_kept = oldest_target.filter(|_| is_full).unwrap_or(0);
        let (kept, old): (Vec<&Record>, Vec<&Record>) =
            records.iter().partition(|it| it.number >= first_kept);
        let needed = Needed::by(&kept, now);
        let mut remove = Vec::new();
        for (service, revisions) in &inventory.revisions {
            let left = revisions.iter();
            let left = left.filter(|it| !needed.revisions.contains(&(*service, *it)));
            remove.extend(left.map(|revision| Batch::Revision {
                service: *service,
                revision: revision.clone(),
            }));
        }
        for (service, digests) in &inventory.images {
            let left = digests.iter();
            let left = left.filter(|it| !needed.has_image(*service, it));
            let left: Vec<Digest> = left.cloned().collect();
            remove.extend(left.chunks(IMAGES_MAX).map(|digests| Batch::Images {
                service: *service,
                digests: digests.to_vec(),
            }));
        }
        for (function, versions) in &inventory.versions {
            let left = versions.iter();
            let left = left.filter(|it| !needed.versions.contains(&(*function, *it)));
            remove.extend(left.map(|version| Batch::Version {
                function: *function,
                version: version.clone(),
            }));
        }
        let old: Vec<u64> = old.iter().map(|it| it.number).collect();
        remove.extend(old.chunks(RECORDS_MAX).map(|numbers| Batch::Records {
            numbers: numbers.to_vec(),
        }));
        Self {
            oldest_target,
            remove,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
    }

    /// How much that is.
    pub fn names(&self) -> usize {
        self.remove.iter().map(|batch| batch.names().len()).sum()
    }
}

impl Batch {
    /// The component, or the ledger.
    pub fn subject(&self) -> &str {
        match self {
            Self::Revision { service, .. } | Self::Images { service, .. } => service.name(),
            Self::Version { function, .. } => function.name(),
            Self::Records { .. } => "ledger",
        }
    }

    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Revision { revision, .. } => vec![revision.to_string()],
            Self::Images { digests, .. } => digests.iter().map(ToString::to_string).collect(),
            Self::Version { version, .. } => vec![format!("version {version}")],
            Self::Records { numbers } => numbers.iter().map(|it| format!("record {it}")).collect(),
        }
    }
}

/// What runs, and what the records that are kept name.
#[derive(Default)]
struct Needed<'a> {
    revisions: BTreeSet<(Service, &'a Revision)>,
    images: BTreeSet<(Service, &'a Digest)>,
    versions: BTreeSet<(Function, &'a FunctionVersion)>,
    /// Services of which it is not known what image they run.
    unknown: BTreeSet<Service>,
}

impl<'a> Needed<'a> {
    fn by(records: &[&'a Record], now: &'a Snapshot) -> Self {
        let mut needed = Self::default();
        for (service, found) in &now.services {
            needed.revisions.insert((*service, &found.revision));
            // ECS lists deployments that failed for ever.
            let deployments = found.state.deployments.iter();
            let running = deployments.filter(|it| it.running > 0);
            let revisions = running.map(|it| (*service, &it.revision));
            needed.revisions.extend(revisions);
            match &found.content {
                Some(content) => {
                    let image = content.image.as_ref().map(|it| (*service, it));
                    needed.images.extend(image);
                }
                None => drop(needed.unknown.insert(*service)),
            }
        }
        for (function, found) in &now.functions {
            needed.versions.insert((*function, &found.version));
        }
        for record in records {
            let is_over = record.is_succeeded_release();
            for (service, entry) in &record.entries.services {
                for running in named(entry, is_over) {
                    needed.revisions.insert((*service, &running.revision));
                    let image = running.image.as_ref().map(|it| (*service, it));
                    needed.images.extend(image);
                }
            }
            for (function, entry) in &record.entries.functions {
                let versions = named(entry, is_over).map(|it| (*function, &it.version));
                needed.versions.extend(versions);
            }
        }
        needed
    }

    fn has_image(&self, service: Service, digest: &Digest) -> bool {
        self.unknown.contains(&service) || self.images.contains(&(service, digest))
    }
}

/// What may be needed of a record: what it left running, and what ran before where it did not
/// succeed.
fn named<R>(entry: &Entry<R>, is_over: bool) -> impl Iterator<Item = &R> {
    let before = entry.before.as_ref().filter(|_| !is_over);
    before.into_iter().chain(&entry.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{AXON, FUNCTIONS, SERVICES};
    use crate::decide::release::record::ReleaseState::{RolledBack, Succeeded};
    use crate::decide::release::record::testing::record;
    use crate::decide::release::snapshot::testing::{deployment, service};
    use crate::decide::release::snapshot::{FunctionState, RolloutState, ServiceSnapshot};

    /// What record 5 names runs, of every service and function.
    fn now() -> Snapshot {
        let of_service = |name: Service| {
            let revision = format!("demo-{name}:5");
            ServiceSnapshot {
                state: service(vec![deployment(&revision, RolloutState::Completed, 2, 2)]),
                revision: revision.parse().unwrap(),
                content: Some(super::super::record::testing::service_running(
                    &revision, "e",
                )),
                definition: None,
            }
        };
        let of_function = FunctionState {
            version: "5".parse().unwrap(),
            code_sha256: "e".to_owned(),
            key: None,
            revision_id: "r".to_owned(),
        };
        Snapshot {
            services: SERVICES.map(|name| (name, of_service(name))).into(),
            functions: FUNCTIONS.map(|name| (name, of_function.clone())).into(),
        }
    }

    /// The revisions 1 to 6 of axon, of which 1 to 5 were brought by the releases of these numbers.
    fn inventory(failed: &[u64]) -> Inventory {
        let state = |number| {
            if failed.contains(&number) {
                RolledBack
            } else {
                Succeeded
            }
        };
        let records = (1..=5).rev().map(|number| {
            let mut record = record(number, state(number), "c");
            if failed.contains(&number) {
                for entry in record.entries.services.values_mut() {
                    entry.after = None;
                }
            }
            record
        });
        let revisions = (1..=6).map(|it| format!("demo-axon:{it}").parse().unwrap());
        Inventory {
            revisions: [(AXON, revisions.collect())].into(),
            records: records.collect(),
            ..Inventory::default()
        }
    }

    fn removed(failed: &[u64], keep: usize) -> (Vec<String>, Option<u64>) {
        let removal = Removal::of(&inventory(failed), &now(), keep);
        let names = removal.remove.iter().flat_map(Batch::names);
        (names.collect(), removal.oldest_target)
    }

    #[test]
    fn what_the_last_releases_that_succeeded_need_is_kept() {
        for (failed, keep, names, oldest) in [
            (
                &[][..],
                2,
                &[
                    "demo-axon:1",
                    "demo-axon:2",
                    "demo-axon:3",
                    "demo-axon:6",
                    "record 3",
                    "record 2",
                    "record 1",
                ][..],
                Some(4),
            ),
            // The fourth failed: the two are the third and the fifth.
            (
                &[4],
                2,
                &[
                    "demo-axon:1",
                    "demo-axon:2",
                    "demo-axon:4",
                    "demo-axon:6",
                    "record 2",
                    "record 1",
                ],
                Some(3),
            ),
            (&[], 5, &["demo-axon:6"], Some(1)),
            // There are not as many.
            (&[2], 9, &["demo-axon:2", "demo-axon:6"], Some(1)),
            // None succeeded: what runs is kept, and every record.
            (
                &[1, 2, 3, 4, 5],
                1,
                &[
                    "demo-axon:1",
                    "demo-axon:2",
                    "demo-axon:3",
                    "demo-axon:4",
                    "demo-axon:6",
                ],
                None,
            ),
        ] {
            let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(removed(failed, keep), (names, oldest), "{failed:?} {keep}");
        }
    }

    #[test]
    fn images_of_a_service_stay_where_it_is_not_known_what_it_runs() {
        let digest = |of: char| Digest::parse(&format!("sha256:{}", of.to_string().repeat(64)));
        let digests = vec![digest('a').unwrap(), digest('b').unwrap()];
        let mut inventory = inventory(&[]);
        inventory.revisions.clear();
        inventory.images = [(AXON, digests.clone())].into();
        let mut now = now();
        let images = |now: &Snapshot| {
            let removal = Removal::of(&inventory, now, 5);
            removal.remove.iter().flat_map(Batch::names).count()
        };
        assert_eq!(images(&now), 2);
        let axon = now.services.get_mut(&AXON).unwrap();
        axon.content.as_mut().unwrap().image = Some(digests[0].clone());
        assert_eq!(images(&now), 1);
        now.services.get_mut(&AXON).unwrap().content = None;
        assert_eq!(images(&now), 0);
    }

    #[test]
    fn a_call_removes_no_more_than_aws_takes() {
        let mut inventory = Inventory::default();
        let records = (1..=250).rev().map(|number| record(number, Succeeded, "c"));
        inventory.records = records.collect();
        let removal = Removal::of(&inventory, &now(), 1);
        let sizes: Vec<usize> = removal.remove.iter().map(|it| it.names().len()).collect();
        assert_eq!(sizes, [99, 99, 51]);
    }
}
