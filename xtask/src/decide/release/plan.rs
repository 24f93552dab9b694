//! What a release would change, and on top of which running state: a value.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{ALL, Component};
use crate::decide::artifact::image::{Artifact, Key};
use crate::decide::definition::Definition;
use crate::decide::release::record::{Entry, Record, Running};
use crate::decide::release::rollout::{FunctionState, ServiceState};

/// A revision as ECS has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    pub definition: Definition,
    pub active: bool,
    /// The tag `definition-sha256`.
    pub sha256: Option<String>,
}

/// What runs of all components, as seen at one moment: what a plan stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub services: BTreeMap<Component, ServiceSnapshot>,
    pub function: FunctionState,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSnapshot {
    pub state: ServiceState,
    /// The primary deployment's revision.
    pub revision: String,
    pub registered: Option<Registered>,
}

impl ServiceSnapshot {
    /// Terraform creates a service on a revision that never runs, with none desired.
    fn is_first(&self) -> bool {
        self.state.desired == 0
    }

    pub fn running(&self) -> Option<Running> {
        let registered = self.registered.as_ref().filter(|_| !self.is_first())?;
        Some(registered.running(&self.revision))
    }
}

impl Registered {
    /// What runs where this revision runs.
    pub fn running(&self, revision: &str) -> Running {
        let content = self.sha256.clone();
        let image = self
            .definition
            .image()
            .and_then(|image| image.split_once('@'));
        Running {
            revision: revision.to_owned(),
            content: content.unwrap_or_else(|| self.definition.sha256()),
            image: image.map(|(_, digest)| digest.to_owned()),
        }
    }
}

impl Snapshot {
    /// What runs of every component, as a record writes it down.
    pub fn running(&self) -> BTreeMap<Component, Option<Running>> {
        ALL.into_iter()
            .map(|component| (component, self.running_of(component)))
            .collect()
    }

    fn running_of(&self, component: Component) -> Option<Running> {
        match self.services.get(&component) {
            Some(service) => service.running(),
            None => is_key(&self.function.description).then(|| Running {
                revision: self.function.version.clone(),
                content: self.function.code_sha256.clone(),
                image: None,
            }),
        }
    }
}

/// A version of ours has its key as its description; the shell's first version has none.
fn is_key(description: &str) -> bool {
    description.len() == 64 && description.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a component shall become.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// `content` is what a record knows it by: its hash when it was first rendered.
    Definition {
        definition: Definition,
        content: String,
    },
    /// A revision that ECS knows.
    Revision { revision: String, content: String },
    /// Code by its key; the artifact is there where the key is not what runs already.
    Code {
        key: Key,
        artifact: Option<Artifact>,
    },
    /// A version that Lambda knows.
    Version { version: String, content: String },
}

/// How a component becomes what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is that already.
    Keep,
    /// It is on its way there, from a release whose watcher went away.
    Follow,
    Register {
        definition: Definition,
        content: String,
    },
    Revision(String),
    Publish(Artifact),
    Version(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub component: Component,
    pub change: Change,
    /// What ran before; `None`: a placeholder, or none desired.
    pub before: Option<Running>,
    /// What rolling back goes to: the revision or version that was settled last.
    pub parent: String,
    /// How many tasks the parent had.
    pub parent_desired: i32,
    /// Sent only where it must change: autoscaling owns it otherwise.
    pub desired: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for each component that this release may change, in the order of the release.
    pub steps: Vec<Step>,
    /// Images that the registry lacks.
    pub pushes: Vec<Artifact>,
    /// Services whose alarms an earlier release left off: this one turns them on again.
    pub without_alarms: BTreeSet<Component>,
    /// What the plan stands on.
    pub snapshot: Snapshot,
}

/// Compares what is wanted with what runs.
///
/// `succeeded` is the newest release that succeeded: where a service is in the middle of a rollout,
/// what it goes back to is what ran after that release. `desired` is how many tasks each service
/// starts with.
pub fn make(
    wanted: &BTreeMap<Component, Wanted>,
    snapshot: Snapshot,
    succeeded: Option<&Record>,
    desired: &BTreeMap<Component, i32>,
    pushes: Vec<Artifact>,
) -> Plan {
    let steps = ALL
        .into_iter()
        .filter_map(|component| {
            let wanted = wanted.get(&component)?;
            let known =
                succeeded.and_then(|record| record.components.get(&component)?.after.as_ref());
            Some(match snapshot.services.get(&component) {
                Some(service) => {
                    let desired = desired.get(&component).copied().unwrap_or(1);
                    service_step(component, wanted, service, known, desired)
                }
                None => function_step(component, wanted, &snapshot),
            })
        })
        .collect();
    Plan {
        steps,
        pushes,
        without_alarms: BTreeSet::new(),
        snapshot,
    }
}

fn service_step(
    component: Component,
    wanted: &Wanted,
    snapshot: &ServiceSnapshot,
    succeeded: Option<&Running>,
    desired: i32,
) -> Step {
    let content = match wanted {
        Wanted::Definition { content, .. }
        | Wanted::Revision { content, .. }
        | Wanted::Version { content, .. } => content.clone(),
        Wanted::Code { key, .. } => key.to_string(),
    };
    let running = snapshot.running();
    let same = running
        .as_ref()
        .is_some_and(|running| running.content == content);
    let change = match wanted {
        _ if same && snapshot.state.settled() => Change::Keep,
        _ if same => Change::Follow,
        Wanted::Definition {
            definition,
            content,
        } => Change::Register {
            definition: definition.clone(),
            content: content.clone(),
        },
        Wanted::Revision { revision, .. } => Change::Revision(revision.clone()),
        Wanted::Version { version, .. } => Change::Version(version.clone()),
        Wanted::Code { .. } => Change::Keep,
    };
    let settled = snapshot.state.settled() || snapshot.is_first();
    let parent = succeeded
        .filter(|_| !settled)
        .map_or(&snapshot.revision, |running| &running.revision);
    Step {
        component,
        change,
        before: if settled {
            running
        } else {
            succeeded.cloned().or(running)
        },
        parent: parent.clone(),
        parent_desired: snapshot.state.desired,
        desired: snapshot.is_first().then_some(desired),
    }
}

fn function_step(component: Component, wanted: &Wanted, snapshot: &Snapshot) -> Step {
    let function = &snapshot.function;
    let change = match wanted {
        Wanted::Code { key, artifact } => match artifact {
            Some(artifact) if key.0 != function.description => Change::Publish(artifact.clone()),
            _ => Change::Keep,
        },
        Wanted::Version { version, .. } if *version != function.version => {
            Change::Version(version.clone())
        }
        _ => Change::Keep,
    };
    Step {
        component,
        change,
        before: snapshot.running_of(component),
        parent: function.version.clone(),
        parent_desired: 0,
        desired: None,
    }
}

impl Plan {
    /// Nothing to change, nothing to push, nothing to wait for, nothing to mend.
    pub fn is_empty(&self) -> bool {
        self.pushes.is_empty()
            && self.without_alarms.is_empty()
            && self.steps.iter().all(|step| step.change == Change::Keep)
    }

    /// What a record starts with: what ran before, of all components.
    pub fn entries(&self) -> BTreeMap<Component, Entry> {
        let running = self.snapshot.running();
        let entry = |(component, running): (Component, Option<Running>)| {
            let step = self.steps.iter().find(|step| step.component == component);
            let before = step.map_or_else(|| running.clone(), |step| step.before.clone());
            (
                component,
                Entry {
                    before,
                    after: running,
                    outcome: None,
                },
            )
        };
        running.into_iter().map(entry).collect()
    }

    /// What is not any more as the plan saw it. A plan is applied only on its parent.
    pub fn moved_on(&self, now: &Snapshot) -> Vec<String> {
        let mut moved = Vec::new();
        for (component, then) in &self.snapshot.services {
            match now.services.get(component) {
                Some(now) if now.revision != then.revision => {
                    moved.push(format!(
                        "{component} went from {} to {}",
                        then.revision, now.revision
                    ));
                }
                Some(_) => {}
                None => moved.push(format!("{component} is gone")),
            }
        }
        if self.snapshot.function.revision_id != now.function.revision_id {
            moved.push("the function's alias was moved".to_owned());
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::release::record::ReleaseState;
    use crate::decide::release::record::testing::record;
    use crate::decide::release::rollout::RolloutState::{Completed, InProgress};
    use crate::decide::release::rollout::testing::{deployment, service};

    fn definition(image: &str) -> Definition {
        let image = format!("localhost:4577/demo/axon@sha256:{image}");
        Definition(json!({ "family": "demo-axon", "containerDefinitions": [{ "image": image }] }))
    }

    fn snapshot_of(state: ServiceState, image: &str) -> Snapshot {
        let revision = state
            .primary()
            .map_or_else(String::new, |first| first.revision.clone());
        let definition = definition(image);
        let sha256 = Some(definition.sha256());
        let registered = Some(Registered {
            definition,
            active: true,
            sha256,
        });
        let axon = ServiceSnapshot {
            state,
            revision,
            registered,
        };
        Snapshot {
            services: [(Component::Axon, axon)].into(),
            function: FunctionState {
                version: "1".into(),
                code_sha256: "c2hlbGw=".into(),
                description: String::new(),
                revision_id: "r1".into(),
            },
        }
    }

    fn plan(image: &str, snapshot: Snapshot, succeeded: Option<&Record>) -> Plan {
        let wanted = [(
            Component::Axon,
            Wanted::Definition {
                definition: definition(image),
                content: definition(image).sha256(),
            },
        )]
        .into();
        make(
            &wanted,
            snapshot,
            succeeded,
            &[(Component::Axon, 2)].into(),
            Vec::new(),
        )
    }

    #[test]
    fn the_same_definition_settled_is_kept() {
        let snapshot = snapshot_of(
            service(vec![deployment("demo-axon:4", Completed, 2, 2)]),
            "aa",
        );
        assert!(plan("aa", snapshot, None).is_empty());
    }

    #[test]
    fn a_first_release_sends_the_desired_count_and_has_nothing_before() {
        let placeholder = service(vec![deployment("demo-axon-placeholder:1", Completed, 0, 0)]);
        let plan = plan("aa", snapshot_of(placeholder, "none"), None);
        let step = &plan.steps[0];
        assert_eq!(
            (step.desired, &step.before, step.parent_desired),
            (Some(2), &None, 0)
        );
        assert_eq!(step.parent, "demo-axon-placeholder:1");
    }

    #[test]
    fn a_later_release_leaves_the_desired_count_alone() {
        let snapshot = snapshot_of(
            service(vec![deployment("demo-axon:4", Completed, 5, 5)]),
            "aa",
        );
        let plan = plan("bb", snapshot, None);
        let content = definition("bb").sha256();
        let register = Change::Register {
            definition: definition("bb"),
            content,
        };
        assert_eq!(plan.steps[0].change, register);
        assert_eq!(plan.steps[0].desired, None);
    }

    #[test]
    fn what_is_on_its_way_is_followed() {
        let state = service(vec![deployment("demo-axon:4", InProgress, 1, 2)]);
        assert_eq!(
            plan("aa", snapshot_of(state, "aa"), None).steps[0].change,
            Change::Follow
        );
    }

    #[test]
    fn a_service_in_the_middle_of_a_rollout_goes_back_to_what_succeeded_last() {
        let state = service(vec![deployment("demo-axon:9", InProgress, 1, 2)]);
        let succeeded = record(3, ReleaseState::Succeeded, "c");
        let plan = plan("bb", snapshot_of(state, "aa"), Some(&succeeded));
        assert_eq!(plan.steps[0].parent, "demo-axon:3");
        assert_eq!(
            plan.entries()[&Component::Axon]
                .before
                .as_ref()
                .unwrap()
                .revision,
            "demo-axon:3"
        );
    }

    #[test]
    fn a_plan_sees_that_the_state_moved_on() {
        let state = |revision| service(vec![deployment(revision, Completed, 2, 2)]);
        let plan = plan("bb", snapshot_of(state("demo-axon:4"), "aa"), None);
        assert_eq!(plan.moved_on(&plan.snapshot), Vec::<String>::new());
        let moved = plan.moved_on(&snapshot_of(state("demo-axon:5"), "aa"));
        assert_eq!(moved, ["axon went from demo-axon:4 to demo-axon:5"]);
    }
}
