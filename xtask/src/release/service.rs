//! A service's part of a release: register, update in one call, follow to an outcome, prove; and
//! back.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::deployment::{EarlyStop, Followed, Watch};
use super::evidence::FailedRollout;
use super::observe::primary_revision;
use super::rollback::RollbackOutcome;
use super::{
    ComponentFailure, POLL_INTERVAL, PROOF_LIMIT, ProofTime, ROLLOUT_LIMIT, Release, ReleaseError,
    evidence, several_looks, targets,
};
use crate::catalog::Service;
use crate::decide::artifact::image::Key;
use crate::decide::release::pace::LookPace;
use crate::decide::release::plan::{ServiceAction, ServiceStep};
use crate::decide::release::record::RecordKind;
use crate::decide::release::rollout::{HealthAnswer, Proof, Rollout, RolloutDecision, RolloutGoal};
use crate::decide::release::snapshot::{
    Deployment, Revision, RolloutState, ServiceRunning, ServiceState,
};
use crate::ports::{Context, ProbeRequest, ServiceUpdate};
use crate::report::ReleaseEvent;

/// So many right answers in a row prove a revision, asked this far apart: a window of a second or
/// more, in which a load balancer with two targets has asked both.
const PROOF_ANSWERS: u32 = 6;
const PROOF_INTERVAL: Duration = Duration::from_millis(200);
/// In so many looks in a row a rollout has to have succeeded, or to have failed.
const LOOKS_TO_SUCCEED: u32 = 2;
const LOOKS_TO_FAIL: u32 = 3;
/// The circuit breaker of ECS gives a deployment up after this many failed tasks, or more.
const BREAKER_FAILURES_MIN: usize = 3;
/// A deployment that failed is given this long to be rolled back by ECS itself.
const ECS_ROLLBACK_GRACE: Duration = Duration::from_secs(10);

impl Release<'_> {
    pub(super) async fn change_service(&mut self, step: &ServiceStep) -> Result<(), ReleaseError> {
        let Context { cluster, .. } = self.context;
        let service = step.service;
        let (revision, key) = match &step.action {
            ServiceAction::Keep => return Ok(()),
            ServiceAction::Register {
                definition,
                content,
                key,
            } => {
                // A revision that is registered twice is one that never runs.
                let registered = self
                    .change(async || cluster.register_task_definition(definition, content).await);
                (registered.await?, key.clone())
            }
            ServiceAction::Deploy(revision) => (revision.clone(), None),
            ServiceAction::Follow => (step.parent.clone(), None),
        };
        // In the middle of a rollout ECS may have gone back by itself.
        let mut known = vec![&step.parent, &step.rollback_revision];
        known.extend(&step.others);
        let state = self.runs_one_of(service, &known).await?;
        self.write_after(service, &revision, key).await?;
        let mut followed = Followed::After(None);
        let mut previous = vec![step.rollback_revision.clone()];
        if step.action != ServiceAction::Follow {
            previous.extend(state.primary().map(|it| it.revision.clone()));
            let alarms = match self.record.kind {
                RecordKind::Rollback => self.turn_alarms_off(service, &state).await?,
                _ => None,
            };
            let update = ServiceUpdate {
                revision: Some(revision.clone()),
                desired: step.count,
                alarms,
            };
            followed = self.next_deployment(service).await?;
            self.update(service, &revision, &update, &known).await?;
        }
        let goal = RolloutGoal {
            revision: revision.clone(),
            previous,
            desired: step.count,
        };
        self.reach(step, goal, followed, &state).await
    }

    /// The service, as long as its primary deployment is of one of these revisions, or ECS went back
    /// from one of them. Another one is somebody else's.
    pub(super) async fn runs_one_of(
        &self,
        service: Service,
        known: &[&Revision],
    ) -> Result<ServiceState, ReleaseError> {
        several_looks(async || {
            let state = self.service_state(service).await?;
            let primary = primary_revision(service, &state)?;
            let is_known = known.contains(&&primary) || self.inherits_revision(service, &primary);
            if is_known || self.went_back_from(service, known).await {
                return Ok(Ok(state));
            }
            Ok(Err(ReleaseError::Superseded {
                component: Some(service.into()),
                by: primary.to_string(),
            }))
        })
        .await
    }

    /// Sent twice it is the same as once: an update that changes nothing starts no deployment. Right
    /// before it is sent, each time, the service must run one of the known revisions: calls before it
    /// may have taken long, and somebody else may have deployed meanwhile.
    async fn update(
        &self,
        service: Service,
        revision: &Revision,
        update: &ServiceUpdate,
        known: &[&Revision],
    ) -> Result<(), ReleaseError> {
        let (cluster, outputs) = (self.context.cluster, self.outputs);
        let known = [known, &[revision]].concat();
        self.answered(async || {
            self.runs_one_of(service, &known).await?;
            let update = cluster.update_service(outputs, service, update);
            self.change_once(update).await
        })
        .await
    }

    pub(super) async fn service_state(
        &self,
        service: Service,
    ) -> Result<ServiceState, ReleaseError> {
        let (cluster, outputs) = (self.context.cluster, self.outputs);
        self.answered(async || cluster.describe_service(outputs, service).await)
            .await
    }

    /// Waits for the outcome of an update that was sent; `before` is how the service was then.
    async fn reach(
        &mut self,
        step: &ServiceStep,
        goal: RolloutGoal,
        followed: Followed,
        before: &ServiceState,
    ) -> Result<(), ReleaseError> {
        let service = step.service;
        let revision = goal.revision.clone();
        let early_stop = match step.rollback_count {
            0 => EarlyStop::Fail,
            _ => EarlyStop::GoBack,
        };
        let mut watch = Watch::of(followed, early_stop, before);
        let decision = self.follow(service, goal, ROLLOUT_LIMIT, &mut watch);
        let reason = match decision.await? {
            RolloutDecision::Superseded { by } => {
                return Err(ReleaseError::Superseded {
                    component: Some(service.into()),
                    by,
                });
            }
            RolloutDecision::Failed { .. }
            | RolloutDecision::RolledBack { .. }
            | RolloutDecision::RollingBack { .. }
                if watch.stopped_for.is_some() =>
            {
                "its deployment was stopped early".to_owned()
            }
            RolloutDecision::Failed { reason }
            | RolloutDecision::RolledBack { reason }
            | RolloutDecision::RollingBack { reason } => reason,
            RolloutDecision::Wait | RolloutDecision::Probe => {
                let is_followed = step.action == ServiceAction::Follow;
                match self.prove(service, &revision, is_followed).await {
                    Err(ReleaseError::Failed(failure)) => format!("{:#}", failure.error),
                    proof => {
                        proof?;
                        self.context.report.emit(ReleaseEvent::RolledOut {
                            component: service.into(),
                            revision: revision.to_string(),
                            previous: step.rollback_revision.to_string(),
                        });
                        return Ok(());
                    }
                }
            }
        };
        let Self {
            context, outputs, ..
        } = self;
        let failed = FailedRollout {
            service,
            revision: &revision,
            reason: &reason,
            watch: &watch,
        };
        let evidence = evidence::gather(context, outputs, &failed).await;
        // The program's own words say more than ECS's about it.
        let reason = match evidence.headline() {
            Some(headline) => format!("{headline}; {reason}"),
            None => reason,
        };
        Err(ReleaseError::Failed(ComponentFailure {
            component: Some(service.into()),
            error: anyhow!(reason),
            evidence,
        }))
    }

    /// Notes in the record what this release brings to a service, before it is brought.
    async fn write_after(
        &mut self,
        service: Service,
        revision: &Revision,
        key: Option<Key>,
    ) -> Result<(), ReleaseError> {
        let cluster = self.context.cluster;
        // One that was registered a moment ago may not be there yet.
        let registered = several_looks(async || {
            let found = self.answered(async || cluster.describe_task_definition(revision).await);
            let missing = || ReleaseError::from(anyhow!("ECS does not describe {revision}"));
            Ok(found.await?.ok_or_else(missing))
        });
        let running = registered.await?.running(revision);
        if let Some(entry) = self.record.entries.services.get_mut(&service) {
            entry.after = Some(ServiceRunning { key, ..running });
        }
        self.save().await
    }

    /// Looks until the rollout has an outcome or asks for a proof. ECS rolling back by itself is
    /// an end of the release: that rollback is followed in `roll_back_service`.
    async fn follow(
        &mut self,
        service: Service,
        goal: RolloutGoal,
        limit: Duration,
        watch: &mut Watch,
    ) -> Result<RolloutDecision, ReleaseError> {
        let report = self.context.report;
        let started = Instant::now();
        let revision = goal.revision.clone();
        let mut rollout = Rollout::new(goal);
        let mut pace = LookPace::new(self.context.environment.emulated);
        let mut seen = 0;
        loop {
            let state = self.service_state(service).await?;
            let deployment = self.service_deployment(service, &revision, &mut watch.followed);
            let deployment = deployment.await?;
            let late = started.elapsed() > limit;
            let mut decision = rollout.observe(&state, deployment.as_ref(), late);
            if matches!(decision, RolloutDecision::Superseded { .. })
                && self.went_back_from(service, &[&revision]).await
            {
                rollout.goes_back_to(primary_revision(service, &state)?);
                decision = rollout.observe(&state, deployment.as_ref(), late);
            }
            watch.deployment = deployment.clone().or(watch.deployment.take());
            // One look may be stale.
            let (waits, looks) = match decision {
                RolloutDecision::Wait => (true, u32::MAX),
                RolloutDecision::Probe => (false, LOOKS_TO_SUCCEED),
                _ => (false, LOOKS_TO_FAIL),
            };
            seen = if waits { 0 } else { seen + 1 };
            if seen >= looks || late {
                return Ok(decision);
            }
            if all_run(&state) {
                self.see_targets(service, &state, watch).await;
            }
            if waits && let Some(cause) = self.stop_early(service, &revision, &state, watch).await?
            {
                let reason = cause.detail;
                return Ok(RolloutDecision::Failed { reason });
            }
            report.emit(progress(service, &revision, &state, watch));
            self.ensure_lock_not_lost().await?;
            if waits {
                self.rest(&mut pace, (state, deployment)).await;
            } else {
                tokio::time::sleep(pace.before_confirmation()).await;
            }
        }
    }

    /// Why targets are unhealthy, and whether more are healthy than tasks of before run.
    async fn see_targets(&self, service: Service, state: &ServiceState, watch: &mut Watch) {
        let balancer = self.context.balancer;
        let targets = balancer.describe_target_health(self.outputs, service).await;
        let targets = targets.unwrap_or_default();
        let healthy = targets.iter().filter(|it| it.state == "healthy").count();
        let of_primary = state.primary().map_or(0, |it| it.running);
        let of_before = usize::try_from(state.running - of_primary).unwrap_or(0);
        watch.was_healthy |= healthy > of_before;
        let unhealthy = targets.into_iter().filter(|it| it.state == "unhealthy");
        watch.unhealthy.extend(unhealthy.filter_map(|it| it.reason));
    }

    /// Asks through the load balancer until only the revision answers. A service that is not
    /// exposed is proven by its targets. Where none is healthy, ECS may be replacing tasks that failed
    /// for a reason outside of this release.
    async fn prove(
        &mut self,
        service: Service,
        revision: &Revision,
        waits_for_tasks: bool,
    ) -> Result<(), ReleaseError> {
        let mut time = ProofTime::start();
        let mut proof = Proof::new(PROOF_ANSWERS);
        loop {
            let (health, mut found) = self.health(service, revision).await;
            if health.is_none() {
                time.leave_out(self.silence_of_aws().await?);
            }
            if proof.observe(health.as_ref(), revision) {
                match targets::is_waited_for(&self.context, self.outputs, service).await {
                    Some(waits) => found = format!("{found}, but {waits}"),
                    None => return Ok(()),
                }
            }
            if time.is_over() {
                let without_target =
                    targets::none_is_healthy(&self.context, self.outputs, service).await;
                if let Some(why) = &without_target {
                    found = format!("{found}; {why}");
                }
                let goes_on = waits_for_tasks && without_target.is_some() && time.begin_anew();
                if !goes_on {
                    let limit = PROOF_LIMIT.as_secs();
                    let error = anyhow!(
                        "its tasks run, but {revision} did not prove itself within {limit} s: {found}"
                    );
                    return Err(error.into());
                }
            }
            self.context.report.emit(ReleaseEvent::Proving {
                component: service.into(),
                revision: revision.to_string(),
                answer: found,
            });
            self.ensure_lock_not_lost().await?;
            tokio::time::sleep(PROOF_INTERVAL).await;
        }
    }

    /// One answer of a service about its health, and the same as text.
    async fn health(
        &self,
        service: Service,
        revision: &Revision,
    ) -> (Option<HealthAnswer>, String) {
        let Some(probe) = &self.outputs.service(service).probe else {
            return self.health_of_targets(service, revision).await;
        };
        let request = ProbeRequest {
            method: "GET",
            url: &probe.url,
            headers: &probe.headers,
            body: "",
        };
        let answer = match self.context.probe.send(request).await {
            Ok(answer) => answer,
            Err(error) => return (None, format!("{error:#}")),
        };
        let revision = answer.headers.get("x-task-revision");
        let from = revision.map_or("a task that names no revision", |it| it.as_str());
        let text = format!("{} from {from}", answer.status);
        let health = HealthAnswer {
            status: answer.status,
            revision: revision.and_then(|text| text.parse().ok()),
        };
        (Some(health), text)
    }

    async fn health_of_targets(
        &self,
        service: Service,
        revision: &Revision,
    ) -> (Option<HealthAnswer>, String) {
        let balancer = self.context.balancer;
        match balancer.describe_target_health(self.outputs, service).await {
            Ok(targets) => {
                let states = targets.iter().map(|it| it.state.as_str());
                // Those of the revision before get no new requests any more.
                let (draining, states): (Vec<&str>, Vec<&str>) =
                    states.partition(|it| *it == "draining");
                let healthy = !states.is_empty() && states.iter().all(|it| *it == "healthy");
                let health = HealthAnswer {
                    status: if healthy { 200 } else { 503 },
                    revision: Some(revision.clone()),
                };
                let left_out = match draining.len() {
                    0 => String::new(),
                    count => format!(" ({count} draining left out)"),
                };
                let found = format!("targets are {}{left_out}", states.join(", "));
                (Some(health), found)
            }
            Err(error) => (None, format!("{error:#}")),
        }
    }

    /// Brings a service back to what ran before. Where ECS rolls back by itself that is followed;
    /// only where it does not end on the revision of before do we act.
    pub(super) async fn roll_back_service(
        &mut self,
        step: &ServiceStep,
    ) -> Result<RollbackOutcome, ReleaseError> {
        let service = step.service;
        let entry = self.record.entries.services.get(&service);
        let follows = step.action == ServiceAction::Follow;
        let brought = entry.filter(|entry| follows || entry.after != entry.before);
        let Some(ours) = brought.and_then(|entry| entry.after.as_ref()) else {
            return Ok(RollbackOutcome::Done);
        };
        let ours = ours.revision.clone();
        let state = self.wait_for_ecs_to_turn(service, &ours).await?;
        let primary = primary_revision(service, &state)?;
        let is_known = primary == ours || primary == step.rollback_revision;
        if !is_known && !self.went_back_from(service, &[&ours]).await {
            let by = primary.to_string();
            return Ok(RollbackOutcome::Superseded { by });
        }
        let is_first = step.rollback_count == 0;
        let mut target = step.rollback_revision.clone();
        if is_first {
            // After a stop this revision is deregistered and can't be deployed. None desired of
            // ours is as good: nothing runs.
            let cluster = self.context.cluster;
            let registered =
                self.answered(async || cluster.describe_task_definition(&target).await);
            if !registered
                .await?
                .is_some_and(|registered| registered.active)
            {
                target.clone_from(&ours);
            }
        }
        let desired = is_first.then_some(0);
        let is_there = match desired {
            Some(desired) => primary == target && state.desired == desired,
            None => primary == target,
        };
        let forward = self.forward.remove(&service);
        let mut followed = forward.map_or(Followed::Unknown, Followed::WayBack);
        if !is_there {
            let update = ServiceUpdate {
                revision: Some(target.clone()),
                desired,
                alarms: self.turn_alarms_off(service, &state).await?,
            };
            // Of no task ECS has nothing to say: the counts of the service decide.
            followed = match desired {
                Some(_) => Followed::Unknown,
                None => self.next_deployment(service).await?,
            };
            let known = [&ours, &step.rollback_revision, &primary];
            self.update(service, &target, &update, &known).await?;
        }
        let goal = RolloutGoal {
            revision: target.clone(),
            previous: vec![ours, step.rollback_revision.clone(), primary],
            desired,
        };
        self.reach_back(service, goal, followed, &state).await
    }

    /// Waits for the outcome of a rollback, of ours or of ECS.
    async fn reach_back(
        &mut self,
        service: Service,
        goal: RolloutGoal,
        followed: Followed,
        before: &ServiceState,
    ) -> Result<RollbackOutcome, ReleaseError> {
        let (target, desired) = (goal.revision.clone(), goal.desired);
        let mut watch = Watch::of(followed, EarlyStop::GiveUp, before);
        let decision = self.follow(service, goal, ROLLOUT_LIMIT, &mut watch);
        match decision.await? {
            RolloutDecision::Probe | RolloutDecision::Wait => {}
            RolloutDecision::Superseded { by } => return Ok(RollbackOutcome::Superseded { by }),
            RolloutDecision::RollingBack { .. } => {
                return Err(anyhow!("ECS did not go back to {target}").into());
            }
            RolloutDecision::Failed { reason } | RolloutDecision::RolledBack { reason } => {
                // ECS may have given it up first.
                let known = match watch.stopped_for.take() {
                    None => {
                        let newest = BREAKER_FAILURES_MIN;
                        self.lasting_cause(service, &target, newest, &watch).await?
                    }
                    known => known,
                };
                let why = known.map_or(reason, |cause| cause.of_way_back());
                return Err(anyhow!("{target} did not come back: {why}").into());
            }
        }
        if desired.is_none() {
            self.prove(service, &target, true).await?;
        }
        Ok(RollbackOutcome::Done)
    }

    /// Right after a deployment failed it is still the primary one for a moment.
    async fn wait_for_ecs_to_turn(
        &mut self,
        service: Service,
        ours: &Revision,
    ) -> Result<ServiceState, ReleaseError> {
        let started = Instant::now();
        let mut before = None;
        loop {
            let state = self.service_state(service).await?;
            let primary = state.primary().map(|primary| primary.revision.clone());
            // One look may be stale.
            let is_confirmed = before.replace(primary.clone()) == Some(primary);
            let failed = state.primary().is_some_and(|primary| {
                primary.revision == *ours && primary.state == RolloutState::Failed
            });
            if is_confirmed && !failed || started.elapsed() > ECS_ROLLBACK_GRACE {
                return Ok(state);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Whether only health checks keep ECS from completing its newest deployment.
fn all_run(state: &ServiceState) -> bool {
    let primary = state.primary();
    primary.is_some_and(|it| it.desired > 0 && it.running >= it.desired)
}

/// How far ECS is with its newest deployment.
fn progress(
    service: Service,
    revision: &Revision,
    state: &ServiceState,
    watch: &Watch,
) -> ReleaseEvent {
    let primary = state.primary();
    let of_primary = |count: fn(&Deployment) -> i32| primary.map_or(0, count);
    let running = of_primary(|it| it.running);
    let desired = of_primary(|it| it.desired);
    let pending = of_primary(|it| it.pending);
    let draining = (state.running - running).max(0);
    let waiting_for = if primary.is_none() {
        Some("a deployment")
    } else if running < desired && pending == 0 {
        Some("tasks to start")
    } else if running < desired {
        Some("tasks to run")
    } else if draining > 0 {
        // The tasks of before end once the new ones are healthy.
        Some("health checks, then tasks of before to end")
    } else {
        Some("ECS to complete the deployment")
    };
    ReleaseEvent::Rollout {
        component: service.into(),
        revision: primary.map_or(revision, |it| &it.revision).to_string(),
        running,
        desired,
        pending,
        failed: of_primary(|it| it.failed),
        draining,
        waiting_for: waiting_for.map(|what| match watch.hindrance(state) {
            Some(event) => format!("{what}; {event}"),
            None => what.to_owned(),
        }),
    }
}
