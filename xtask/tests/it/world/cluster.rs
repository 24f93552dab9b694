//! ECS and the load balancer: the model, by the ports.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;
use xtask::catalog::Service;
use xtask::decide::definition::Definition;
use xtask::decide::outputs::Outputs;
use xtask::decide::release::deployment::{DeploymentStatus, NewestDeployment, ServiceDeployment};
use xtask::decide::release::snapshot::{
    Alarms, Deployment, Registered, Revision, RolloutState, ServiceEvent, ServiceState,
    StoppedContainer, StoppedTask, TargetHealth,
};
use xtask::ports::{Balancer, Cluster, ServiceUpdate};

use super::{Fake, FakeState};
use crate::model::{
    Actor, AlarmSettings, EcsCall, Millis, RolloutStatus, ServiceAnswer, ServiceDeploymentAnswer,
    ServiceDeploymentStatus, TaskAnswer, TaskStatus, UpdateCall,
};

/// How old an answer of ECS may be.
pub(crate) const STALENESS: Millis = 4_000;

/// How the calls through a handle reach AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) by: Actor,
    /// After its caller gave it up, or slept.
    pub(crate) late: bool,
    /// How old the answer is.
    pub(crate) stale: Millis,
}

impl Delivery {
    pub(crate) const fn of(by: Actor) -> Self {
        Self {
            by,
            late: false,
            stale: 0,
        }
    }
}

fn state_of(answer: &ServiceAnswer) -> Result<ServiceState> {
    let count = |count: u32| count.cast_signed();
    let deployments = answer.deployments.iter().map(|it| {
        Ok(Deployment {
            primary: it.primary,
            revision: it.revision.parse()?,
            state: match it.rollout {
                RolloutStatus::InProgress => RolloutState::InProgress,
                RolloutStatus::Completed => RolloutState::Completed,
                RolloutStatus::Failed => RolloutState::Failed,
            },
            reason: it.reason.clone(),
            desired: count(it.desired),
            running: count(it.running),
            pending: count(it.pending),
            failed: count(it.failed),
        })
    });
    let events = answer.events.iter();
    Ok(ServiceState {
        active: true,
        desired: count(answer.desired),
        running: count(answer.running),
        pending: count(answer.pending),
        deployments: deployments.collect::<Result<_>>()?,
        alarms: answer.alarms.as_ref().map(|it| Alarms {
            names: it.names.clone(),
            enabled: it.enabled,
            rollback: it.rollback,
        }),
        events: events
            .map(|(id, message)| ServiceEvent {
                id: id.clone(),
                message: message.clone(),
            })
            .collect(),
    })
}

fn settings(alarms: &Alarms) -> AlarmSettings {
    AlarmSettings {
        names: alarms.names.clone(),
        enabled: alarms.enabled,
        rollback: alarms.rollback,
    }
}

fn stopped(task: TaskAnswer, service: Service) -> StoppedTask {
    StoppedTask {
        id: task.id,
        stop_code: task.stop_code.to_owned(),
        reason: task.stopped_reason,
        containers: vec![StoppedContainer {
            name: service.name().to_owned(),
            exit_code: task.exit_code,
            reason: task.container_reason,
        }],
    }
}

/// A service deployment by what distinguishes it: `axon/2`.
pub(crate) fn short(arn: &str) -> &str {
    arn.split_once("/demo/").map_or(arn, |(_, it)| it)
}

fn described(found: &ServiceDeploymentAnswer) -> ServiceDeployment {
    ServiceDeployment {
        arn: found.arn.clone(),
        status: match found.status {
            ServiceDeploymentStatus::InProgress => DeploymentStatus::InProgress,
            ServiceDeploymentStatus::Successful => DeploymentStatus::Successful,
            ServiceDeploymentStatus::Stopped => DeploymentStatus::Stopped,
            ServiceDeploymentStatus::RollbackInProgress => DeploymentStatus::RollingBack,
            ServiceDeploymentStatus::RollbackSuccessful => DeploymentStatus::RolledBack,
            ServiceDeploymentStatus::RollbackFailed => DeploymentStatus::RollbackFailed,
        },
        reason: found.reason.clone(),
        failures: found.breaker_failures.cast_signed(),
        breaker_triggered: found.breaker == "TRIGGERED",
        alarms: found.alarms.clone(),
    }
}

/// An update in one line.
fn text_of(service: Service, update: &ServiceUpdate) -> String {
    let mut text = format!("update {service}");
    if let Some(revision) = &update.revision {
        text.push_str(&format!(" {revision}"));
    }
    if let Some(desired) = update.desired {
        text.push_str(&format!(" desired {desired}"));
    }
    if let Some(alarms) = &update.alarms {
        text.push_str(if alarms.enabled {
            " alarms on"
        } else {
            " alarms off"
        });
    }
    text
}

impl FakeState {
    /// A call that changes ECS. Its answer is that of `Register`.
    pub(crate) fn change_ecs(
        &mut self,
        delivery: Delivery,
        call: &EcsCall,
    ) -> Result<Option<String>> {
        let answer = self.ecs.call(delivery.by, delivery.late, call);
        answer.map_err(|refused| anyhow!("InvalidParameterException: {}", refused.0))
    }

    fn look(&mut self, service: Service, stale: Millis) -> Result<ServiceState> {
        let name = service.name();
        let answer = self.ecs.describe_service(name, stale);
        state_of(&answer.with_context(|| format!("no service {name}"))?)
    }

    fn registered(&self, revision: &str, stale: Millis) -> Option<Registered> {
        let known = self.ecs.revision(revision)?;
        // One that was registered a moment ago may not be there yet.
        if stale > 0 && known.registered + stale >= self.ecs.now {
            return None;
        }
        let mut body = known.body.clone();
        body["revision"] = json!(1);
        body["status"] = json!(if known.active { "ACTIVE" } else { "INACTIVE" });
        Some(Registered {
            definition: Definition(body),
            active: known.active,
            sha256: known.tag.clone(),
        })
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn describe_services(
        &self,
        _: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>> {
        let looks = services.chunks(10).map(async |services| {
            let names: Vec<&str> = services.iter().map(|it| it.name()).collect();
            self.call(&format!("look {}", names.join(" ")), |state| {
                let is_stale = std::mem::take(&mut state.stale_look);
                let stale = if is_stale {
                    STALENESS
                } else {
                    self.delivery.stale
                };
                let looks = services.iter().map(|it| Ok((*it, state.look(*it, stale)?)));
                looks.collect::<Result<Vec<_>>>()
            })
            .await
        });
        let states = try_join_all(looks).await?;
        Ok(states.into_iter().flatten().collect())
    }

    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>> {
        let stale = self.delivery.stale;
        self.call(&format!("describe {revision}"), |state| {
            Ok(state.registered(revision.as_str(), stale))
        })
        .await
    }

    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision> {
        let family = definition.family();
        let register = EcsCall::Register {
            body: definition.0.clone(),
            tag: Some(content.to_owned()),
            script: None,
        };
        self.call(&format!("register {family}"), |state| {
            let registered = state.change_ecs(self.delivery, &register)?;
            let revision = registered.unwrap_or_default();
            state.changed(format!("register {revision}"));
            Ok(revision.parse()?)
        })
        .await
    }

    async fn update_service(
        &self,
        _: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let text = text_of(service, update);
        let call = EcsCall::Update(UpdateCall {
            service: service.name().to_owned(),
            revision: update.revision.as_ref().map(ToString::to_string),
            desired: update.desired.map(i32::cast_unsigned),
            alarms: update.alarms.as_ref().map(settings),
            force: false,
        });
        self.call(&text, |state| {
            state.change_ecs(self.delivery, &call)?;
            state.changed(&text);
            Ok(())
        })
        .await
    }

    async fn newest_service_deployment(
        &self,
        _: &Outputs,
        service: Service,
        _: Timestamp,
    ) -> Result<Option<NewestDeployment>> {
        self.call(&format!("deployments {service}"), |state| {
            let newest = state.ecs.service_deployments(service.name()).last();
            let newest = newest.map(|it| {
                Ok(NewestDeployment {
                    arn: it.arn.clone(),
                    revision: it.target.parse()?,
                })
            });
            newest.transpose()
        })
        .await
    }

    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>> {
        let name = short(arn);
        self.call(&format!("deployment {name}"), |state| {
            let (service, _) = name.split_once('/').context("no such deployment")?;
            let mut known = state.ecs.service_deployments(service).iter();
            Ok(known.find(|it| it.arn == arn).map(described))
        })
        .await
    }

    async fn stop_service_deployment(&self, arn: &str) -> Result<()> {
        let text = format!("stop {}", short(arn));
        let call = EcsCall::StopServiceDeployment {
            arn: arn.to_owned(),
        };
        self.call(&text, |state| {
            state.change_ecs(self.delivery, &call)?;
            state.changed(&text);
            Ok(())
        })
        .await
    }

    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>> {
        self.call(&format!("revisions {family}"), |state| {
            let active = state.ecs.active_revisions(family);
            active.iter().map(|name| Ok(name.parse()?)).collect()
        })
        .await
    }

    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()> {
        let text = format!("deregister {revision}");
        let call = EcsCall::Deregister(revision.to_string());
        self.call(&text, |state| {
            state.change_ecs(self.delivery, &call)?;
            state.note_removed(self.delivery, revision.to_string());
            state.changed(&text);
            Ok(())
        })
        .await
    }

    async fn stopped_tasks(
        &self,
        _: &Outputs,
        service: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>> {
        self.call(&format!("stopped tasks {revision}"), |state| {
            let tasks = state.ecs.stopped_tasks(service.name(), revision.as_str());
            let tasks = tasks.into_iter();
            Ok(tasks.map(|task| stopped(task, service)).collect())
        })
        .await
    }

    async fn task_health(&self, _: &Outputs, service: Service) -> Result<Vec<String>> {
        self.call(&format!("task health {service}"), |state| {
            let fails = state.fails_its_container_check == Some(service);
            let word = if fails { "UNHEALTHY" } else { "HEALTHY" };
            let tasks = state.ecs.tasks(service.name()).into_iter();
            let running = tasks.filter(|it| it.status == TaskStatus::Running);
            Ok(running.map(|_| word.to_owned()).collect())
        })
        .await
    }

    async fn running_tasks(&self, _: &Outputs, service: Service) -> Result<Vec<String>> {
        self.call(&format!("tasks {service}"), |state| {
            Ok(state
                .tasks_alive(service)
                .map(|task| task.id.clone())
                .collect())
        })
        .await
    }
}

#[async_trait]
impl Balancer for Fake {
    async fn describe_target_health(
        &self,
        _: &Outputs,
        service: Service,
    ) -> Result<Vec<TargetHealth>> {
        self.call(&format!("target health {service}"), |state| {
            let targets = state.ecs.target_health(service.name()).into_iter();
            let shown = targets.map(|target| TargetHealth {
                state: target.state.to_owned(),
                reason: target.description.map(str::to_owned),
            });
            Ok(shown.collect())
        })
        .await
    }
}
