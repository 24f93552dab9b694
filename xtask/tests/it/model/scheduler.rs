//! How ECS brings a service to what it is to run: which tasks it starts and stops, and when a
//! deployment is completed or has failed.

use super::chance::Chance;
use super::deployments::{
    FailedBy, ModelDeployment, RolloutStatus, ServiceDeploymentStatus, breaker_threshold, name,
};
use super::ecs::ModelService;
use super::images::ImageScript;
use super::tasks::{ModelTask, StopCause, TaskNews, TaskStatus};
use super::truth::Runs;
use super::{Millis, NEVER};

type Scripts<'a> = &'a dyn Fn(&str) -> ImageScript;

impl ModelService {
    pub(super) fn runs(&self) -> Runs {
        let mut there = self.tasks.iter().filter(|it| it.is_live());
        let Some(first) = there.next() else {
            return if self.desired == 0 {
                Runs::Nothing
            } else {
                Runs::Mixed
            };
        };
        let alike = |it: &&ModelTask| it.revision == first.revision && it.is_healthy();
        let count = self.tasks.iter().filter(|it| it.is_live()).count();
        let whole = self.tasks.iter().filter(alike).count();
        if whole == count && count >= self.desired as usize && self.desired > 0 {
            Runs::Whole(first.revision.clone())
        } else {
            Runs::Mixed
        }
    }

    /// How many tasks a deployment is to have.
    pub(super) fn desired_of(&self, deployment: &ModelDeployment) -> u32 {
        match (deployment.primary, deployment.rollout) {
            (_, RolloutStatus::Failed) => 0,
            (true, _) => self.desired,
            (false, RolloutStatus::Completed) => {
                self.count(|it| it.deployment == deployment.id && it.is_live())
            }
            (false, _) => 0,
        }
    }

    pub(super) fn count(&self, which: impl Fn(&ModelTask) -> bool) -> u32 {
        u32::try_from(self.tasks.iter().filter(|it| which(it)).count()).unwrap()
    }

    pub(super) fn step(&mut self, now: Millis, chance: &mut Chance, scripts: Scripts<'_>) {
        for index in 0..self.tasks.len() {
            if self.tasks[index].next() <= now {
                let checks = self.undecided.checks;
                let news = self.tasks[index].step(now, chance, checks);
                self.hear(index, news, now);
            }
        }
        if self.tick_at <= now {
            self.tick(now, chance, scripts);
        }
    }

    fn hear(&mut self, index: usize, news: TaskNews, now: Millis) {
        if news == TaskNews::Unchanged {
            return;
        }
        self.wake(now);
        let (task, id) = (&self.tasks[index], self.tasks[index].deployment);
        let was_healthy = task.was_healthy;
        match news {
            TaskNews::Registered => {
                self.tell(now, "registered 1 targets in (target-group arn)");
            }
            TaskNews::Healthy => {
                if let Some(deployment) = self.deployment(id) {
                    deployment.failed = 0;
                }
            }
            TaskNews::Unhealthy => {
                if was_healthy {
                    self.floor = None;
                }
            }
            TaskNews::Failed => {
                if was_healthy {
                    self.floor = None;
                }
                self.note_failure(id, was_healthy, now);
            }
            TaskNews::Moved | TaskNews::Unchanged => {}
        }
    }

    fn deployment(&mut self, id: u32) -> Option<&mut ModelDeployment> {
        self.deployments.iter_mut().find(|it| it.id == id)
    }

    fn note_failure(&mut self, id: u32, was_healthy: bool, now: Millis) {
        let Some(deployment) = self.deployment(id) else {
            return;
        };
        if deployment.rollout == RolloutStatus::Completed {
            deployment.missing += u32::from(was_healthy);
            return;
        }
        deployment.failed += 1;
        let failures = deployment.failed;
        let pause = 1_000 << failures.min(6);
        deployment.starts_at = now + pause;
        if deployment.primary
            && let Some(newest) = self.service_deployments.last_mut()
        {
            newest.breaker_failures = failures;
        }
    }

    fn tick(&mut self, now: Millis, chance: &mut Chance, scripts: Scripts<'_>) {
        self.tick_at = now + chance.between(800, 1_200);
        self.is_dirty = true;
        self.stop_sick(now);
        self.judge(now);
        self.stop_surplus(now);
        self.start_missing(now, chance, scripts);
        self.stop_old(now);
        let completed = self.complete(now);
        self.note_steady(now, completed);
        self.forget(now);
        if self.is_quiet() {
            self.tick_at = NEVER;
        }
    }

    /// Tasks that fail their health checks after the grace period.
    fn stop_sick(&mut self, now: Millis) {
        let primary = &self.deployments[0];
        let (id, may_start) = (primary.id, primary.starts_at <= now);
        let missing = self.desired.saturating_sub(self.sound(now));
        let live = self.count(ModelTask::is_live);
        let room = self.maximum().saturating_sub(live);
        let starting = if may_start { missing.min(room) } else { 0 };
        let mut lacking = missing - starting;
        let is_enough = self.count(ModelTask::is_healthy) >= self.desired;
        for index in 0..self.tasks.len() {
            let task = &self.tasks[index];
            let Some((reason, event)) = task.sickness(now) else {
                continue;
            };
            if self.undecided.replaces_first && task.deployment == id && !is_enough {
                if lacking == 0 {
                    continue;
                }
                lacking -= 1;
            }
            let (name, deployment) = (task.id.clone(), task.deployment);
            let was_healthy = task.was_healthy;
            let cause = StopCause::asked("ServiceSchedulerInitiated", reason.to_owned());
            let drain = self.undecided.drain;
            self.tasks[index].ask_to_stop(now, drain, cause);
            self.tell(now, &event);
            self.tell_stopped(index, &name, now);
            self.note_failure(deployment, was_healthy, now);
        }
    }

    /// The circuit breaker and the alarms.
    fn judge(&mut self, now: Millis) {
        let threshold = breaker_threshold(self.desired);
        let primary = &self.deployments[0];
        if !primary.is_moving() || primary.goes_back && !self.undecided.breaks_way_back {
            return;
        }
        if primary.failed >= threshold {
            if let Some(newest) = self.service_deployments.last_mut() {
                newest.breaker = "TRIGGERED";
            }
            self.fail(FailedBy::Breaker, self.breaker_rolls_back, now);
        } else if primary.watched_by_alarms && self.in_alarm {
            let alarms = self.alarms.clone();
            if let Some(newest) = self.service_deployments.last_mut() {
                newest.alarms = alarms.as_ref().map_or_else(Vec::new, |it| it.names.clone());
            }
            self.fail(FailedBy::Alarm, alarms.is_some_and(|it| it.rollback), now);
        }
    }

    /// More tasks than the desired count, and those of failed deployments that are not healthy: the
    /// others serve until tasks take their place.
    fn stop_surplus(&mut self, now: Millis) {
        let primary = self.deployments[0].id;
        let mut surplus = self.sound(now).saturating_sub(self.desired);
        for index in (0..self.tasks.len()).rev() {
            let task = &self.tasks[index];
            let (id, is_live) = (task.deployment, task.is_live());
            let is_primary = id == primary;
            let deployment = self.deployments.iter().find(|it| it.id == id);
            let failed = deployment.is_none_or(|it| it.rollout == RolloutStatus::Failed);
            let stops = if is_primary {
                surplus > 0 && task.sickness(now).is_none()
            } else {
                failed && !task.is_healthy() || self.desired == 0
            };
            if is_live && stops {
                surplus = surplus.saturating_sub(u32::from(is_primary));
                self.scale_in(index, now);
            }
        }
    }

    fn scale_in(&mut self, index: usize, now: Millis) {
        let by = self.deployments[0].name();
        let reason = format!("Scaling activity initiated by (deployment {by})");
        let cause = StopCause::asked("ServiceSchedulerInitiated", reason);
        let (drain, id) = (self.undecided.drain, self.tasks[index].id.clone());
        let is_pending = self.tasks[index].is_pending();
        self.tasks[index].ask_to_stop(now, drain, cause);
        // `pending-task-stopped.json` of the transcripts.
        if is_pending {
            return self.tell(now, "stopped 1 pending tasks.");
        }
        self.tell_stopped(index, &id, now);
    }

    fn tell_stopped(&mut self, index: usize, id: &str, now: Millis) {
        let task_set = self.tasks[index].deployment;
        let task_set = format!(", taskSet {}", name(task_set));
        self.tell(now, &format!("has stopped 1 running tasks: (task {id})."));
        self.tell(now, "deregistered 1 targets in (target-group arn)");
        let drains = "has begun draining connections on 1 tasks.";
        self.tell_of(&task_set, now, drains);
    }

    /// Tasks of the primary deployment whose health checks have not failed.
    fn sound(&self, now: Millis) -> u32 {
        let primary = self.deployments[0].id;
        self.count(|it| it.deployment == primary && it.is_live() && it.sickness(now).is_none())
    }

    /// Up to the desired count, within the maximum percent. A task of the revision before that
    /// failed is replaced by one of that revision while the new ones are not healthy ("Amazon ECS
    /// now replaces failed tasks with the revision that they ran", November 2025).
    fn start_missing(&mut self, now: Millis, chance: &mut Chance, scripts: Scripts<'_>) {
        if self.desired == 0 {
            return;
        }
        let primary = &self.deployments[0];
        let (id, revision) = (primary.id, primary.revision.clone());
        let old = self.deployments.iter().skip(1);
        let mut old = old.filter(|it| it.rollout == RolloutStatus::Completed);
        let replaced = old
            .find(|it| it.missing > 0)
            .map(|it| (it.id, it.revision.clone()));
        if let Some((old_id, old_revision)) = replaced {
            let live_old = self.count(|it| it.deployment == old_id && it.is_live());
            let healthy = self.count(|it| it.deployment == id && it.is_healthy());
            let missing = self
                .deployment(old_id)
                .map_or(0, |it| std::mem::take(&mut it.missing));
            let missing = missing.min(self.desired.saturating_sub(live_old + healthy));
            self.start(missing, (old_id, &old_revision), now, chance, scripts);
        }
        let primary = &mut self.deployments[0];
        primary.missing = 0;
        if primary.starts_at > now || primary.rollout == RolloutStatus::Failed {
            return;
        }
        let room = self
            .maximum()
            .saturating_sub(self.count(ModelTask::is_live));
        let mut missing = self.desired.saturating_sub(self.sound(now)).min(room);
        if self.undecided.one_at_a_time {
            missing = missing.min(1);
        }
        let sick = self.count(|it| it.deployment == id && it.sickness(now).is_some());
        self.start(missing, (id, &revision), now, chance, scripts);
        let replaced = missing.min(sick);
        if replaced > 0
            && let Some((_, told)) = self.events.last_mut()
        {
            told.push_str(&format!(
                " Amazon ECS replaced {replaced} tasks due to an unhealthy status."
            ));
        }
    }

    fn start(
        &mut self,
        count: u32,
        (deployment, revision): (u32, &str),
        now: Millis,
        chance: &mut Chance,
        scripts: Scripts<'_>,
    ) {
        let mut names = String::new();
        for _ in 0..count {
            let id = format!("{:04}{}", self.tasks.len() + 1, self.name);
            names.push_str(&format!(" (task {id})"));
            let of = (deployment, revision);
            let task = ModelTask::new(id, of, scripts(revision), now, chance);
            self.tasks.push(task);
        }
        if count > 0 {
            self.tell(now, &format!("has started {count} tasks:{names}."));
        }
    }

    /// Tasks of before, as new ones take their place and the minimum percent allows.
    fn stop_old(&mut self, now: Millis) {
        let primary = self.deployments[0].id;
        if self.deployments[0].rollout == RolloutStatus::Failed {
            return;
        }
        let minimum = self.minimum();
        let mut healthy = self.count(ModelTask::is_healthy);
        let mut live = self.count(ModelTask::is_live);
        let has_all = self.count(|it| it.deployment == primary && it.is_live()) >= self.desired;
        for index in 0..self.tasks.len() {
            let task = &self.tasks[index];
            if task.deployment == primary || !task.is_live() {
                continue;
            }
            let deployment = self.deployments.iter().find(|it| it.id == task.deployment);
            // Another deployment replaced its own before that was completed.
            let is_left = deployment.is_some_and(ModelDeployment::is_moving);
            // Where the maximum leaves no room, old ones end first, as far as the minimum allows.
            let needs_room = !has_all && live >= self.maximum();
            let spare = healthy > self.desired || needs_room;
            if task.is_healthy() && healthy > minimum && spare {
                healthy -= 1;
                live -= 1;
                self.scale_in(index, now);
            } else if !task.is_healthy() && (healthy >= self.desired || is_left) {
                self.scale_in(index, now);
            }
        }
    }

    fn complete(&mut self, now: Millis) -> bool {
        let early = self.undecided.completes_early;
        let primary = self.deployments[0].id;
        let moving = self.deployments[0].is_moving();
        let others =
            self.count(|it| it.deployment != primary && (it.is_live() || it.is_ending() && !early));
        let healthy = self.count(|it| it.deployment == primary && it.is_healthy());
        let live = self.count(|it| it.deployment == primary && it.is_live());
        if !moving
            || self.deployments[0].since == now
            || others > 0
            || healthy < self.desired
            || live > healthy
        {
            return false;
        }
        let bake = self.undecided.bake;
        let deployment = &mut self.deployments[0];
        if deployment.watched_by_alarms {
            if deployment.bakes_until == NEVER {
                deployment.bakes_until = now + bake;
            }
            if now < deployment.bakes_until {
                return false;
            }
        }
        deployment.rollout = RolloutStatus::Completed;
        self.completions.push(now);
        let name = deployment.name();
        deployment.reason = format!("ECS deployment {name} completed.");
        let goes_back = deployment.goes_back;
        self.completed = Some(deployment.clone());
        self.deployments
            .retain(|it| it.primary || it.rollout == RolloutStatus::Failed);
        self.end_service_deployment(if goes_back {
            ServiceDeploymentStatus::RollbackSuccessful
        } else {
            ServiceDeploymentStatus::Successful
        });
        self.tell(now, &format!("(deployment {name}) deployment completed."));
        true
    }

    /// ECS says whenever a service has become steady again, also where nothing is deployed
    /// ("Amazon ECS service event messages").
    fn note_steady(&mut self, now: Millis, completed: bool) {
        let primary = self.deployments[0].id;
        let there = self.count(|it| it.status != TaskStatus::Stopped);
        let healthy = self.count(|it| it.deployment == primary && it.is_healthy());
        let is_steady = there == healthy && healthy == self.desired;
        if completed || is_steady && !self.is_steady {
            self.tell(now, "has reached a steady state.");
        }
        self.is_steady = is_steady;
    }

    /// Deployments and tasks that ECS does not list any more.
    fn forget(&mut self, now: Millis) {
        let stay = self.undecided.failed_stay;
        if !stay && !self.deployments[0].is_moving() {
            self.deployments.retain(|it| it.primary);
        }
        // An ACTIVE deployment "still has running tasks" (`Deployment` of the API reference).
        let there = |id: u32| {
            let mut tasks = self.tasks.iter();
            tasks.any(|it| it.deployment == id && it.status != TaskStatus::Stopped)
        };
        self.deployments
            .retain(|it| it.primary || it.rollout == RolloutStatus::Failed || there(it.id));
        self.tasks
            .retain(|it| it.stopped == NEVER || now - it.stopped < 3_600_000);
    }

    fn is_quiet(&self) -> bool {
        let primary = &self.deployments[0];
        let is_quiet = !self.tasks.iter().any(ModelTask::is_ending);
        let live = self.count(ModelTask::is_live);
        let healthy = self.count(ModelTask::is_healthy);
        let as_desired = live == self.desired && healthy == live;
        let failed = primary.rollout == RolloutStatus::Failed && live == 0;
        is_quiet && (as_desired && !primary.is_moving() || failed)
    }
}
