//! Services, the calls that change them, and time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use serde_json::Value;

use super::answers::ServiceAnswer;
use super::chance::Chance;
use super::deployments::{
    FailedBy, ModelDeployment, NO_WAY_BACK, RolloutStatus, ServiceDeploymentAnswer,
    ServiceDeploymentStatus, name,
};
use super::images::ImageScript;
use super::targets::Checks;
use super::tasks::{ModelTask, StopCause};
use super::truth::{Actor, Runs, ServiceChange, Truth};
use super::{Millis, NEVER};

/// What AWS's documents leave open, or what differs between accounts.
#[derive(Debug, Clone)]
pub(super) struct Undecided {
    /// Tasks of a rollout are started one at a time.
    pub(super) one_at_a_time: bool,
    /// Where ECS goes back it makes a new deployment, or it uses the old one again.
    pub(super) goes_back_anew: bool,
    /// A failed deployment stays in the list once its tasks are gone.
    pub(super) failed_stay: bool,
    /// Tasks that drain count as running.
    pub(super) counts_deactivating: bool,
    /// A deployment is completed while tasks of the one before still drain.
    pub(super) completes_early: bool,
    /// Whether a service without a completed deployment that ran goes back to its placeholder.
    pub(super) goes_back_to_placeholder: bool,
    /// The circuit breaker ends the way back as well.
    pub(super) breaks_way_back: bool,
    /// A sick task is replaced before it is stopped, where the maximum leaves room, which is
    /// documented (`DeploymentConfiguration` of the API reference, `maximumPercent`). Simulations do
    /// without: such a rollout lasts longer, ECS may go back in the middle of the next release, and
    /// their judge does not tell that from somebody else's change.
    pub(super) replaces_first: bool,
    /// How long a target drains.
    pub(super) drain: Millis,
    /// How long alarms watch after all tasks run.
    pub(super) bake: Millis,
    pub(super) checks: Checks,
    pub(super) minimum_percent: u32,
    pub(super) maximum_percent: u32,
}

impl Undecided {
    /// What is over soon, for tests that are about something else.
    const SWIFT: Self = Self {
        one_at_a_time: false,
        goes_back_anew: true,
        failed_stay: true,
        counts_deactivating: true,
        completes_early: false,
        goes_back_to_placeholder: true,
        breaks_way_back: false,
        replaces_first: false,
        drain: 1_000,
        bake: 5_000,
        checks: Checks {
            first_after: 500,
            interval: 1_000,
            unhealthy_after: 2,
            healthy_after: 2,
        },
        minimum_percent: 100,
        maximum_percent: 200,
    };

    /// What the local AWS does (`xtask/emulator/overlay/unsure.py`). It drains for a shorter time, but
    /// its tasks start sooner as well.
    const LOCAL_AWS: Self = Self {
        goes_back_anew: false,
        failed_stay: false,
        breaks_way_back: true,
        replaces_first: true,
        drain: 15_000,
        checks: Checks {
            first_after: 2_000,
            interval: 5_000,
            unhealthy_after: 2,
            healthy_after: 2,
        },
        ..Self::SWIFT
    };

    fn of(chance: &mut Chance) -> Self {
        let percents = [(100, 200), (100, 200), (100, 150), (50, 200), (50, 100)];
        let (minimum_percent, maximum_percent) = chance.pick(&percents);
        Self {
            one_at_a_time: chance.one_in(3),
            goes_back_anew: chance.one_in(2),
            failed_stay: chance.one_in(2),
            counts_deactivating: chance.one_in(2),
            completes_early: chance.one_in(4),
            goes_back_to_placeholder: chance.one_in(2),
            // Without a number of its own: what was found by a seed stays at it.
            breaks_way_back: chance.clone().one_in(2),
            replaces_first: false,
            drain: chance.between(3_000, 15_000),
            bake: chance.between(60_000, 180_000),
            checks: Checks {
                first_after: 500,
                interval: chance.between(2_000, 10_000),
                unhealthy_after: 2,
                healthy_after: 2,
            },
            minimum_percent,
            maximum_percent,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlarmSettings {
    pub(crate) names: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) rollback: bool,
}

/// A service as `CreateService` leaves it: on a placeholder, with none desired.
#[derive(Debug, Clone)]
pub(crate) struct ModelService {
    pub(super) name: String,
    pub(super) desired: u32,
    /// The primary one is first.
    pub(super) deployments: Vec<ModelDeployment>,
    pub(super) service_deployments: Vec<ServiceDeploymentAnswer>,
    /// The newest deployment that was completed.
    pub(super) completed: Option<ModelDeployment>,
    /// When deployments were completed.
    pub(super) completions: Vec<Millis>,
    pub(super) tasks: Vec<ModelTask>,
    pub(super) alarms: Option<AlarmSettings>,
    pub(super) in_alarm: bool,
    /// `deploymentCircuitBreaker.rollback`.
    pub(super) breaker_rolls_back: bool,
    pub(super) events: Vec<(String, String)>,
    pub(super) tick_at: Millis,
    pub(super) undecided: Undecided,
    pub(super) earlier: VecDeque<(Millis, ServiceAnswer)>,
    /// No fewer tasks may be healthy, once it ran as desired.
    pub(super) floor: Option<u32>,
    /// How many deployments there were.
    pub(super) made: u32,
    /// Something was changed since its answer was remembered.
    pub(super) is_dirty: bool,
    /// All tasks that are desired were healthy when ECS last looked, and no other was there.
    pub(super) is_steady: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct ModelRevision {
    pub(crate) body: Value,
    pub(crate) tag: Option<String>,
    pub(crate) active: bool,
    script: ImageScript,
    pub(crate) registered: Millis,
}

/// A call that changes something.
#[derive(Debug, Clone)]
pub(crate) enum EcsCall {
    Register {
        body: Value,
        tag: Option<String>,
        script: Option<ImageScript>,
    },
    Deregister(String),
    Update(UpdateCall),
    /// Stops one task.
    StopTask {
        service: String,
        reason: String,
    },
    /// With `ROLLBACK`.
    StopServiceDeployment {
        arn: String,
    },
    /// The alarms of a service go from OK to ALARM, or back.
    Alarm {
        service: String,
        on: bool,
    },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct UpdateCall {
    pub(crate) service: String,
    pub(crate) revision: Option<String>,
    pub(crate) desired: Option<u32>,
    pub(crate) alarms: Option<AlarmSettings>,
    /// `forceNewDeployment`.
    pub(crate) force: bool,
}

/// An error that the API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcsRefusal(pub(crate) String);

/// A call of somebody that is carried out at its time.
#[derive(Debug, Clone)]
struct Scheduled {
    at: Millis,
    by: Actor,
    late: bool,
    call: EcsCall,
}

#[derive(Debug, Clone)]
pub(crate) struct EcsModel {
    pub(crate) now: Millis,
    pub(super) chance: Chance,
    pub(super) services: BTreeMap<String, ModelService>,
    revisions: BTreeMap<String, ModelRevision>,
    /// What the programs of images do, by digest. Any other is good.
    pub(crate) images: BTreeMap<String, ImageScript>,
    scheduled: Vec<Scheduled>,
    /// Which target is asked.
    balancer: Chance,
    /// What all services do that AWS leaves open.
    fixed: Option<Undecided>,
    /// Nothing happens before this.
    quiet_until: Millis,
    pub(crate) truth: Truth,
}

impl EcsModel {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            chance: Chance::new(seed),
            services: BTreeMap::new(),
            revisions: BTreeMap::new(),
            images: BTreeMap::new(),
            scheduled: Vec::new(),
            balancer: Chance::new(!seed),
            fixed: None,
            quiet_until: 0,
            truth: Truth::default(),
        }
    }

    pub(crate) fn active_revisions(&self, family: &str) -> Vec<String> {
        let active = self.revisions.iter().filter(|(_, it)| it.active);
        let names = active.map(|(name, _)| name.clone());
        names
            .filter(|name| name.split_once(':').is_some_and(|(of, _)| of == family))
            .collect()
    }

    /// Where nothing takes long.
    pub(crate) fn swift() -> Self {
        Self {
            fixed: Some(Undecided::SWIFT),
            ..Self::new(0)
        }
    }

    /// What AWS leaves open is as in the local AWS. The seed decides about times.
    pub(super) fn like_local_aws(seed: u64) -> Self {
        Self {
            fixed: Some(Undecided::LOCAL_AWS),
            ..Self::new(seed)
        }
    }

    /// What chance decides from now on is decided by this seed.
    pub(crate) fn roll(&mut self, seed: u64) {
        self.chance = Chance::new(seed);
    }

    /// The same account with another future: what is not decided yet is decided by this seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.quiet_until = 0;
        self.fixed = None;
        self.chance = Chance::new(seed);
        self.balancer = Chance::new(!seed);
        for service in self.services.values_mut() {
            service.undecided = Undecided::of(&mut self.chance);
        }
    }

    pub(crate) fn create_service(&mut self, service: &str, placeholder: &str) {
        let revision = ModelRevision {
            body: serde_json::json!({ "family": placeholder.split(':').next() }),
            tag: None,
            active: true,
            script: ImageScript::NotPulled,
            registered: self.now,
        };
        self.revisions.insert(placeholder.to_owned(), revision);
        let fixed = self.fixed.clone();
        let undecided = fixed.unwrap_or_else(|| Undecided::of(&mut self.chance));
        let mut first = ModelDeployment::begun(0, placeholder, Actor::Ecs, self.now);
        first.rollout = RolloutStatus::Completed;
        let created = ModelService {
            name: service.to_owned(),
            desired: 0,
            completed: Some(first.clone()),
            completions: Vec::new(),
            deployments: vec![first],
            service_deployments: Vec::new(),
            tasks: Vec::new(),
            alarms: None,
            in_alarm: false,
            breaker_rolls_back: true,
            events: Vec::new(),
            tick_at: NEVER,
            undecided,
            earlier: VecDeque::new(),
            floor: None,
            made: 0,
            is_dirty: true,
            is_steady: true,
        };
        self.services.insert(service.to_owned(), created);
        self.after_step();
    }

    pub(crate) fn revision(&self, revision: &str) -> Option<&ModelRevision> {
        self.revisions.get(revision)
    }

    pub(super) fn script_of(&self, revision: &str) -> ImageScript {
        self.revisions[revision].script
    }

    /// The true primary revision of a service.
    pub(crate) fn primary(&self, service: &str) -> &str {
        &self.services[service].deployments[0].revision
    }

    pub(crate) fn desired(&self, service: &str) -> u32 {
        self.services[service].desired
    }

    pub(crate) fn alarms(&self, service: &str) -> Option<&AlarmSettings> {
        self.services[service].alarms.as_ref()
    }

    pub(crate) fn has_service(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// Many revisions were registered, the last of them with this name.
    pub(crate) fn put_revision(&mut self, revision: &str) {
        let (family, _) = revision.split_once(':').unwrap();
        let put = ModelRevision {
            body: serde_json::json!({ "family": family }),
            tag: None,
            active: true,
            script: ImageScript::Good,
            registered: self.now,
        };
        self.revisions.insert(revision.to_owned(), put);
    }

    /// As `DeleteTaskDefinitions`.
    pub(crate) fn delete_revision(&mut self, revision: &str) {
        self.revisions.remove(revision);
    }

    /// What tasks of a revision do that start from now on.
    pub(crate) fn script_revision(&mut self, revision: &str, script: ImageScript) {
        self.revisions.get_mut(revision).unwrap().script = script;
    }

    /// All targets of a service are unhealthy from now on, whichever task it starts.
    pub(crate) fn falls_sick(&mut self, service: &str) {
        self.quiet_until = 0;
        let (now, checks) = (self.now, Undecided::SWIFT.checks);
        let service = self.services.get_mut(service).unwrap();
        let revision = service.deployments[0].revision.clone();
        for task in &mut service.tasks {
            task.fall_sick(now, checks);
        }
        service.wake(now);
        self.script_revision(&revision, ImageScript::NeverListens);
    }

    /// Something happens to the newest task of a service.
    pub(super) fn newest_task(&mut self, service: &str, happens: fn(&mut ModelTask, Millis)) {
        self.quiet_until = 0;
        let service = self.services.get_mut(service).unwrap();
        let newest = service.tasks.iter_mut().rfind(|it| it.is_live());
        happens(newest.unwrap(), self.now);
    }

    /// An event that a service had.
    pub(crate) fn tell(&mut self, service: &str, text: &str) {
        let now = self.now;
        self.services.get_mut(service).unwrap().tell(now, text);
    }

    /// The circuit breaker of a service fails a deployment and leaves it there.
    pub(crate) fn never_goes_back(&mut self, service: &str) {
        let service = self.services.get_mut(service).unwrap();
        service.breaker_rolls_back = false;
    }

    /// Whether a deployment of a service was completed in this time.
    pub(crate) fn completed_in(&self, service: &str, time: RangeInclusive<Millis>) -> bool {
        let completions = &self.services[service].completions;
        completions.iter().any(|at| time.contains(at))
    }

    /// The targets of a service drain for so long (`deregistration_delay`).
    pub(crate) fn drains_for(&mut self, service: &str, time: Millis) {
        self.services.get_mut(service).unwrap().undecided.drain = time;
    }

    /// The deployments of a service are completed while tasks of before still drain.
    pub(crate) fn completes_early(&mut self, service: &str) {
        let service = self.services.get_mut(service).unwrap();
        service.undecided.completes_early = true;
    }

    /// The revision of the task that answers a request through the load balancer; `None`: the load
    /// balancer answers itself that none does.
    pub(crate) fn request(&mut self, service: &str) -> Option<String> {
        let mut balancer = self.balancer.clone();
        let answer = self.answering(service, &mut balancer);
        self.balancer = balancer;
        answer
    }

    /// Whether somebody's call is still to be carried out.
    pub(crate) fn awaits_calls(&self) -> bool {
        !self.scheduled.is_empty()
    }

    pub(crate) fn in_advance(&mut self, at: Millis, by: Actor, late: bool, call: EcsCall) {
        self.quiet_until = 0;
        self.scheduled.push(Scheduled { at, by, late, call });
    }

    /// Carries out a call now. A registered revision is the answer of `Register`.
    pub(crate) fn call(
        &mut self,
        by: Actor,
        late: bool,
        call: &EcsCall,
    ) -> Result<Option<String>, EcsRefusal> {
        self.quiet_until = 0;
        let answer = match call {
            EcsCall::Register { body, tag, script } => {
                Ok(Some(self.register(body, tag.as_ref(), *script)))
            }
            EcsCall::Deregister(revision) => {
                let known = self.revisions.get_mut(revision);
                let missing = "ClientException: The specified task definition does not exist.";
                let missing = || EcsRefusal(missing.to_owned());
                known.ok_or_else(missing).map(|known| {
                    known.active = false;
                    None
                })
            }
            EcsCall::Update(update) => self.update(by, late, update).map(|()| None),
            EcsCall::StopTask { service, reason } => {
                self.stop_task(service, reason);
                Ok(None)
            }
            EcsCall::StopServiceDeployment { arn } => {
                self.stop_service_deployment(arn).map(|()| None)
            }
            EcsCall::Alarm { service, on } => {
                let service = self.services.get_mut(service).unwrap();
                service.in_alarm = *on;
                service.wake(self.now);
                Ok(None)
            }
        };
        self.after_step();
        answer
    }

    fn register(
        &mut self,
        body: &Value,
        tag: Option<&String>,
        script: Option<ImageScript>,
    ) -> String {
        let family = body["family"].as_str().unwrap();
        let number = |it: &String| {
            let (of, number) = it.split_once(':')?;
            (of == family).then(|| number.parse::<u32>().unwrap())
        };
        let newest = self.revisions.keys().filter_map(number).max();
        let name = format!("{family}:{}", newest.unwrap_or(0) + 1);
        let image = body["containerDefinitions"][0]["image"].as_str();
        let digest = image.and_then(|it| Some(it.split_once('@')?.1));
        let known = digest.and_then(|it| self.images.get(it)).copied();
        let revision = ModelRevision {
            body: body.clone(),
            tag: tag.cloned(),
            active: true,
            script: script.or(known).unwrap_or(ImageScript::Good),
            registered: self.now,
        };
        self.revisions.insert(name.clone(), revision);
        name
    }

    fn update(&mut self, by: Actor, late: bool, call: &UpdateCall) -> Result<(), EcsRefusal> {
        let now = self.now;
        if let Some(revision) = &call.revision {
            let what = match self.revisions.get(revision) {
                Some(known) if known.active => None,
                Some(_) => Some("is inactive"),
                None => Some("not found."),
            };
            if let Some(what) = what {
                return Err(EcsRefusal(format!(
                    "ClientException: TaskDefinition {what}"
                )));
            }
        }
        let service = self.services.get_mut(&call.service).unwrap();
        service.is_dirty = true;
        if let Some(alarms) = &call.alarms {
            service.alarms = Some(alarms.clone());
        }
        let primary = &service.deployments[0];
        let to = call.revision.as_ref().unwrap_or(&primary.revision).clone();
        let desired = call.desired.unwrap_or(service.desired);
        let is_new = to != primary.revision || call.force;
        if is_new || desired != service.desired {
            self.truth.changes.push(ServiceChange {
                at: now,
                by,
                late,
                service: call.service.clone(),
                from: primary.revision.clone(),
                from_by: primary.by,
                from_since: primary.since,
                to: to.clone(),
            });
            service.wake(now);
        }
        if desired != service.desired {
            service.desired = desired;
            service.floor = None;
        }
        if is_new {
            service.begin(&to, by, now);
        }
        Ok(())
    }

    fn stop_task(&mut self, service: &str, reason: &str) {
        let now = self.now;
        let service = self.services.get_mut(service).unwrap();
        service.floor = None;
        let drain = service.undecided.drain;
        if let Some(task) = service.tasks.iter_mut().find(|it| it.is_live()) {
            let cause = StopCause::asked("UserInitiated", reason.to_owned());
            task.ask_to_stop(now, drain, cause);
        }
        service.wake(now);
    }

    fn stop_service_deployment(&mut self, arn: &str) -> Result<(), EcsRefusal> {
        let now = self.now;
        let mut services = self.services.values_mut();
        let service = services.find(|service| {
            let mut all = service.service_deployments.iter();
            all.any(|it| it.arn == arn)
        });
        // The codes are those of the API's model.
        let refusal = |text: &str| Err(EcsRefusal(text.to_owned()));
        let Some(service) = service else {
            return refusal("ServiceDeploymentNotFoundException");
        };
        let newest = service.service_deployments.last().unwrap();
        if newest.arn != arn || newest.status.has_ended() {
            return refusal("ConflictException");
        }
        if !service.deployments[0].goes_back {
            service.fail(FailedBy::User, true, now);
        }
        service.wake(now);
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Millis) {
        while self.quiet_until <= now {
            let due = self.next_due();
            if due > now {
                self.quiet_until = due;
                break;
            }
            self.now = self.now.max(due);
            self.step();
            self.after_step();
        }
        self.now = self.now.max(now);
    }

    /// When something happens next.
    fn next_due(&self) -> Millis {
        let services = self.services.values().map(|service| {
            let tasks = service.tasks.iter().map(ModelTask::next).min();
            tasks.unwrap_or(NEVER).min(service.tick_at)
        });
        let scheduled = self.scheduled.iter().map(|it| it.at);
        services.chain(scheduled).min().unwrap_or(NEVER)
    }

    fn step(&mut self) {
        let now = self.now;
        if let Some(index) = self.scheduled.iter().position(|it| it.at <= now) {
            let due = self.scheduled.remove(index);
            // Nobody waits for the answer.
            drop(self.call(due.by, due.late, &due.call));
            return;
        }
        let mut chance = self.chance.clone();
        let mut services = std::mem::take(&mut self.services);
        for service in services.values_mut() {
            service.step(now, &mut chance, &|revision| self.script_of(revision));
        }
        self.services = services;
        self.chance = chance;
    }

    fn after_step(&mut self) {
        if !self.services.values().any(|it| it.is_dirty) {
            return;
        }
        let now = self.now;
        let runs = self
            .services
            .iter()
            .map(|(name, it)| (name.clone(), it.runs()));
        let runs: BTreeMap<String, Runs> = runs.collect();
        for service in self.services.values_mut() {
            let healthy = service.count(ModelTask::is_healthy);
            if let Some(floor) = service.floor.filter(|floor| healthy < *floor) {
                let name = &service.name;
                let dip = format!("{healthy} of {name} are healthy at {now}, at least {floor}");
                self.truth.dips.push(dip);
                service.floor = None;
            }
            if matches!(runs[&service.name], Runs::Whole(_)) {
                service.floor = Some(service.minimum());
            }
        }
        self.truth.note(now, runs);
        self.remember();
    }
}

impl ModelService {
    /// ECS looks at the service soon.
    pub(super) fn wake(&mut self, now: Millis) {
        self.tick_at = self.tick_at.min(now + 500);
        self.is_dirty = true;
    }

    pub(super) fn tell(&mut self, now: Millis, text: &str) {
        self.tell_of("", now, text);
    }

    /// `task_set`: the deployment that some events name as well.
    pub(super) fn tell_of(&mut self, task_set: &str, now: Millis, text: &str) {
        let id = format!("{now}-{}", self.events.len());
        self.events
            .push((id, format!("(service demo-{}{task_set}) {text}", self.name)));
    }

    /// How many tasks have to be healthy in a rollout.
    pub(super) fn minimum(&self) -> u32 {
        (self.desired * self.undecided.minimum_percent).div_ceil(100)
    }

    /// How many tasks there may be in a rollout. Where none may end before another is healthy, there
    /// is room for one.
    pub(super) fn maximum(&self) -> u32 {
        let rounded = self.desired * self.undecided.maximum_percent / 100;
        rounded
            .max(self.minimum() + 1)
            .min(rounded.max(self.desired + 1))
    }

    /// Whether alarms watch a deployment that begins now. One that is in ALARM already is ignored
    /// for the whole deployment ("How CloudWatch alarms detect Amazon ECS deployment failures").
    fn watched_by_alarms(&self) -> bool {
        self.alarms.as_ref().is_some_and(|it| it.enabled) && !self.in_alarm
    }

    fn begin(&mut self, revision: &str, by: Actor, now: Millis) {
        let before = &mut self.deployments[0];
        before.primary = false;
        if before.is_moving() {
            self.end_service_deployment(ServiceDeploymentStatus::Stopped);
        }
        self.made += 1;
        let mut begun = ModelDeployment::begun(self.made, revision, by, now);
        begun.watched_by_alarms = self.watched_by_alarms();
        self.service_deployments.push(ServiceDeploymentAnswer {
            arn: format!(
                "arn:aws:ecs:::service-deployment/demo/{}/{}",
                self.name, self.made
            ),
            status: ServiceDeploymentStatus::InProgress,
            reason: String::new(),
            target: revision.to_owned(),
            breaker: "MONITORING",
            breaker_failures: 0,
            alarms: Vec::new(),
            back_to: None,
        });
        self.deployments.insert(0, begun);
    }

    pub(super) fn end_service_deployment(&mut self, status: ServiceDeploymentStatus) {
        if let Some(newest) = self.service_deployments.last_mut() {
            newest.status = status;
            if newest.breaker == "MONITORING" {
                newest.breaker = "MONITORING_COMPLETE";
            }
        }
    }

    /// The primary deployment fails: ECS goes back to the last one that was completed, if it may
    /// and there is one that it can deploy.
    pub(super) fn fail(&mut self, by: FailedBy, goes_back: bool, now: Millis) {
        let failed = &mut self.deployments[0];
        failed.rollout = RolloutStatus::Failed;
        by.rollout_reason().clone_into(&mut failed.reason);
        let (id, failed_name) = (failed.id, failed.name());
        let was_way_back = failed.goes_back;
        if by != FailedBy::User {
            let why = by.rollout_reason();
            let why = why.rsplit(": ").next().unwrap_or(why);
            let text = format!("(deployment {failed_name}) deployment failed: {why}");
            self.tell(now, &text);
        }
        let target = self
            .completed
            .clone()
            .filter(|it| it.id != id && !was_way_back);
        let is_placeholder = |it: &ModelDeployment| it.revision.contains("-placeholder:");
        let target = target
            .filter(|it| !is_placeholder(it) || self.undecided.goes_back_to_placeholder)
            .filter(|_| goes_back);
        let newest = self.service_deployments.last_mut();
        let Some(target) = target else {
            if let Some(newest) = newest {
                NO_WAY_BACK.clone_into(&mut newest.reason);
            }
            self.end_service_deployment(ServiceDeploymentStatus::RollbackFailed);
            return;
        };
        if let Some(newest) = newest {
            by.status_reason().clone_into(&mut newest.reason);
            newest.back_to = Some(target.revision.clone());
        }
        if let Some(newest) = self.service_deployments.last_mut() {
            newest.status = ServiceDeploymentStatus::RollbackInProgress;
            if newest.breaker == "MONITORING" {
                newest.breaker = "MONITORING_COMPLETE";
            }
        }
        self.deployments[0].primary = false;
        let again = if self.undecided.goes_back_anew {
            self.made += 1;
            ModelDeployment::begun(self.made, &target.revision, Actor::Ecs, now)
        } else {
            self.deployments.retain(|it| it.id != target.id);
            ModelDeployment {
                primary: true,
                rollout: RolloutStatus::InProgress,
                failed: 0,
                ..target
            }
        };
        let to = name(again.id);
        self.deployments.insert(0, again);
        let primary = &mut self.deployments[0];
        primary.goes_back = true;
        primary.by = Actor::Ecs;
        primary.since = now;
        primary.reason = match by {
            FailedBy::User => by.rollout_reason().to_owned(),
            _ => format!("ECS deployment circuit breaker: rolling back to deploymentId {to}."),
        };
        self.tell(now, &format!("rolling back to deployment {to}."));
    }
}
