//! Deployments of a service, and the service deployments that ECS describes them by.

use super::truth::Actor;
use super::{Millis, NEVER};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolloutStatus {
    InProgress,
    Completed,
    Failed,
}

/// One deployment as `DescribeServices` lists it.
#[derive(Debug, Clone)]
pub(super) struct ModelDeployment {
    pub(super) id: u32,
    pub(super) revision: String,
    /// The primary one, or one that is on its way out.
    pub(super) primary: bool,
    pub(super) rollout: RolloutStatus,
    pub(super) reason: String,
    /// How many tasks it failed to bring up since one of it was healthy: what `failedTasks` shows,
    /// and the circuit breaker counts.
    pub(super) failed: u32,
    /// Tasks of it that failed after it was completed and were not replaced.
    pub(super) missing: u32,
    /// It starts no task before this.
    pub(super) starts_at: Millis,
    /// Who changed the service to it, and when.
    pub(super) by: Actor,
    pub(super) since: Millis,
    /// ECS goes back with it: neither breaker nor alarms end it.
    pub(super) goes_back: bool,
    pub(super) watched_by_alarms: bool,
    pub(super) bakes_until: Millis,
}

impl ModelDeployment {
    pub(super) fn begun(id: u32, revision: &str, by: Actor, now: Millis) -> Self {
        Self {
            id,
            revision: revision.to_owned(),
            primary: true,
            rollout: RolloutStatus::InProgress,
            reason: format!("ECS deployment {} in progress.", name(id)),
            failed: 0,
            missing: 0,
            starts_at: now,
            by,
            since: now,
            goes_back: false,
            watched_by_alarms: false,
            bakes_until: NEVER,
        }
    }

    pub(super) fn name(&self) -> String {
        name(self.id)
    }

    pub(super) fn is_moving(&self) -> bool {
        self.rollout == RolloutStatus::InProgress
    }
}

pub(super) fn name(id: u32) -> String {
    format!("ecs-svc/{id:019}")
}

/// In the words of `DescribeServiceDeployments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceDeploymentStatus {
    InProgress,
    Successful,
    Stopped,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl ServiceDeploymentStatus {
    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Self::InProgress | Self::RollbackInProgress)
    }
}

/// ECS's own account of one deployment. It keeps its ARN while ECS goes back with another one.
#[derive(Debug, Clone)]
pub(crate) struct ServiceDeploymentAnswer {
    pub(crate) arn: String,
    pub(crate) status: ServiceDeploymentStatus,
    pub(crate) reason: String,
    pub(crate) target: String,
    pub(crate) breaker: &'static str,
    pub(crate) breaker_failures: u32,
    pub(crate) alarms: Vec<String>,
    /// The revision that ECS goes back to.
    pub(crate) back_to: Option<String>,
}

/// What ends a deployment that is not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedBy {
    Breaker,
    Alarm,
    User,
}

impl FailedBy {
    /// `rolloutStateReason` of the deployment. That of one that a user stopped is not documented.
    pub(super) fn rollout_reason(self) -> &'static str {
        match self {
            Self::Breaker => "ECS deployment circuit breaker: tasks failed to start.",
            Self::Alarm => "ECS deployment alarm: an alarm is in ALARM.",
            Self::User => "ECS deployment rolled back by user.",
        }
    }

    /// `statusReason` of the service deployment (`xtask/emulator/tests/transcripts`,
    /// `service-deployment-breaker.json` and `service-deployment-stopped.json`).
    pub(super) fn status_reason(self) -> &'static str {
        match self {
            Self::Breaker => {
                "Service deployment rolled back because the circuit breaker threshold was exceeded."
            }
            Self::Alarm => self.rollout_reason(),
            Self::User => "Service deployment rolled back by user.",
        }
    }
}

/// "Troubleshoot Amazon ECS action logs" of the developer guide, and
/// `service-deployment-without-way-back.json`.
pub(super) const NO_WAY_BACK: &str = "No rollback candidate was found to run the rollback.";

/// Half of the desired count, at least 3 and at most 200 ("How the Amazon ECS deployment circuit
/// breaker detects failures").
pub(super) fn breaker_threshold(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(3, 200)
}
