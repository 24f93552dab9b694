//! What a release would change, and on top of which running state: a value.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::Definition;
use super::image::{Artefact, Key};
use super::release::{Entry, Record, Running};
use super::rollout::{FunctionState, ServiceState};
use crate::catalog::{ALL, Thing};

/// A revision as ECS has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    pub definition: Definition,
    pub active: bool,
    /// The tag `definition-sha256`.
    pub sha256: Option<String>,
}

/// What runs of all things, as seen at one moment: what a plan stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub services: BTreeMap<Thing, ServiceLook>,
    pub function: FunctionState,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServiceLook {
    pub state: ServiceState,
    /// The primary deployment's revision.
    pub revision: String,
    pub registered: Option<Registered>,
}

impl ServiceLook {
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

impl Look {
    /// What runs of every thing, as a record writes it down.
    pub fn running(&self) -> BTreeMap<Thing, Option<Running>> {
        ALL.into_iter()
            .map(|thing| (thing, self.running_of(thing)))
            .collect()
    }

    fn running_of(&self, thing: Thing) -> Option<Running> {
        match self.services.get(&thing) {
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

/// What a thing shall become.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// `content` is what a record knows it by: its hash when it was first rendered.
    Definition {
        definition: Definition,
        content: String,
    },
    /// A revision that ECS knows.
    Revision { revision: String, content: String },
    /// Code by its key; the artefact is there where the key is not what runs already.
    Code {
        key: Key,
        artefact: Option<Artefact>,
    },
    /// A version that Lambda knows.
    Version { version: String, content: String },
}

/// How a thing becomes what is wanted.
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
    Publish(Artefact),
    Version(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub thing: Thing,
    pub change: Change,
    /// What ran before; `None`: a placeholder, or none desired.
    pub before: Option<Running>,
    /// What taking back goes to: the revision or version that was settled last.
    pub parent: String,
    /// How many tasks the parent had.
    pub parent_desired: i32,
    /// Sent only where it must change: autoscaling owns it otherwise.
    pub desired: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for each thing that this release may change, in the order of the release.
    pub steps: Vec<Step>,
    /// Images that the registry lacks.
    pub pushes: Vec<Artefact>,
    /// Services whose alarms an earlier release left off: this one turns them on again.
    pub without_alarms: BTreeSet<Thing>,
    /// What the plan stands on.
    pub look: Look,
}

/// Compares what is wanted with what runs.
///
/// `landed` is the newest release that landed: where a service is in the middle of a rollout,
/// what it goes back to is what ran after that release. `desired` is how many tasks each service
/// starts with.
pub fn make(
    wanted: &BTreeMap<Thing, Wanted>,
    look: Look,
    landed: Option<&Record>,
    desired: &BTreeMap<Thing, i32>,
    pushes: Vec<Artefact>,
) -> Plan {
    let steps = ALL
        .into_iter()
        .filter_map(|thing| {
            let wanted = wanted.get(&thing)?;
            let known = landed.and_then(|record| record.things.get(&thing)?.after.as_ref());
            Some(match look.services.get(&thing) {
                Some(service) => {
                    let desired = desired.get(&thing).copied().unwrap_or(1);
                    service_step(thing, wanted, service, known, desired)
                }
                None => function_step(thing, wanted, &look),
            })
        })
        .collect();
    Plan {
        steps,
        pushes,
        without_alarms: BTreeSet::new(),
        look,
    }
}

fn service_step(
    thing: Thing,
    wanted: &Wanted,
    look: &ServiceLook,
    landed: Option<&Running>,
    desired: i32,
) -> Step {
    let content = match wanted {
        Wanted::Definition { content, .. }
        | Wanted::Revision { content, .. }
        | Wanted::Version { content, .. } => content.clone(),
        Wanted::Code { key, .. } => key.to_string(),
    };
    let running = look.running();
    let same = running
        .as_ref()
        .is_some_and(|running| running.content == content);
    let change = match wanted {
        _ if same && look.state.settled() => Change::Keep,
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
    let settled = look.state.settled() || look.is_first();
    let parent = landed
        .filter(|_| !settled)
        .map_or(&look.revision, |running| &running.revision);
    Step {
        thing,
        change,
        before: if settled {
            running
        } else {
            landed.cloned().or(running)
        },
        parent: parent.clone(),
        parent_desired: look.state.desired,
        desired: look.is_first().then_some(desired),
    }
}

fn function_step(thing: Thing, wanted: &Wanted, look: &Look) -> Step {
    let function = &look.function;
    let change = match wanted {
        Wanted::Code { key, artefact } => match artefact {
            Some(artefact) if key.0 != function.description => Change::Publish(artefact.clone()),
            _ => Change::Keep,
        },
        Wanted::Version { version, .. } if *version != function.version => {
            Change::Version(version.clone())
        }
        _ => Change::Keep,
    };
    Step {
        thing,
        change,
        before: look.running_of(thing),
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

    /// What a record starts with: what ran before, of all things.
    pub fn entries(&self) -> BTreeMap<Thing, Entry> {
        let running = self.look.running();
        let entry = |(thing, running): (Thing, Option<Running>)| {
            let step = self.steps.iter().find(|step| step.thing == thing);
            let before = step.map_or_else(|| running.clone(), |step| step.before.clone());
            (
                thing,
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
    pub fn moved_on(&self, now: &Look) -> Vec<String> {
        let mut moved = Vec::new();
        for (thing, then) in &self.look.services {
            match now.services.get(thing) {
                Some(now) if now.revision != then.revision => {
                    moved.push(format!(
                        "{thing} went from {} to {}",
                        then.revision, now.revision
                    ));
                }
                Some(_) => {}
                None => moved.push(format!("{thing} is gone")),
            }
        }
        if self.look.function.revision_id != now.function.revision_id {
            moved.push("the function's alias was moved".to_owned());
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::release::State;
    use super::super::release::testing::record;
    use super::super::rollout::RolloutState::{Completed, InProgress};
    use super::super::rollout::testing::{deployment, service};
    use super::*;

    fn definition(image: &str) -> Definition {
        let image = format!("localhost:4577/demo/axon@sha256:{image}");
        Definition(json!({ "family": "demo-axon", "containerDefinitions": [{ "image": image }] }))
    }

    fn look_at(state: ServiceState, image: &str) -> Look {
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
        let axon = ServiceLook {
            state,
            revision,
            registered,
        };
        Look {
            services: [(Thing::Axon, axon)].into(),
            function: FunctionState {
                version: "1".into(),
                code_sha256: "c2hlbGw=".into(),
                description: String::new(),
                revision_id: "r1".into(),
            },
        }
    }

    fn plan(image: &str, look: Look, landed: Option<&Record>) -> Plan {
        let wanted = [(
            Thing::Axon,
            Wanted::Definition {
                definition: definition(image),
                content: definition(image).sha256(),
            },
        )]
        .into();
        make(
            &wanted,
            look,
            landed,
            &[(Thing::Axon, 2)].into(),
            Vec::new(),
        )
    }

    #[test]
    fn the_same_definition_settled_is_kept() {
        let look = look_at(
            service(vec![deployment("demo-axon:4", Completed, 2, 2)]),
            "aa",
        );
        assert!(plan("aa", look, None).is_empty());
    }

    #[test]
    fn a_first_release_sends_the_desired_count_and_has_nothing_before() {
        let placeholder = service(vec![deployment("demo-axon-placeholder:1", Completed, 0, 0)]);
        let plan = plan("aa", look_at(placeholder, "none"), None);
        let step = &plan.steps[0];
        assert_eq!(
            (step.desired, &step.before, step.parent_desired),
            (Some(2), &None, 0)
        );
        assert_eq!(step.parent, "demo-axon-placeholder:1");
    }

    #[test]
    fn a_later_release_leaves_the_desired_count_alone() {
        let look = look_at(
            service(vec![deployment("demo-axon:4", Completed, 5, 5)]),
            "aa",
        );
        let plan = plan("bb", look, None);
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
            plan("aa", look_at(state, "aa"), None).steps[0].change,
            Change::Follow
        );
    }

    #[test]
    fn a_service_in_the_middle_of_a_rollout_goes_back_to_what_landed_last() {
        let state = service(vec![deployment("demo-axon:9", InProgress, 1, 2)]);
        let landed = record(3, State::Landed, "c");
        let plan = plan("bb", look_at(state, "aa"), Some(&landed));
        assert_eq!(plan.steps[0].parent, "demo-axon:3");
        assert_eq!(
            plan.entries()[&Thing::Axon]
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
        let plan = plan("bb", look_at(state("demo-axon:4"), "aa"), None);
        assert_eq!(plan.moved_on(&plan.look), Vec::<String>::new());
        let moved = plan.moved_on(&look_at(state("demo-axon:5"), "aa"));
        assert_eq!(moved, ["axon went from demo-axon:4 to demo-axon:5"]);
    }
}
