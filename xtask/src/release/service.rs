//! A service's part of a release: register, update in one call, follow to an outcome, prove; and
//! back.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use super::back::RollbackOutcome;
use super::{
    ComponentFailure, Direction, POLL_INTERVAL, PROOF_LIMIT, ROLLOUT_LIMIT, Release, ReleaseError,
    evidence,
};
use crate::catalog::Component;
use crate::decide::release::plan::{Change, Step};
use crate::decide::release::rollout::{
    Decision, Goal, Health, Proof, Rollout, RolloutState, ServiceState,
};
use crate::world::{ProbeRequest, ServiceUpdate};

/// So many right answers in a row prove a revision, asked this far apart: a window of a second or
/// more, in which a load balancer with two targets has asked both.
const PROOF_ANSWERS: u32 = 6;
const PROOF_INTERVAL: Duration = Duration::from_millis(200);
/// A deployment that failed is given this long to be rolled back by ECS itself.
const ECS_ROLLBACK_GRACE: Duration = Duration::from_secs(10);

impl Release<'_> {
    pub(super) async fn change_service(&mut self, step: &Step) -> Result<(), ReleaseError> {
        let world = self.world;
        let component = step.component;
        let revision = match &step.change {
            Change::Register {
                definition,
                content,
            } => {
                world
                    .cluster
                    .register_task_definition(definition, content)
                    .await?
            }
            Change::Revision(revision) => revision.clone(),
            Change::Follow => world
                .cluster
                .describe_service(component)
                .await?
                .primary()
                .map_or_else(String::new, |primary| primary.revision.clone()),
            Change::Keep | Change::Publish(_) | Change::Version(_) => return Ok(()),
        };
        self.write_after(component, &revision).await?;
        let mut parents = vec![step.parent.clone()];
        if step.change != Change::Follow {
            let state = world.cluster.describe_service(component).await?;
            parents.extend(state.primary().map(|it| it.revision.clone()));
            let alarms = match self.direction {
                Direction::Forward => None,
                Direction::Back => self.turn_alarms_off(component, &state).await?,
            };
            let to = ServiceUpdate {
                revision: Some(revision.clone()),
                desired: step.desired,
                alarms,
            };
            world.cluster.update_service(component, &to).await?;
        }
        let goal = Goal {
            revision: revision.clone(),
            parents,
            desired: step.desired,
        };
        let reason = match self.follow(component, goal, ROLLOUT_LIMIT).await? {
            Decision::Superseded { by } => {
                return Err(ReleaseError::Superseded {
                    component: Some(component),
                    by,
                });
            }
            Decision::Failed { reason }
            | Decision::RolledBack { reason }
            | Decision::RollingBack { reason } => reason,
            Decision::Wait | Decision::Probe => match self.prove(component, &revision).await {
                Ok(()) => {
                    let text = format!("rolled out {revision} (was {})", step.parent);
                    world.report.line(component.name(), &text);
                    return Ok(());
                }
                Err(error) => format!("{error:#}"),
            },
        };
        let evidence = evidence::gather(&world, component, &revision).await;
        Err(ReleaseError::Failed(ComponentFailure {
            component: Some(component),
            reason,
            evidence,
        }))
    }

    /// Notes in the record what this release brings to a service, before it is brought.
    async fn write_after(&mut self, component: Component, revision: &str) -> Result<()> {
        let registered = self
            .world
            .cluster
            .describe_task_definition(revision)
            .await?;
        if let Some(entry) = self.record.components.get_mut(&component) {
            entry.after = registered.map(|registered| registered.running(revision));
        }
        self.save().await
    }

    /// Looks until the rollout has an outcome or asks for a proof. ECS going back by itself is an
    /// end of the way forward: the rollback is followed in `take_back_service`.
    async fn follow(
        &mut self,
        component: Component,
        goal: Goal,
        limit: Duration,
    ) -> Result<Decision> {
        let started = Instant::now();
        let revision = goal.revision.clone();
        let mut rollout = Rollout::new(goal);
        loop {
            let state = self.world.cluster.describe_service(component).await?;
            match rollout.observe(&state, started.elapsed() > limit) {
                Decision::Wait => {}
                decision => return Ok(decision),
            }
            self.world
                .report
                .live(component.name(), &progress(&revision, &state));
            self.renew().await?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks through the load balancer until only the revision answers. A service that is not
    /// exposed is proven by its targets.
    async fn prove(&mut self, component: Component, revision: &str) -> Result<()> {
        let started = Instant::now();
        let mut proof = Proof::new(PROOF_ANSWERS);
        loop {
            let (health, heard) = self.health(component, revision).await;
            if proof.observe(health.as_ref(), revision) {
                return Ok(());
            }
            if started.elapsed() > PROOF_LIMIT {
                bail!(
                    "its tasks run, but {revision} did not prove itself within {} s: {heard}",
                    PROOF_LIMIT.as_secs()
                );
            }
            self.world.report.live(
                component.name(),
                &format!("{revision} runs; asking it: {heard}"),
            );
            self.renew().await?;
            tokio::time::sleep(PROOF_INTERVAL).await;
        }
    }

    async fn health(&self, component: Component, revision: &str) -> (Option<Health>, String) {
        let Some(probe) = &self.world.outputs.service(component).probe else {
            return match self.world.balancer.describe_target_health(component).await {
                Ok(targets) => {
                    let healthy = !targets.is_empty() && targets.iter().all(|it| it == "healthy");
                    let revision = Some(revision.to_owned());
                    let health = Health {
                        status: if healthy { 200 } else { 503 },
                        revision,
                    };
                    (Some(health), format!("targets are {}", targets.join(", ")))
                }
                Err(error) => (None, format!("{error:#}")),
            };
        };
        let request = ProbeRequest {
            method: "GET",
            url: &probe.url,
            headers: &probe.headers,
            body: "",
        };
        match self.world.probe.send(request).await {
            Ok(answer) => {
                let revision = answer.headers.get("x-task-revision").cloned();
                let from = revision
                    .as_deref()
                    .unwrap_or("a task that names no revision");
                let heard = format!("{} from {from}", answer.status);
                (
                    Some(Health {
                        status: answer.status,
                        revision,
                    }),
                    heard,
                )
            }
            Err(error) => (None, format!("{error:#}")),
        }
    }

    /// Brings a service back to what ran before. Where ECS goes back by itself that is followed;
    /// only where it does not end on the parent do we act.
    pub(super) async fn take_back_service(&mut self, step: &Step) -> Result<RollbackOutcome> {
        let world = self.world;
        let component = step.component;
        let entry = self.record.components.get(&component);
        let follows = step.change == Change::Follow;
        let brought = entry.filter(|entry| follows || entry.after != entry.before);
        let Some(ours) = brought.and_then(|entry| entry.after.as_ref()) else {
            return Ok(RollbackOutcome::Done);
        };
        let ours = ours.revision.clone();
        let first = step.parent_desired == 0;
        let state = self.wait_for_ecs_to_turn(component, &ours).await?;
        let primary = state
            .primary()
            .map_or(String::new(), |it| it.revision.clone());
        if primary != ours && primary != step.parent {
            return Ok(RollbackOutcome::Superseded { by: primary });
        }
        let mut parent = step.parent.clone();
        if first {
            // After a stop the parent is deregistered and can't be deployed. None desired of ours
            // is as good: nothing runs.
            let registered = world.cluster.describe_task_definition(&parent).await?;
            if !registered.is_some_and(|registered| registered.active) {
                parent.clone_from(&ours);
            }
        }
        let desired = first.then_some(0);
        let there = match desired {
            Some(desired) => primary == parent && state.desired == desired,
            None => primary != ours,
        };
        if !there {
            let to = ServiceUpdate {
                revision: Some(parent.clone()),
                desired,
                alarms: self.turn_alarms_off(component, &state).await?,
            };
            world.cluster.update_service(component, &to).await?;
        }
        let goal = Goal {
            revision: parent.clone(),
            parents: vec![ours, step.parent.clone()],
            desired,
        };
        match self.follow(component, goal, ROLLOUT_LIMIT).await? {
            Decision::Probe | Decision::Wait => {}
            Decision::Superseded { by } => return Ok(RollbackOutcome::Superseded { by }),
            Decision::RollingBack { .. } => bail!("ECS did not go back to {parent}"),
            Decision::Failed { reason } | Decision::RolledBack { reason } => {
                bail!("{parent} did not come back: {reason}")
            }
        }
        if !first {
            self.prove(component, &parent).await?;
        }
        Ok(RollbackOutcome::Done)
    }

    /// Right after a deployment failed it is still the primary one for a moment.
    async fn wait_for_ecs_to_turn(
        &mut self,
        component: Component,
        ours: &str,
    ) -> Result<ServiceState> {
        let started = Instant::now();
        loop {
            let state = self.world.cluster.describe_service(component).await?;
            let failed = state.primary().is_some_and(|primary| {
                primary.revision == ours && primary.state == RolloutState::Failed
            });
            if !failed || started.elapsed() > ECS_ROLLBACK_GRACE {
                return Ok(state);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn progress(revision: &str, state: &ServiceState) -> String {
    let Some(primary) = state.primary() else {
        return format!("{revision}: no deployment");
    };
    let mut text = format!(
        "{}: {}/{} running",
        primary.revision, primary.running, primary.desired
    );
    if primary.pending > 0 {
        text.push_str(&format!(", {} starting", primary.pending));
    }
    if primary.failed > 0 {
        text.push_str(&format!(", {} failed", primary.failed));
    }
    let draining = state.running - primary.running;
    if draining > 0 {
        text.push_str(&format!(", {draining} of before still running"));
    }
    text
}
