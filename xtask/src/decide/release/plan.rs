//! What a release would change, and on top of which snapshot: a value.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Entries, Record};
use super::snapshot::{
    FunctionRunning, FunctionState, FunctionVersion, Revision, RolloutState, ServiceRunning,
    ServiceSnapshot, Snapshot,
};
use crate::catalog::{Component, Function, Service};
use crate::decide::artifact::image::{Artifact, Key};
use crate::decide::definition::Definition;

/// What the components that a release covers shall become.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    pub services: BTreeMap<Service, DesiredService>,
    pub functions: BTreeMap<Function, DesiredFunction>,
    /// How many tasks each service starts with.
    pub counts: BTreeMap<Service, i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DesiredService {
    /// `content` is what a record knows it by: its hash when it was first rendered.
    Definition {
        definition: Definition,
        content: String,
        /// Of its image.
        key: Option<Key>,
    },
    /// A revision that ECS has.
    Revision { revision: Revision, content: String },
}

#[derive(Debug, Clone, PartialEq)]
pub enum DesiredFunction {
    /// Code by its key; the artifact is there where the key is not what runs already.
    Code {
        key: Key,
        artifact: Option<Artifact>,
    },
    /// A version that Lambda has.
    Version(FunctionRunning),
}

/// How a service becomes what is desired.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceAction {
    /// It is that already.
    Keep,
    /// It is being rolled out, by a release that is not watched any more.
    Follow,
    Register {
        definition: Definition,
        content: String,
        key: Option<Key>,
    },
    Deploy(Revision),
}

/// How a function becomes what is desired.
#[derive(Debug, Clone, PartialEq)]
pub enum FunctionAction {
    Keep,
    Publish(Artifact),
    MoveAlias(FunctionRunning),
}

/// One component's part of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Function(FunctionStep),
    Service(ServiceStep),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStep {
    pub service: Service,
    pub action: ServiceAction,
    /// What ran before; `None`: a placeholder, or none desired.
    pub previous: Option<ServiceRunning>,
    /// The newest revision of the service when the plan was made.
    pub parent: Revision,
    /// What a rollback goes to: the revision that was settled last.
    pub rollback_revision: Revision,
    /// How many tasks that revision had.
    pub rollback_count: i32,
    /// In the middle of a rollout: what else ECS may go back to by itself, the placeholder too.
    pub others: Vec<Revision>,
    /// Sent only where it must change: autoscaling owns it otherwise.
    pub count: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FunctionStep {
    pub function: Function,
    pub action: FunctionAction,
    pub previous: Option<FunctionRunning>,
    /// What a rollback moves the alias back to.
    pub rollback_version: FunctionVersion,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for each component that this release may change, in the order of the release.
    pub steps: Vec<Step>,
    /// Images that the registry lacks.
    pub pushes: Vec<Artifact>,
    /// Services whose alarms an earlier release left off: this one turns them on again.
    pub without_alarms: BTreeSet<Service>,
    /// The newest record, where it is in progress: this release ends it, if nobody works on it.
    pub unfinished: Option<String>,
    /// The number of the newest record when the plan was made.
    pub newest: u64,
    /// What the plan is made for.
    pub snapshot: Snapshot,
}

impl Step {
    pub fn component(&self) -> Component {
        match self {
            Self::Function(step) => step.function.into(),
            Self::Service(step) => step.service.into(),
        }
    }

    pub fn changes_nothing(&self) -> bool {
        match self {
            Self::Function(step) => step.action == FunctionAction::Keep,
            Self::Service(step) => step.action == ServiceAction::Keep,
        }
    }
}

impl Plan {
    /// Compares what is desired with what runs. `order`: in which the components are changed.
    ///
    /// `succeeded` is the newest release that succeeded: where a service is in the middle of a
    /// rollout, what it goes back to is what ran after that release.
    pub fn new(
        order: &[Component],
        desired: &Desired,
        snapshot: Snapshot,
        succeeded: Option<&Record>,
    ) -> Self {
        let step = |component: &Component| match *component {
            Component::Function(function) => {
                let wanted = desired.functions.get(&function)?;
                let state = snapshot.functions.get(&function)?;
                Some(Step::Function(function_step(function, wanted, state)))
            }
            Component::Service(service) => {
                let wanted = desired.services.get(&service)?;
                let found = snapshot.services.get(&service)?;
                let entries = succeeded.map(|record| &record.entries.services);
                let known = entries.and_then(|entries| entries.get(&service)?.after.as_ref());
                let count = desired.counts.get(&service).copied().unwrap_or(1);
                let step = service_step(service, wanted, found, known, count);
                Some(Step::Service(step))
            }
        };
        Self {
            steps: order.iter().filter_map(step).collect(),
            pushes: Vec::new(),
            without_alarms: BTreeSet::new(),
            unfinished: None,
            newest: 0,
            snapshot,
        }
    }

    /// The services whose definition is replaced and was not read.
    pub fn unread(&self) -> Vec<Service> {
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Service(step) => Some(step),
            Step::Function(_) => None,
        });
        let replaced = steps.filter(|step| {
            let found = self.snapshot.services.get(&step.service);
            step.previous.is_some()
                && matches!(step.action, ServiceAction::Register { .. })
                && found.is_some_and(|found| found.definition.is_none())
        });
        replaced.map(|step| step.service).collect()
    }

    /// Nothing to change, nothing to push, nothing to follow, no alarms to turn on,
    /// and no record to end.
    pub fn is_empty(&self) -> bool {
        self.pushes.is_empty()
            && self.without_alarms.is_empty()
            && self.unfinished.is_none()
            && self.steps.iter().all(Step::changes_nothing)
    }

    /// What a record starts with: what ran before, of every component.
    pub fn entries(&self) -> Entries {
        let mut entries = Entries::of(&self.snapshot);
        for step in &self.steps {
            if let Step::Service(step) = step
                && let Some(entry) = entries.services.get_mut(&step.service)
            {
                entry.before.clone_from(&step.previous);
            }
        }
        entries
    }
}

fn service_step(
    service: Service,
    desired: &DesiredService,
    found: &ServiceSnapshot,
    succeeded: Option<&ServiceRunning>,
    count: i32,
) -> ServiceStep {
    let (DesiredService::Definition { content, .. } | DesiredService::Revision { content, .. }) =
        desired;
    let running = found.running();
    let is_same = running.as_ref().is_some_and(|it| it.content == *content);
    // Of a deployment that failed nothing more becomes.
    let primary = found.state.primary();
    let is_failed = primary.is_some_and(|it| it.state == RolloutState::Failed);
    let action = match desired {
        _ if is_same && found.state.settled() => ServiceAction::Keep,
        _ if is_same && !is_failed => ServiceAction::Follow,
        DesiredService::Definition {
            definition,
            content,
            key,
        } => ServiceAction::Register {
            definition: definition.clone(),
            content: content.clone(),
            key: key.clone(),
        },
        DesiredService::Revision { revision, .. } => ServiceAction::Deploy(revision.clone()),
    };
    let settled = found.state.settled() || found.is_first();
    let succeeded = succeeded.filter(|_| !settled);
    let others = found.state.deployments.iter().filter(|_| !settled);
    let others = others.map(|it| it.revision.clone());
    ServiceStep {
        service,
        action,
        others: others.filter(|it| *it != found.revision).collect(),
        previous: succeeded.cloned().or(running),
        parent: found.revision.clone(),
        rollback_revision: succeeded.map_or(&found.revision, |it| &it.revision).clone(),
        rollback_count: found.state.desired,
        count: found.is_first().then_some(count),
    }
}

fn function_step(
    function: Function,
    desired: &DesiredFunction,
    found: &FunctionState,
) -> FunctionStep {
    let action = match desired {
        DesiredFunction::Code {
            key,
            artifact: Some(artifact),
        } if found.key.as_ref() != Some(key) => FunctionAction::Publish(artifact.clone()),
        DesiredFunction::Version(running) if running.version != found.version => {
            FunctionAction::MoveAlias(running.clone())
        }
        DesiredFunction::Code { .. } | DesiredFunction::Version(_) => FunctionAction::Keep,
    };
    FunctionStep {
        function,
        action,
        previous: found.running(),
        rollback_version: found.version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::testing::{AXON, COMPONENTS};
    use crate::decide::release::record::ReleaseState;
    use crate::decide::release::record::testing::record;
    use crate::decide::release::snapshot::RolloutState::{Completed, Failed, InProgress};
    use crate::decide::release::snapshot::testing::{deployment, service};
    use crate::decide::release::snapshot::{Registered, ServiceState};

    fn definition(image: &str) -> Definition {
        let image = format!("localhost:4577/demo/axon@sha256:{image}");
        Definition(json!({ "family": "demo-axon", "containerDefinitions": [{ "image": image }] }))
    }

    fn snapshot_of(state: ServiceState, image: &str) -> Snapshot {
        let definition = definition(image);
        let axon = ServiceSnapshot {
            revision: state.primary().unwrap().revision.clone(),
            content: None,
            definition: None,
            state,
        };
        let axon = axon.with(Some(Registered {
            sha256: Some(definition.sha256()),
            definition,
            active: true,
        }));
        Snapshot {
            services: [(AXON, axon)].into(),
            functions: BTreeMap::new(),
        }
    }

    fn plan(image: &str, snapshot: Snapshot, succeeded: Option<&Record>) -> Plan {
        let axon = DesiredService::Definition {
            definition: definition(image),
            content: definition(image).sha256(),
            key: None,
        };
        let desired = Desired {
            services: [(AXON, axon)].into(),
            functions: BTreeMap::new(),
            counts: [(AXON, 2)].into(),
        };
        Plan::new(&COMPONENTS, &desired, snapshot, succeeded)
    }

    fn axon(plan: &Plan) -> &ServiceStep {
        match &plan.steps[0] {
            Step::Service(step) => step,
            Step::Function(step) => panic!("{step:?}"),
        }
    }

    #[test]
    fn the_same_definition_settled_is_kept() {
        let running = service(vec![deployment("demo-axon:4", Completed, 2, 2)]);
        assert!(plan("aa", snapshot_of(running, "aa"), None).is_empty());
    }

    #[test]
    fn a_first_release_sends_the_desired_count_and_has_nothing_before() {
        let placeholder = service(vec![deployment("demo-axon-placeholder:1", Completed, 0, 0)]);
        let plan = plan("aa", snapshot_of(placeholder, "none"), None);
        let step = axon(&plan);
        assert_eq!(
            (step.count, &step.previous, step.rollback_count),
            (Some(2), &None, 0)
        );
        assert_eq!(step.rollback_revision.as_str(), "demo-axon-placeholder:1");
    }

    #[test]
    fn a_later_release_leaves_the_desired_count_alone() {
        let running = service(vec![deployment("demo-axon:4", Completed, 5, 5)]);
        let plan = plan("bb", snapshot_of(running, "aa"), None);
        let register = ServiceAction::Register {
            definition: definition("bb"),
            content: definition("bb").sha256(),
            key: None,
        };
        assert_eq!((&axon(&plan).action, axon(&plan).count), (&register, None));
    }

    #[test]
    fn a_rollout_under_way_to_what_is_desired_is_followed() {
        let state = service(vec![deployment("demo-axon:4", InProgress, 1, 2)]);
        let plan = plan("aa", snapshot_of(state, "aa"), None);
        assert_eq!(axon(&plan).action, ServiceAction::Follow);
    }

    /// The way back of a release that was ended by what is outside of it.
    #[test]
    fn a_deployment_of_what_is_desired_that_failed_is_not_followed() {
        let state = service(vec![deployment("demo-axon:4", Failed, 0, 2)]);
        let plan = plan("aa", snapshot_of(state, "aa"), None);
        assert!(matches!(axon(&plan).action, ServiceAction::Register { .. }));
    }

    #[test]
    fn a_service_in_the_middle_of_a_rollout_goes_back_to_what_succeeded_last() {
        let state = service(vec![deployment("demo-axon:9", InProgress, 1, 2)]);
        let succeeded = record(3, ReleaseState::Succeeded, "c");
        let plan = plan("bb", snapshot_of(state, "aa"), Some(&succeeded));
        assert_eq!(axon(&plan).rollback_revision.as_str(), "demo-axon:3");
        let entry = &plan.entries().services[&AXON];
        let before = entry.before.as_ref().unwrap();
        assert_eq!(before.revision.as_str(), "demo-axon:3");
    }

    #[test]
    fn what_ecs_may_go_back_to_is_known_in_the_middle_of_a_rollout() {
        let placeholder = deployment("demo-axon-placeholder:1", Completed, 0, 0);
        let state = service(vec![
            deployment("demo-axon:1", InProgress, 0, 2),
            placeholder.clone(),
        ]);
        let others = axon(&plan("bb", snapshot_of(state, "aa"), None))
            .others
            .clone();
        assert_eq!(others, [placeholder.revision]);
        let settled = service(vec![deployment("demo-axon:1", Completed, 2, 2)]);
        assert!(
            axon(&plan("bb", snapshot_of(settled, "aa"), None))
                .others
                .is_empty()
        );
    }

    #[test]
    fn what_changed_since_a_snapshot_is_named() {
        let state = |revision| service(vec![deployment(revision, Completed, 2, 2)]);
        let then = snapshot_of(state("demo-axon:4"), "aa");
        assert_eq!(then.changed_since(&then), Vec::<String>::new());
        let now = snapshot_of(state("demo-axon:5"), "aa");
        assert_eq!(
            then.changed_since(&now),
            ["axon went from demo-axon:4 to demo-axon:5"]
        );
        // ECS may go back by itself.
        let moving = service(vec![deployment("demo-axon:5", InProgress, 1, 2)]);
        let moving = snapshot_of(moving, "aa");
        assert_eq!(moving.changed_since(&then), Vec::<String>::new());
        // It does not from a deployment that is completed, while tasks of before drain.
        let mut draining = state("demo-axon:5");
        draining.running = 4;
        assert_eq!(
            snapshot_of(draining, "aa").changed_since(&then),
            ["axon went from demo-axon:5 to demo-axon:4"]
        );
        // It goes back from what somebody brought since.
        let going_back = service(vec![
            deployment("demo-axon:4", InProgress, 2, 2),
            deployment("demo-axon:5", Failed, 0, 2),
        ]);
        let now = snapshot_of(going_back, "aa");
        assert_eq!(
            then.changed_since(&now),
            ["axon is in the middle of a rollout"]
        );
    }
}
