//! ECS: services whose rollouts advance by one step with each look, and their targets.

use crate::world::components::ORBIT;
use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;
use xtask::catalog::Service;
use xtask::decide::definition::Definition;
use xtask::decide::outputs::Outputs;
use xtask::decide::release::deployment::{DeploymentStatus, NewestDeployment, ServiceDeployment};
use xtask::decide::release::snapshot::{
    Deployment, Registered, Revision, RolloutState, ServiceEvent, ServiceState, StoppedContainer,
    StoppedTask, TargetHealth,
};
use xtask::ports::{Balancer, Cluster, ServiceUpdate};

use super::Fake;
use super::alarms::{self, AlarmWatch};
use super::deployments::FakeDeployment;

/// What becomes of the tasks of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RolloutScript {
    Good,
    /// They exit at once; the circuit breaker rolls the deployment back.
    CrashesAndGoesBack,
    /// They exit at once, and ECS does nothing about it.
    CrashesAndStays,
    /// They exit at once, and the circuit breaker has a high threshold.
    CrashesForLong,
    /// They run and fail the health check of the load balancer; the circuit breaker rolls the
    /// deployment back.
    FailsItsCheck,
    /// They run, but nothing answers: ECS calls that completed.
    NeverListens,
    /// They never come up, and ECS never gives up.
    Hangs,
    /// Another deployment replaces it.
    SupersededBy(&'static str),
}

impl RolloutScript {
    fn crashes(&self) -> bool {
        matches!(
            self,
            Self::CrashesAndGoesBack | Self::CrashesAndStays | Self::CrashesForLong
        )
    }

    fn fails(&self) -> bool {
        self.crashes() || *self == Self::FailsItsCheck
    }

    fn serves(&self) -> bool {
        matches!(self, Self::Good | Self::NeverListens)
    }
}

#[derive(Default)]
pub(crate) struct FakeEcs {
    pub(crate) services: BTreeMap<Service, FakeService>,
    pub(crate) revisions: BTreeMap<String, FakeRevision>,
    /// What becomes of revisions that are registered from now on.
    pub(crate) scripts: BTreeMap<Service, RolloutScript>,
    /// Whether the health check of orbit's tasks fails.
    pub(crate) orbit_is_unhealthy: bool,
    /// The last states that were answered.
    earlier_looks: BTreeMap<Service, VecDeque<ServiceState>>,
}

/// How many looks ago a stale state was the state.
const EARLIER_LOOKS: usize = 6;

#[derive(Clone)]
pub(crate) struct FakeRevision {
    pub(crate) definition: Definition,
    pub(crate) content: Option<String>,
    pub(crate) active: bool,
    pub(crate) rollout: RolloutScript,
}

#[derive(Clone)]
pub(crate) struct FakeService {
    pub(crate) primary: String,
    pub(crate) desired: i32,
    /// The revision that still runs while the primary one starts.
    before: Option<String>,
    /// The last revision whose deployment was completed: ECS rolls back to it.
    completed: String,
    /// Revisions whose deployment failed, and why: ECS lists them for ever.
    failed: Vec<(String, &'static str)>,
    /// Tasks of a service that was scaled down and that have not ended yet.
    pub(crate) leaving: i32,
    /// After how many looks the last of them has ended.
    pub(crate) linger: u32,
    /// Looks since the last update.
    step: u32,
    pub(crate) watch: AlarmWatch,
    /// What ECS tells, newest first.
    events: Vec<ServiceEvent>,
    /// The newest last.
    pub(super) deployments: Vec<FakeDeployment>,
}

/// The step at which a good rollout is completed, and a bad one is rolled back.
const LAST: u32 = 3;

pub(super) const BREAKER: &str = "ECS deployment circuit breaker: tasks failed to start.";

impl FakeEcs {
    pub(super) fn create(&mut self, name: Service) {
        if self.services.contains_key(&name) {
            return;
        }
        let primary = format!("demo-{name}-placeholder:1");
        let definition = Definition(json!({ "family": format!("demo-{name}-placeholder") }));
        let placeholder = FakeRevision {
            definition,
            content: None,
            active: true,
            rollout: RolloutScript::Hangs,
        };
        self.revisions.insert(primary.clone(), placeholder);
        let service = FakeService {
            completed: primary.clone(),
            primary,
            desired: 0,
            before: None,
            failed: Vec::new(),
            leaving: 0,
            linger: 0,
            step: LAST,
            watch: AlarmWatch::default(),
            events: vec![event("0", "was unable to place a task, a week ago")],
            deployments: Vec::new(),
        };
        self.services.insert(name, service);
    }

    /// The revision that answers through the load balancer now.
    pub(super) fn answering(&self, name: Service) -> Option<&str> {
        let service = self.services.get(&name)?;
        if service.desired == 0 {
            return None;
        }
        let serves = |revision: &String| self.revisions[revision].rollout == RolloutScript::Good;
        let primary = Some(&service.primary).filter(|_| service.step >= LAST);
        let before = service.before.as_ref();
        let up = primary
            .filter(|it| serves(it))
            .or(before.filter(|it| serves(it)));
        up.map(String::as_str)
    }

    /// A change by hand.
    pub(crate) fn update(
        &mut self,
        name: Service,
        revision: &str,
        desired: Option<i32>,
    ) -> Result<()> {
        let known = self.revisions.get(revision).context("no such revision")?;
        if !known.active {
            bail!("TaskDefinition is inactive: {revision}");
        }
        let service = self.services.get_mut(&name).context("no such service")?;
        let ran = &self.revisions[&service.primary].rollout;
        let running = service.show(ran).running;
        let desired = desired.unwrap_or(service.desired);
        if service.primary == revision && service.desired == desired {
            return Ok(());
        }
        service.step = 0;
        if service.primary != revision {
            let left = std::mem::replace(&mut service.primary, revision.to_owned());
            service.failed.retain(|(failed, _)| failed != revision);
            service.watch.begin();
            service.begin_deployment(name.name(), revision);
            if service.before.as_deref() == Some(revision) {
                // Its tasks never ended.
                service.before = None;
                service.step = 2;
            } else if ran.serves() && service.before.is_none() && service.desired > 0 {
                service.before = Some(left);
            } else if ran.fails() {
                service.failed.push((left, BREAKER));
            }
        }
        if desired < service.desired {
            service.leaving = running;
        }
        if desired == 0 {
            service.before = None;
        }
        service.desired = desired;
        Ok(())
    }

    /// Somebody stops the deployment of a service.
    pub(crate) fn stop_by_hand(&mut self, name: Service) {
        self.services.get_mut(&name).unwrap().go_back("");
    }

    /// Registers a revision for a deployment by hand.
    pub(crate) fn register_by_hand(&mut self, revision: &str) {
        let (family, _) = revision.split_once(':').unwrap();
        let by_hand = FakeRevision {
            definition: Definition(json!({ "family": family })),
            content: None,
            active: true,
            rollout: RolloutScript::Good,
        };
        self.revisions.insert(revision.to_owned(), by_hand);
    }

    fn look(&mut self, name: Service) -> Result<ServiceState> {
        let service = self.services.get_mut(&name).context("no such service")?;
        let rollout = self.revisions[&service.primary].rollout.clone();
        let seen = service.show(&rollout);
        if let Some(other) = service.advance(&rollout) {
            self.register_by_hand(other);
            self.update(name, other, None)?;
        }
        Ok(seen)
    }
}

impl FakeService {
    fn show(&self, rollout: &RolloutScript) -> ServiceState {
        let (state, running) = self.primary_state(rollout);
        let failing = rollout.fails();
        let primary = Deployment {
            primary: true,
            revision: self.primary.parse().unwrap(),
            state,
            reason: match state {
                RolloutState::Failed => BREAKER.to_owned(),
                RolloutState::InProgress | RolloutState::Completed => String::new(),
            },
            desired: self.desired,
            running,
            pending: if failing { 0 } else { self.desired - running },
            failed: if failing { self.step.cast_signed() } else { 0 },
        };
        let mut deployments = vec![primary];
        if let Some(before) = &self.before {
            deployments.push(Deployment {
                primary: false,
                revision: before.parse().unwrap(),
                state: RolloutState::Completed,
                reason: String::new(),
                desired: self.desired,
                running: self.desired,
                pending: 0,
                failed: 0,
            });
        }
        deployments.extend(self.failed.iter().map(|(revision, reason)| Deployment {
            primary: false,
            revision: revision.parse().unwrap(),
            state: RolloutState::Failed,
            reason: (*reason).to_owned(),
            desired: 0,
            running: 0,
            pending: 0,
            failed: 2,
        }));
        let sum = |count: fn(&Deployment) -> i32| deployments.iter().map(count).sum::<i32>();
        ServiceState {
            active: true,
            desired: self.desired,
            running: sum(|it| it.running) + self.leaving,
            pending: sum(|it| it.pending),
            deployments,
            alarms: self.watch.alarms.clone(),
            events: self.events.clone(),
        }
    }

    fn primary_state(&self, rollout: &RolloutScript) -> (RolloutState, i32) {
        if self.desired == 0 {
            return (RolloutState::Completed, 0);
        }
        match rollout {
            RolloutScript::CrashesAndGoesBack | RolloutScript::CrashesAndStays
                if self.step >= 2 =>
            {
                (RolloutState::Failed, 0)
            }
            RolloutScript::FailsItsCheck if self.step >= LAST => (RolloutState::Failed, 0),
            RolloutScript::FailsItsCheck => (RolloutState::InProgress, self.desired),
            RolloutScript::Hangs
            | RolloutScript::CrashesAndGoesBack
            | RolloutScript::CrashesAndStays
            | RolloutScript::CrashesForLong => (RolloutState::InProgress, 0),
            RolloutScript::Good | RolloutScript::NeverListens | RolloutScript::SupersededBy(_) => {
                match self.step {
                    0 => (RolloutState::InProgress, 0),
                    1 => (RolloutState::InProgress, self.desired / 2),
                    2 => (RolloutState::InProgress, self.desired),
                    _ => (RolloutState::Completed, self.desired),
                }
            }
        }
    }

    /// One step further. Returns the revision of another deployment that begins now.
    fn advance(&mut self, rollout: &RolloutScript) -> Option<&'static str> {
        self.step += 1;
        let last = i32::from(self.leaving > 0 && self.linger > 0);
        self.linger = self.linger.saturating_sub(last.cast_unsigned());
        self.leaving = (self.leaving - 1).max(last);
        if self.watch.fails(self.step) {
            self.go_back(alarms::REASON);
            return None;
        }
        match rollout {
            RolloutScript::SupersededBy(other) if self.step == 2 => return Some(other),
            RolloutScript::FailsItsCheck if self.step == 2 => {
                let text = "(port 80) is unhealthy in (target-group arn) \
                    due to (reason Health checks failed)";
                self.events.insert(0, event("1", text));
            }
            RolloutScript::CrashesAndGoesBack | RolloutScript::FailsItsCheck
                if self.step > LAST =>
            {
                self.go_back(BREAKER);
            }
            RolloutScript::Good | RolloutScript::NeverListens if self.step >= LAST => {
                self.before = None;
                self.watch.end();
                self.completed.clone_from(&self.primary);
                self.complete_deployment();
            }
            RolloutScript::CrashesAndStays if self.step >= 2 => {
                self.end_deployment(DeploymentStatus::Stopped, BREAKER);
            }
            _ => {}
        }
        None
    }

    /// As ECS does: to the revision that was completed last, with the current desired count. Its
    /// tasks never ended.
    fn go_back(&mut self, reason: &'static str) {
        self.before = None;
        self.watch.end();
        let failed = std::mem::replace(&mut self.primary, self.completed.clone());
        self.failed.push((failed, reason));
        self.step = 2;
        self.end_deployment(DeploymentStatus::RollingBack, reason);
    }
}

fn event(id: &str, text: &str) -> ServiceEvent {
    ServiceEvent {
        id: id.to_owned(),
        message: format!("(service demo) {text}"),
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn describe_services(
        &self,
        _: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>> {
        let looks = services.chunks(10).map(async |services| {
            let names: Vec<&str> = services.iter().map(|it| it.name()).collect();
            let name = format!("look {}", names.join(" "));
            self.call(&name, |state| {
                let is_stale = std::mem::take(&mut state.stale_look);
                let looks = services.iter().map(|it| {
                    let now = state.ecs.look(*it)?;
                    let earlier = state.ecs.earlier_looks.entry(*it).or_default();
                    earlier.push_back(now.clone());
                    if earlier.len() > EARLIER_LOOKS {
                        earlier.pop_front();
                    }
                    let stale = earlier.front().filter(|_| is_stale);
                    Ok((*it, stale.cloned().unwrap_or(now)))
                });
                looks.collect::<Result<Vec<_>>>()
            })
            .await
        });
        let states = try_join_all(looks).await?;
        Ok(states.into_iter().flatten().collect())
    }

    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>> {
        self.call(&format!("describe {revision}"), |state| {
            let known = state.ecs.revisions.get(revision.as_str()).cloned();
            Ok(known.map(|known| {
                let mut definition = known.definition;
                definition.0["revision"] = json!(1);
                definition.0["status"] = json!(if known.active { "ACTIVE" } else { "INACTIVE" });
                Registered {
                    definition,
                    active: known.active,
                    sha256: known.content,
                }
            }))
        })
        .await
    }

    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision> {
        let family = definition.family();
        self.call(&format!("register {family}"), |state| {
            let of_family = |it: &&String| it.split(':').next() == Some(family);
            let number = state.ecs.revisions.keys().filter(of_family).count() + 1;
            let revision = format!("{family}:{number}");
            let name: Service = family.trim_start_matches("demo-").parse().unwrap();
            let rollout = state.ecs.scripts.get(&name).cloned();
            let registered = FakeRevision {
                definition: definition.clone(),
                content: Some(content.to_owned()),
                active: true,
                rollout: rollout.unwrap_or(RolloutScript::Good),
            };
            state.ecs.revisions.insert(revision.clone(), registered);
            state.changed(format!("register {revision}"));
            Ok(revision.parse()?)
        })
        .await
    }

    async fn update_service(
        &self,
        _: &Outputs,
        name: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let mut call = format!("update {name}");
        if let Some(revision) = &update.revision {
            call.push_str(&format!(" {revision}"));
        }
        if let Some(desired) = update.desired {
            call.push_str(&format!(" desired {desired}"));
        }
        if let Some(alarms) = &update.alarms {
            call.push_str(if alarms.enabled {
                " alarms on"
            } else {
                " alarms off"
            });
        }
        self.call(&call, |state| {
            let service = state
                .ecs
                .services
                .get_mut(&name)
                .context("no such service")?;
            if let Some(alarms) = &update.alarms {
                service.watch.alarms = Some(alarms.clone());
            }
            if let Some(revision) = &update.revision {
                state.ecs.update(name, revision.as_str(), update.desired)?;
            }
            state.changed(&call);
            Ok(())
        })
        .await
    }

    async fn stopped_tasks(
        &self,
        _: &Outputs,
        name: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>> {
        let task = |id: &str, code: &str, exit_code| StoppedTask {
            id: id.to_owned(),
            stop_code: code.to_owned(),
            reason: "Essential container in task exited".to_owned(),
            containers: vec![StoppedContainer {
                name: name.name().to_owned(),
                exit_code: Some(exit_code),
                reason: None,
            }],
        };
        self.call(&format!("stopped tasks {revision}"), |state| {
            let rollout = &state.ecs.revisions[revision.as_str()].rollout;
            let mut tasks = vec![task("0drained", "ServiceSchedulerInitiated", 0)];
            if *rollout == RolloutScript::FailsItsCheck {
                let reason = "Task failed ELB health checks in (target-group arn)".to_owned();
                tasks.push(StoppedTask {
                    reason,
                    ..task("1sick", "ServiceSchedulerInitiated", 0)
                });
            }
            if rollout.crashes() {
                tasks.push(task("1crashed", "EssentialContainerExited", 101));
                tasks.push(task("2crashed", "EssentialContainerExited", 101));
                tasks.push(task("3crashed", "EssentialContainerExited", 101));
            }
            Ok(tasks)
        })
        .await
    }

    async fn running_tasks(&self, _: &Outputs, name: Service) -> Result<Vec<String>> {
        self.call(&format!("tasks {name}"), |state| {
            Ok(state
                .tasks_alive(name)
                .map(|task| task.id.clone())
                .collect())
        })
        .await
    }

    async fn task_health(&self, outputs: &Outputs, name: Service) -> Result<Vec<String>> {
        let running = usize::try_from(
            Cluster::describe_service(self, outputs, name)
                .await?
                .running,
        )?;
        let unhealthy = self.state().ecs.orbit_is_unhealthy && name == ORBIT;
        let health = if unhealthy { "UNHEALTHY" } else { "HEALTHY" };
        Ok(vec![health.to_owned(); running])
    }

    async fn newest_service_deployment(
        &self,
        _: &Outputs,
        name: Service,
        _: Timestamp,
    ) -> Result<Option<NewestDeployment>> {
        self.call(&format!("deployments {name}"), |state| {
            let service = &state.ecs.services[&name];
            Ok(service.deployments.last().map(FakeDeployment::newest))
        })
        .await
    }

    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>> {
        self.call(&format!("deployment {arn}"), |state| {
            let (name, number) = arn.split_once('/').context("no such deployment")?;
            let name: Service = name.parse().unwrap();
            let service = &state.ecs.services[&name];
            let rollout = &state.ecs.revisions[&service.primary].rollout;
            // The others are given up before a second task fails.
            let fails_again = *rollout == RolloutScript::CrashesForLong;
            let failures = if fails_again { service.step } else { 0 };
            let found = service.deployments.get(number.parse::<usize>()? - 1);
            Ok(found.map(|found| found.described(failures)))
        })
        .await
    }

    async fn stop_service_deployment(&self, arn: &str) -> Result<()> {
        let call = format!("stop {arn}");
        self.call(&call, |state| {
            let (name, _) = arn.split_once('/').context("no such deployment")?;
            let name: Service = name.parse().unwrap();
            let service = state.ecs.services.get_mut(&name);
            service.context("no such service")?.go_back("");
            state.changed(&call);
            Ok(())
        })
        .await
    }

    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>> {
        self.call(&format!("revisions {family}"), |state| {
            let known = state.ecs.revisions.iter().filter(|(_, it)| it.active);
            let names = known.map(|(name, _)| name.parse::<Revision>().unwrap());
            Ok(names.filter(|it| it.family() == family).collect())
        })
        .await
    }

    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()> {
        self.call(&format!("deregister {revision}"), |state| {
            let known = state.ecs.revisions.get_mut(revision.as_str());
            known.context("no such revision")?.active = false;
            state.changed(format!("deregister {revision}"));
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Balancer for Fake {
    async fn describe_target_health(
        &self,
        _: &Outputs,
        name: Service,
    ) -> Result<Vec<TargetHealth>> {
        self.call(&format!("target health {name}"), |state| {
            let service = &state.ecs.services[&name];
            let (state, reason) = match state.ecs.revisions[&service.primary].rollout {
                RolloutScript::NeverListens | RolloutScript::FailsItsCheck => {
                    ("unhealthy", Some("Health checks failed".to_owned()))
                }
                _ => ("healthy", None),
            };
            let state = state.to_owned();
            let count = usize::try_from(service.desired)?;
            Ok(vec![TargetHealth { state, reason }; count])
        })
        .await
    }
}
