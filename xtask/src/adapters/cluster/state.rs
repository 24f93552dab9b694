//! Converts services and tasks of the ECS API to the types of `decide`, and alarms back.

use anyhow::{Context, Result};
use aws_sdk_ecs::types::{
    self, DeploymentAlarms, DeploymentConfiguration, DeploymentRolloutState, Service,
    ServiceDeploymentCircuitBreaker, ServiceDeploymentRollbackMonitorsStatus,
    ServiceDeploymentStatus, Task,
};

use crate::decide::release::deployment::{DeploymentStatus, ServiceDeployment};
use crate::decide::release::snapshot::{
    Alarms, Deployment, Revision, RolloutState, ServiceEvent, ServiceState, StoppedContainer,
    StoppedTask,
};

/// The last part of an ARN: of a task definition `family:number`, of a task its id.
pub(super) fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

pub(super) fn revision_of(arn: &str) -> Result<Revision> {
    Ok(name_of(arn).parse()?)
}

/// The deployment configuration of the service with other alarms. AWS does not document what
/// happens to omitted members, so all that `infra/` sets are sent.
pub(super) fn with_alarms(service: &Service, alarms: &Alarms) -> Result<DeploymentConfiguration> {
    let alarms = DeploymentAlarms::builder()
        .set_alarm_names(Some(alarms.names.clone()))
        .enable(alarms.enabled)
        .rollback(alarms.rollback)
        .build()?;
    let now = service.deployment_configuration();
    Ok(DeploymentConfiguration::builder()
        .set_maximum_percent(now.and_then(DeploymentConfiguration::maximum_percent))
        .set_minimum_healthy_percent(now.and_then(DeploymentConfiguration::minimum_healthy_percent))
        .set_deployment_circuit_breaker(now.and_then(|it| it.deployment_circuit_breaker.clone()))
        .alarms(alarms)
        .build())
}

fn alarms(alarms: &DeploymentAlarms) -> Alarms {
    Alarms {
        names: alarms.alarm_names().to_vec(),
        enabled: alarms.enable(),
        rollback: alarms.rollback(),
    }
}

pub(super) fn service_state(service: &Service) -> Result<ServiceState> {
    let configuration = service.deployment_configuration();
    Ok(ServiceState {
        active: service.status() == Some("ACTIVE"),
        desired: service.desired_count(),
        running: service.running_count(),
        pending: service.pending_count(),
        deployments: service
            .deployments()
            .iter()
            .map(deployment)
            .collect::<Result<_>>()?,
        alarms: configuration.and_then(|it| it.alarms()).map(alarms),
        events: service.events().iter().map(event).collect(),
    })
}

fn event(event: &types::ServiceEvent) -> ServiceEvent {
    ServiceEvent {
        id: event.id().unwrap_or_default().to_owned(),
        message: event.message().unwrap_or_default().to_owned(),
    }
}

fn deployment(deployment: &types::Deployment) -> Result<Deployment> {
    Ok(Deployment {
        primary: deployment.status() == Some("PRIMARY"),
        revision: revision_of(deployment.task_definition().unwrap_or_default())
            .context("ECS has a deployment without a revision")?,
        state: match deployment.rollout_state() {
            Some(DeploymentRolloutState::Completed) => RolloutState::Completed,
            Some(DeploymentRolloutState::Failed) => RolloutState::Failed,
            // States that are unknown to this SDK count as in progress.
            _ => RolloutState::InProgress,
        },
        reason: deployment
            .rollout_state_reason()
            .unwrap_or_default()
            .to_owned(),
        desired: deployment.desired_count(),
        running: deployment.running_count(),
        pending: deployment.pending_count(),
        failed: deployment.failed_tasks(),
    })
}

pub(super) fn service_deployment(found: &types::ServiceDeployment) -> ServiceDeployment {
    let breaker = found.deployment_circuit_breaker();
    let rollback = found.rollback().and_then(|it| it.reason());
    let triggered = Some(&ServiceDeploymentRollbackMonitorsStatus::Triggered);
    let alarms = found.alarms();
    ServiceDeployment {
        arn: found
            .service_deployment_arn()
            .unwrap_or_default()
            .to_owned(),
        status: deployment_status(found.status()),
        reason: rollback
            .or(found.status_reason())
            .unwrap_or_default()
            .to_owned(),
        failures: breaker.map_or(0, ServiceDeploymentCircuitBreaker::failure_count),
        breaker_triggered: breaker.and_then(|it| it.status()) == triggered,
        alarms: alarms.map_or_else(Vec::new, |it| it.triggered_alarm_names().to_vec()),
    }
}

fn deployment_status(status: Option<&ServiceDeploymentStatus>) -> DeploymentStatus {
    match status {
        Some(ServiceDeploymentStatus::Successful) => DeploymentStatus::Successful,
        Some(ServiceDeploymentStatus::Stopped) => DeploymentStatus::Stopped,
        Some(
            ServiceDeploymentStatus::RollbackRequested
            | ServiceDeploymentStatus::RollbackInProgress,
        ) => DeploymentStatus::RollingBack,
        Some(ServiceDeploymentStatus::RollbackSuccessful) => DeploymentStatus::RolledBack,
        Some(ServiceDeploymentStatus::RollbackFailed) => DeploymentStatus::RollbackFailed,
        // States that are unknown to this SDK count as in progress.
        _ => DeploymentStatus::InProgress,
    }
}

pub(super) fn stopped_task(task: &Task) -> StoppedTask {
    let container = |container: &types::Container| StoppedContainer {
        name: container.name().unwrap_or_default().to_owned(),
        exit_code: container.exit_code(),
        reason: container.reason().map(str::to_owned),
    };
    StoppedTask {
        id: task.task_arn().map(name_of).unwrap_or_default().to_owned(),
        stop_code: task
            .stop_code()
            .map(|code| code.as_str().to_owned())
            .unwrap_or_default(),
        reason: task.stopped_reason().unwrap_or_default().to_owned(),
        containers: task.containers().iter().map(container).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service of `infra/` as AWS returns it, with additional members.
    fn watched() -> Service {
        let alarms = DeploymentAlarms::builder()
            .alarm_names("demo-axon-unhealthy-targets")
            .alarm_names("demo-axon-server-error-percent")
            .enable(true)
            .rollback(true)
            .build();
        let breaker = types::DeploymentCircuitBreaker::builder()
            .enable(true)
            .rollback(true)
            .build();
        let configuration = DeploymentConfiguration::builder()
            .maximum_percent(200)
            .minimum_healthy_percent(100)
            .deployment_circuit_breaker(breaker)
            .alarms(alarms.unwrap())
            .strategy(types::DeploymentStrategy::Rolling)
            .bake_time_in_minutes(0)
            .build();
        Service::builder()
            .deployment_configuration(configuration)
            .build()
    }

    #[test]
    fn disabling_alarms_keeps_everything_else() {
        let service = watched();
        let on = service_state(&service).unwrap().alarms.unwrap();
        assert!(on.enabled && on.rollback && on.names.len() == 2);
        let off = Alarms {
            enabled: false,
            ..on.clone()
        };
        let sent = with_alarms(&service, &off).unwrap();
        let now = service.deployment_configuration().unwrap();
        assert_eq!(alarms(sent.alarms().unwrap()), off);
        assert_eq!(sent.maximum_percent(), now.maximum_percent());
        assert_eq!(
            sent.minimum_healthy_percent(),
            now.minimum_healthy_percent()
        );
        assert_eq!(
            sent.deployment_circuit_breaker(),
            now.deployment_circuit_breaker()
        );
    }

    #[test]
    fn a_service_without_alarms_has_none() {
        let service = Service::builder().build();
        assert_eq!(service_state(&service).unwrap().alarms, None);
    }

    #[test]
    fn an_unknown_rollout_state_is_in_progress() {
        let unknown = types::Deployment::builder()
            .status("PRIMARY")
            .task_definition("arn:aws:ecs:us-east-1:000000000000:task-definition/demo-axon:3")
            .rollout_state("PONDERING".into())
            .build();
        let found = deployment(&unknown).unwrap();
        assert_eq!(
            (found.state, found.revision.as_str()),
            (RolloutState::InProgress, "demo-axon:3")
        );
    }
}
