//! What the API shows of the model.

use super::deployments::{RolloutStatus, ServiceDeploymentAnswer};
use super::ecs::{AlarmSettings, EcsModel, ModelService};
use super::targets::ModelTarget;
use super::tasks::{ModelTask, TaskStatus};
use super::{Chance, Millis};

/// As `DescribeServices` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAnswer {
    pub(crate) desired: u32,
    pub(crate) running: u32,
    pub(crate) pending: u32,
    pub(crate) deployments: Vec<DeploymentAnswer>,
    pub(crate) alarms: Option<AlarmSettings>,
    /// Ids and messages, the newest first.
    pub(crate) events: Vec<(String, String)>,
    /// The ARN of the service deployment that is in progress.
    pub(crate) current: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeploymentAnswer {
    pub(crate) primary: bool,
    pub(crate) revision: String,
    pub(crate) rollout: RolloutStatus,
    pub(crate) reason: String,
    pub(crate) desired: u32,
    pub(crate) running: u32,
    pub(crate) pending: u32,
    pub(crate) failed: u32,
}

/// As `DescribeTasks` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskAnswer {
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) status: TaskStatus,
    pub(crate) stop_code: &'static str,
    pub(crate) stopped_reason: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) container_reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetAnswer {
    pub(crate) state: &'static str,
    pub(crate) reason: Option<&'static str>,
    /// The same for people.
    pub(crate) description: Option<&'static str>,
}

/// How many events are answered: the API has 100, which no test needs.
const EVENTS_MAX: usize = 12;

impl ModelService {
    pub(super) fn answer(&self) -> ServiceAnswer {
        let counts = |task: &&ModelTask| {
            let ends = task.status == TaskStatus::Deactivating;
            task.status == TaskStatus::Running || ends && self.undecided.counts_deactivating
        };
        let deployments = self.deployments.iter().map(|deployment| {
            let mut running = 0;
            let mut pending = 0;
            for task in self
                .tasks
                .iter()
                .filter(|it| it.deployment == deployment.id)
            {
                running += u32::from(counts(&task));
                pending += u32::from(task.is_pending());
            }
            DeploymentAnswer {
                primary: deployment.primary,
                revision: deployment.revision.clone(),
                rollout: deployment.rollout,
                reason: deployment.reason.clone(),
                desired: self.desired_of(deployment),
                running,
                pending,
                failed: deployment.failed,
            }
        });
        let running = self.tasks.iter().filter(counts).count();
        let pending = self.tasks.iter().filter(|it| it.is_pending()).count();
        let current = self.service_deployments.last();
        ServiceAnswer {
            desired: self.desired,
            running: u32::try_from(running).unwrap(),
            pending: u32::try_from(pending).unwrap(),
            deployments: deployments.collect(),
            alarms: self.alarms.clone(),
            events: self.events.iter().rev().take(EVENTS_MAX).cloned().collect(),
            current: current
                .filter(|it| !it.status.has_ended())
                .map(|it| it.arn.clone()),
        }
    }
}

/// How many earlier answers of a service are kept.
const EARLIER_MAX: usize = 64;

impl EcsModel {
    /// `stale`: how old the answer is.
    pub(crate) fn describe_service(&mut self, name: &str, stale: Millis) -> Option<ServiceAnswer> {
        let before = self.now.saturating_sub(stale);
        let service = self.services.get(name)?;
        let earlier = service.earlier.iter().rev().find(|(at, _)| *at <= before);
        let oldest = service.earlier.front();
        let found = earlier.or(oldest).filter(|_| stale > 0);
        Some(found.map_or_else(|| service.answer(), |(_, answer)| answer.clone()))
    }

    pub(crate) fn answer_now(&self, name: &str) -> ServiceAnswer {
        self.services[name].answer()
    }

    /// Notes what can be answered from now on.
    pub(super) fn remember(&mut self) {
        for service in self.services.values_mut().filter(|it| it.is_dirty) {
            service.is_dirty = false;
            let answer = service.answer();
            if service.earlier.back().is_some_and(|(_, it)| *it == answer) {
                continue;
            }
            service.earlier.push_back((self.now, answer));
            if service.earlier.len() > EARLIER_MAX {
                service.earlier.pop_front();
            }
        }
    }

    /// The stopped tasks of a revision, the newest first.
    pub(crate) fn stopped_tasks(&self, name: &str, revision: &str) -> Vec<TaskAnswer> {
        let tasks = self.services[name].tasks.iter().rev();
        let stopped = tasks.filter(|it| it.status == TaskStatus::Stopped);
        stopped
            .filter(|it| it.revision == revision)
            .map(ModelTask::answer)
            .collect()
    }

    /// The tasks that have not stopped.
    pub(crate) fn tasks(&self, name: &str) -> Vec<TaskAnswer> {
        let tasks = self.services[name].tasks.iter();
        let there = tasks.filter(|it| it.status != TaskStatus::Stopped);
        there.map(ModelTask::answer).collect()
    }

    pub(crate) fn target_health(&self, name: &str) -> Vec<TargetAnswer> {
        let tasks = self.services[name].tasks.iter();
        let targets = tasks.filter_map(|task| task.target.as_ref());
        let words = targets.map(ModelTarget::words);
        words
            .map(|(state, reason)| TargetAnswer {
                state,
                reason,
                description: reason.map(described),
            })
            .collect()
    }

    pub(crate) fn service_deployments(&self, name: &str) -> &[ServiceDeploymentAnswer] {
        &self.services[name].service_deployments
    }

    /// Healthy targets get a request, and where there is none, all of them, since the load balancer
    /// fails open.
    pub(super) fn answering(&self, name: &str, chance: &mut Chance) -> Option<String> {
        let tasks = self.services[name].tasks.iter();
        let open: Vec<&ModelTask> = tasks
            .filter(|it| it.status == TaskStatus::Running && it.target.is_some())
            .collect();
        let mut asked: Vec<_> = open.iter().filter(|it| it.is_healthy()).collect();
        if asked.is_empty() {
            asked = open.iter().collect();
        }
        if asked.is_empty() {
            return None;
        }
        let task = chance.pick(&asked);
        task.serves(self.now).then(|| task.revision.clone())
    }
}

/// "Target health reason codes" of the guide for Application Load Balancers.
fn described(reason: &str) -> &'static str {
    match reason {
        "Elb.RegistrationInProgress" => "Target registration is in progress",
        "Elb.InitialHealthChecking" => "Initial health checks in progress",
        "Target.FailedHealthChecks" => "Health checks failed",
        _ => "Target deregistration is in progress",
    }
}

impl ModelTask {
    pub(super) fn answer(&self) -> TaskAnswer {
        let stop = self.stop.as_ref();
        TaskAnswer {
            id: self.id.clone(),
            revision: self.revision.clone(),
            status: self.status,
            stop_code: stop.map_or("", |it| it.code),
            stopped_reason: stop.map_or_else(String::new, |it| it.reason.clone()),
            exit_code: stop.and_then(|it| it.exit_code),
            container_reason: stop.and_then(|it| it.container_reason.clone()),
        }
    }
}
