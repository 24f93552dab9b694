//! A service deployment: what ECS itself says became of one update of a service.

use super::snapshot::Revision;

/// As `DescribeServiceDeployments` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDeployment {
    pub arn: String,
    pub status: DeploymentStatus,
    /// Why it ended or goes back, where ECS says so.
    pub reason: String,
    /// Tasks that failed since the last one that became healthy, as the circuit breaker counts
    /// them.
    pub failures: i32,
    pub breaker_triggered: bool,
    /// The alarms that went off.
    pub alarms: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentStatus {
    /// Pending ones, and states that are unknown to the SDK, too.
    InProgress,
    Successful,
    /// It was stopped, and nothing goes back.
    Stopped,
    RollingBack,
    RolledBack,
    RollbackFailed,
}

/// The newest service deployment of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestDeployment {
    pub arn: String,
    pub revision: Revision,
}

impl ServiceDeployment {
    /// Whether ECS does not go on with it.
    pub fn is_given_up(&self) -> bool {
        !matches!(
            self.status,
            DeploymentStatus::InProgress | DeploymentStatus::Successful
        )
    }

    /// Why ECS does not go on with it. It goes back for its circuit breaker, for an alarm, or
    /// because somebody stopped it.
    pub fn why(&self) -> String {
        let stopped = if !self.alarms.is_empty() {
            format!("alarms went off: {}", self.alarms.join(", "))
        } else if self.breaker_triggered {
            "ECS deployment circuit breaker: tasks failed to start".to_owned()
        } else {
            "its deployment was stopped".to_owned()
        };
        match self.reason.as_str() {
            "" => stopped,
            reason => reason.to_owned(),
        }
    }

    /// The same deployment, where its way back is what is waited for.
    #[must_use]
    pub fn way_back(self) -> Self {
        let status = match self.status {
            DeploymentStatus::RollingBack => DeploymentStatus::InProgress,
            DeploymentStatus::RolledBack => DeploymentStatus::Successful,
            status => status,
        };
        Self { status, ..self }
    }
}
