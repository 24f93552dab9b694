//! Service deployments: what ECS says became of each update.

use xtask::decide::release::deployment::{DeploymentStatus, NewestDeployment, ServiceDeployment};

use super::services::{BREAKER, FakeService};

#[derive(Clone)]
pub(crate) struct FakeDeployment {
    arn: String,
    revision: String,
    pub(crate) status: DeploymentStatus,
    reason: &'static str,
}

impl FakeDeployment {
    fn is_open(&self) -> bool {
        use DeploymentStatus::{InProgress, RollingBack};
        matches!(self.status, InProgress | RollingBack)
    }

    pub(super) fn newest(&self) -> NewestDeployment {
        NewestDeployment {
            arn: self.arn.clone(),
            revision: self.revision.parse().unwrap(),
        }
    }

    pub(super) fn described(&self, failures: u32) -> ServiceDeployment {
        let alarm = self.reason.contains("alarm");
        ServiceDeployment {
            arn: self.arn.clone(),
            status: self.status,
            reason: self.reason.to_owned(),
            failures: failures.cast_signed(),
            breaker_triggered: self.reason == BREAKER,
            alarms: alarm.then(|| "an-alarm".to_owned()).into_iter().collect(),
        }
    }
}

impl FakeService {
    /// An update ends the deployment that is under way.
    pub(super) fn begin_deployment(&mut self, name: &str, revision: &str) {
        self.end_deployment(DeploymentStatus::Stopped, "");
        let number = self.deployments.len() + 1;
        self.deployments.push(FakeDeployment {
            arn: format!("{name}/{number}"),
            revision: revision.to_owned(),
            status: DeploymentStatus::InProgress,
            reason: "",
        });
    }

    pub(super) fn end_deployment(&mut self, status: DeploymentStatus, reason: &'static str) {
        if let Some(open) = self.deployments.last_mut().filter(|it| it.is_open()) {
            open.status = status;
            open.reason = if reason.is_empty() {
                open.reason
            } else {
                reason
            };
        }
    }

    /// All tasks of the primary deployment run.
    pub(super) fn complete_deployment(&mut self) {
        let open = self.deployments.last();
        let is_back = open.is_some_and(|it| it.status == DeploymentStatus::RollingBack);
        let status = if is_back {
            DeploymentStatus::RolledBack
        } else {
            DeploymentStatus::Successful
        };
        self.end_deployment(status, "");
    }
}
