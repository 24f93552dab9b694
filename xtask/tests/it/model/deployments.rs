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
    /// How many tasks it failed to bring up altogether.
    pub(super) failed: u32,
    /// The same since a task of it was healthy: what the circuit breaker counts.
    pub(super) failed_in_a_row: u32,
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
            failed_in_a_row: 0,
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

/// Half of the desired count, at least 3 and at most 200 ("How the Amazon ECS deployment circuit
/// breaker detects failures").
pub(super) fn breaker_threshold(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(3, 200)
}
