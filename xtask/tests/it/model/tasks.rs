//! One task, from its provisioning until it has stopped.

use super::chance::Chance;
use super::images::{ImageScript, Life};
use super::targets::{Checks, ModelTarget, TargetState};
use super::{Millis, NEVER};

/// Checks that fail this long after the start of a task end no task.
const GRACE: Millis = 60_000;
const FAILED_TARGET_CHECKS: &str = "Task failed ELB health checks in (target-group \
    arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/demo/1)";
const FAILED_CONTAINER_CHECKS: &str = "Task failed container health checks";

/// In the order in which a task passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskStatus {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// Why a task stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StopCause {
    pub(super) code: &'static str,
    pub(super) reason: String,
    pub(super) exit_code: Option<i32>,
    pub(super) container_reason: Option<String>,
}

impl StopCause {
    /// The program ends in order when it is asked to.
    pub(super) fn asked(code: &'static str, reason: String) -> Self {
        Self {
            code,
            reason,
            exit_code: Some(0),
            container_reason: None,
        }
    }
}

/// What a step of a task means to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskNews {
    Registered,
    Healthy,
    Unhealthy,
    /// It ended or did not start, and nobody had asked it to stop.
    Failed,
    Moved,
    /// A check found what the one before found.
    Unchanged,
}

#[derive(Debug, Clone)]
pub(super) struct ModelTask {
    pub(super) id: String,
    pub(super) deployment: u32,
    pub(super) revision: String,
    pub(super) status: TaskStatus,
    /// When it passes to the next status.
    at: Millis,
    life: Life,
    pub(super) started: Millis,
    pub(super) target: Option<ModelTarget>,
    pub(super) was_healthy: bool,
    pub(super) stop: Option<StopCause>,
    pub(super) stopped: Millis,
    is_frozen: bool,
}

impl ModelTask {
    pub(super) fn new(
        id: String,
        (deployment, revision): (u32, &str),
        script: ImageScript,
        now: Millis,
        chance: &mut Chance,
    ) -> Self {
        Self {
            id,
            deployment,
            revision: revision.to_owned(),
            status: TaskStatus::Provisioning,
            at: now + chance.between(400, 1_500),
            life: Life::of(script, chance),
            started: NEVER,
            target: None,
            was_healthy: false,
            stop: None,
            stopped: NEVER,
            is_frozen: false,
        }
    }

    /// It runs or will, and nobody has asked it to stop.
    pub(super) fn is_live(&self) -> bool {
        self.status <= TaskStatus::Running
    }

    pub(super) fn is_pending(&self) -> bool {
        self.status < TaskStatus::Running
    }

    pub(super) fn is_ending(&self) -> bool {
        self.status > TaskStatus::Running && self.status < TaskStatus::Stopped
    }

    pub(super) fn is_healthy(&self) -> bool {
        let healthy = |target: &ModelTarget| target.state == TargetState::Healthy;
        self.status == TaskStatus::Running
            && self.passes_container_check()
            && self.target.as_ref().is_some_and(healthy)
    }

    fn passes_container_check(&self) -> bool {
        self.life.fails_check_after == NEVER
    }

    /// Why its checks have failed often enough, to be told of the task and in an event.
    pub(super) fn sickness(&self, now: Millis) -> Option<(&'static str, String)> {
        let state = self.target.as_ref().map(|it| it.state);
        let in_grace = now < self.started.saturating_add(GRACE) && !self.was_healthy;
        if !self.is_live() || in_grace {
            return None;
        }
        if state == Some(TargetState::Unhealthy) {
            let why = if self.is_frozen {
                "Request timed out"
            } else {
                "Health checks failed"
            };
            let event = format!(
                "(task {}) (port 80) is unhealthy in (target-group arn) due to (reason {why}).",
                self.id
            );
            return Some((FAILED_TARGET_CHECKS, event));
        }
        let failed = self.started.saturating_add(self.life.fails_check_after) <= now;
        let event = format!("(task {}) failed container health checks.", self.id);
        failed.then_some((FAILED_CONTAINER_CHECKS, event))
    }

    /// Its program ends by itself.
    pub(super) fn crash(&mut self, now: Millis) {
        self.life.exits_after = now - self.started;
    }

    /// It takes connections, and answers nothing any more.
    pub(super) fn freeze(&mut self, now: Millis) {
        self.is_frozen = true;
        self.life.sick_after = now - self.started;
        if let Some(target) = &mut self.target {
            target.check_at = target.check_at.min(now);
        }
    }

    /// Whether it answers a request that is no health check.
    pub(super) fn serves(&self, now: Millis) -> bool {
        self.answers(now) && !self.life.answers_checks_only
    }

    /// Whether it answers a health check.
    pub(super) fn answers(&self, now: Millis) -> bool {
        let listens = self.started.saturating_add(self.life.listens_after);
        let sick = self.started.saturating_add(self.life.sick_after);
        self.status == TaskStatus::Running && now >= listens && now < sick
    }

    /// It answers nothing any more, and as many checks have found that as it takes.
    pub(super) fn fall_sick(&mut self, now: Millis, checks: Checks) {
        self.life.sick_after = 0;
        if let Some(target) = &mut self.target {
            for _ in 0..checks.unhealthy_after {
                target.check(false, now, checks);
            }
        }
    }

    fn exits_at(&self) -> Millis {
        if self.status == TaskStatus::Running {
            self.started.saturating_add(self.life.exits_after)
        } else {
            NEVER
        }
    }

    /// When something happens to it by itself.
    pub(super) fn next(&self) -> Millis {
        let check = self.target.as_ref().map_or(NEVER, |it| it.check_at);
        self.at.min(self.exits_at()).min(check)
    }

    /// Does what is due; `next` was reached.
    pub(super) fn step(&mut self, now: Millis, chance: &mut Chance, checks: Checks) -> TaskNews {
        if self.exits_at() <= now {
            return self.fail(now, self.life.exit.clone());
        }
        if self.at <= now {
            return self.pass(now, chance, checks);
        }
        let passes = self.answers(now);
        let passes_container_check = self.passes_container_check();
        let Some(target) = &mut self.target else {
            return TaskNews::Unchanged;
        };
        let before = target.state;
        target.check(passes, now, checks);
        target.skip_to(self.started.saturating_add(self.life.sick_after), checks);
        match target.state {
            state if state == before => TaskNews::Unchanged,
            TargetState::Healthy if !passes_container_check => TaskNews::Moved,
            TargetState::Healthy => {
                self.was_healthy = true;
                TaskNews::Healthy
            }
            _ => TaskNews::Unhealthy,
        }
    }

    fn fail(&mut self, now: Millis, cause: StopCause) -> TaskNews {
        self.stop = Some(cause);
        self.status = TaskStatus::Deprovisioning;
        self.at = now + 1_000;
        if let Some(target) = &mut self.target {
            target.drain();
        }
        TaskNews::Failed
    }

    fn pass(&mut self, now: Millis, chance: &mut Chance, checks: Checks) -> TaskNews {
        let (status, after) = match self.status {
            TaskStatus::Provisioning => (TaskStatus::Pending, self.life.pull),
            TaskStatus::Pending => {
                if let Some(cause) = self.life.start_failure.clone() {
                    return self.fail(now, cause);
                }
                (TaskStatus::Activating, 300)
            }
            TaskStatus::Activating => {
                self.started = now;
                let first = now + chance.between(checks.first_after, checks.interval);
                self.target = Some(ModelTarget::registered(first));
                self.status = TaskStatus::Running;
                self.at = NEVER;
                return TaskNews::Registered;
            }
            TaskStatus::Deactivating => (TaskStatus::Stopping, chance.between(500, 5_000)),
            TaskStatus::Stopping => (TaskStatus::Deprovisioning, 1_000),
            TaskStatus::Deprovisioning => {
                self.stopped = now;
                self.target = None;
                (TaskStatus::Stopped, NEVER - now)
            }
            TaskStatus::Running | TaskStatus::Stopped => (self.status, NEVER - now),
        };
        self.status = status;
        self.at = now.saturating_add(after);
        TaskNews::Moved
    }

    /// ECS or a person stops it.
    pub(super) fn ask_to_stop(&mut self, now: Millis, drain: Millis, cause: StopCause) {
        let never_ran = self.status < TaskStatus::Activating;
        self.stop = Some(StopCause {
            exit_code: cause.exit_code.filter(|_| !never_ran),
            ..cause
        });
        if let Some(target) = &mut self.target {
            target.drain();
        }
        (self.status, self.at) = if never_ran {
            (TaskStatus::Deprovisioning, now + 1_000)
        } else {
            (TaskStatus::Deactivating, now + drain)
        };
    }
}
