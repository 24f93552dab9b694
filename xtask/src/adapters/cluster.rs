//! The ECS cluster. The only place that turns a definition into the SDK's input, and the only one
//! that knows ECS's names of states.

mod state;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionFluentBuilder;
use aws_sdk_ecs::types::{
    self, DesiredStatus, Tag, Task, TaskDefinition, TaskDefinitionField, TaskDefinitionStatus,
};
use aws_smithy_json::codec::{JsonCodec, JsonCodecSettings};
use aws_smithy_schema::Schema;
use aws_smithy_schema::codec::Codec;
use aws_smithy_schema::serde::{SerializableStruct, ShapeSerializer};
use serde_json::Value;

use super::aws::explain;
use crate::catalog::Service;
use crate::decide::definition::Definition;
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::{Registered, Revision, ServiceState, StoppedTask};
use crate::ports::{Cluster, ServiceUpdate};
use state::{name_of, revision_of, service_state, stopped_task, with_alarms};

const SHA256_TAG: &str = "definition-sha256";
/// `DescribeTasks` takes so many at most.
const TASKS_MAX: usize = 100;

pub struct Ecs {
    client: Client,
}

impl Ecs {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            client: Client::new(config),
        }
    }

    async fn describe(&self, outputs: &Outputs, service: Service) -> Result<types::Service> {
        let name = &outputs.service(service).ecs_service;
        let described = self
            .client
            .describe_services()
            .cluster(&outputs.cluster)
            .services(name)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe the service {name}"))?;
        let found = described.services.unwrap_or_default().into_iter().next();
        found.with_context(|| format!("cluster {} has no service {name}", outputs.cluster))
    }

    async fn tasks(
        &self,
        outputs: &Outputs,
        service: Service,
        status: DesiredStatus,
    ) -> Result<Vec<Task>> {
        let name = &outputs.service(service).ecs_service;
        let mut pages = self
            .client
            .list_tasks()
            .cluster(&outputs.cluster)
            .service_name(name)
            .desired_status(status)
            .into_paginator()
            .items()
            .send();
        let mut arns = Vec::new();
        while let Some(arn) = pages.next().await {
            let arn = arn.map_err(explain);
            arns.push(arn.with_context(|| format!("list the tasks of {name}"))?);
        }
        let mut tasks = Vec::new();
        for chunk in arns.chunks(TASKS_MAX) {
            let described = self
                .client
                .describe_tasks()
                .cluster(&outputs.cluster)
                .set_tasks(Some(chunk.to_vec()))
                .send()
                .await
                .map_err(explain)
                .with_context(|| format!("describe the tasks of {name}"))?;
            tasks.extend(described.tasks.unwrap_or_default());
        }
        Ok(tasks)
    }
}

#[async_trait]
impl Cluster for Ecs {
    async fn describe_service(&self, outputs: &Outputs, service: Service) -> Result<ServiceState> {
        service_state(&self.describe(outputs, service).await?)
    }

    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>> {
        let described = self
            .client
            .describe_task_definition()
            .task_definition(revision.as_str())
            .include(TaskDefinitionField::Tags)
            .send()
            .await;
        let described = match described {
            Ok(described) => described,
            Err(error) if unknown_revision(&error) => return Ok(None),
            Err(error) => {
                return Err(explain(error)).with_context(|| format!("describe {revision}"));
            }
        };
        let Some(found) = described.task_definition() else {
            return Ok(None);
        };
        let sha256 = described
            .tags()
            .iter()
            .find(|tag| tag.key() == Some(SHA256_TAG))
            .and_then(|tag| tag.value().map(str::to_owned));
        Ok(Some(Registered {
            definition: Definition(to_json(TaskDefinition::SCHEMA, found)?),
            active: found.status() == Some(&TaskDefinitionStatus::Active),
            sha256,
        }))
    }

    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision> {
        let family = definition.family();
        let input = to_input(definition).with_context(|| format!("register {family}"))?;
        let tag = Tag::builder().key(SHA256_TAG).value(content).build();
        let registered = with_input(self.client.register_task_definition(), input)
            .tags(tag)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("register {family}"))?;
        let arn = registered
            .task_definition()
            .and_then(TaskDefinition::task_definition_arn);
        revision_of(arn.context("ECS registered a definition and did not name it")?)
    }

    async fn update_service(
        &self,
        outputs: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let name = &outputs.service(service).ecs_service;
        let configuration = match &update.alarms {
            Some(alarms) => Some(with_alarms(
                &self.describe(outputs, service).await?,
                alarms,
            )?),
            None => None,
        };
        self.client
            .update_service()
            .cluster(&outputs.cluster)
            .service(name)
            .set_task_definition(update.revision.clone().map(String::from))
            .set_desired_count(update.desired)
            .set_deployment_configuration(configuration)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("update the service {name}"))?;
        Ok(())
    }

    async fn stopped_tasks(
        &self,
        outputs: &Outputs,
        service: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>> {
        let mut tasks = self.tasks(outputs, service, DesiredStatus::Stopped).await?;
        tasks.sort_by_key(|task| {
            std::cmp::Reverse(
                task.stopped_at()
                    .map_or(0, aws_smithy_types::DateTime::secs),
            )
        });
        let ours =
            |task: &&Task| task.task_definition_arn().map(name_of) == Some(revision.as_str());
        Ok(tasks.iter().filter(ours).map(stopped_task).collect())
    }

    async fn running_tasks(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let mut ids = BTreeSet::new();
        // In this order: one that is told to stop between the two is in the second.
        for desired in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let tasks = self.tasks(outputs, service, desired).await?;
            let alive = tasks.iter().filter(|task| has_containers(task));
            let id = |task: &Task| Some(task.task_arn()?.rsplit_once('/')?.1.to_owned());
            ids.extend(alive.filter_map(id));
        }
        Ok(ids.into_iter().collect())
    }

    async fn task_health(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let tasks = self.tasks(outputs, service, DesiredStatus::Running).await?;
        let health = |task: &Task| {
            let status = task.health_status();
            status
                .map_or("UNKNOWN", |status| status.as_str())
                .to_owned()
        };
        Ok(running(&tasks).map(health).collect())
    }

    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()> {
        self.client
            .deregister_task_definition()
            .task_definition(revision.as_str())
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("deregister {revision}"))?;
        Ok(())
    }
}

/// `ListTasks` may name tasks that have not started, or have stopped.
fn running(tasks: &[Task]) -> impl Iterator<Item = &Task> {
    tasks
        .iter()
        .filter(|task| task.last_status() == Some("RUNNING"))
}

/// From the time at which its containers have started until they have ended.
fn has_containers(task: &Task) -> bool {
    let alive = ["ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING"];
    task.last_status()
        .is_some_and(|status| alive.contains(&status))
}

fn unknown_revision<R>(
    error: &aws_sdk_ecs::error::SdkError<
        aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionError,
        R,
    >,
) -> bool {
    use aws_smithy_types::error::metadata::ProvideErrorMetadata;
    // ECS has no code of its own for this: it answers a ClientException that says so.
    error.as_service_error().is_some_and(|error| {
        error
            .message()
            .is_some_and(|text| text.to_lowercase().contains("unable to describe"))
    })
}

/// The SDK's input of a definition. The SDK drops what it does not know without a word, so the
/// input is written back and every key that was lost on the way is an error.
fn to_input(definition: &Definition) -> Result<RegisterTaskDefinitionInput> {
    let bytes = serde_json::to_vec(&definition.0)?;
    let codec = JsonCodec::new(JsonCodecSettings::default());
    let input = RegisterTaskDefinitionInput::deserialize(&mut codec.create_deserializer(&bytes))
        .context("the definition is not what ECS takes")?;
    let back = to_json(RegisterTaskDefinitionInput::SCHEMA, &input)?;
    let mut lost = Vec::new();
    collect_lost(&definition.0, &back, "", &mut lost);
    if !lost.is_empty() {
        bail!("ECS does not know {}", lost.join(", "));
    }
    Ok(input)
}

fn to_json(schema: &Schema<'_>, value: &dyn SerializableStruct) -> Result<Value> {
    let codec = JsonCodec::new(JsonCodecSettings::default());
    let mut serializer = codec.create_serializer();
    serializer
        .write_struct(schema, value)
        .context("write what the SDK holds as JSON")?;
    serde_json::from_slice(&serializer.finish()).context("read back what the SDK wrote")
}

fn collect_lost(source: &Value, back: &Value, place: &str, lost: &mut Vec<String>) {
    match (source, back) {
        (Value::Object(source), Value::Object(back)) => {
            for (key, value) in source {
                let place = if place.is_empty() {
                    key.clone()
                } else {
                    format!("{place}.{key}")
                };
                match back.get(key) {
                    Some(back) => collect_lost(value, back, &place, lost),
                    None => lost.push(place),
                }
            }
        }
        (Value::Array(source), Value::Array(back)) if source.len() == back.len() => {
            for (index, (value, back)) in source.iter().zip(back).enumerate() {
                collect_lost(value, back, &format!("{place}[{index}]"), lost);
            }
        }
        _ if source == back => {}
        _ => lost.push(format!("{place} = {source}")),
    }
}

/// The SDK's call has a setter for each field of its input and none for the whole.
fn with_input(
    call: RegisterTaskDefinitionFluentBuilder,
    input: RegisterTaskDefinitionInput,
) -> RegisterTaskDefinitionFluentBuilder {
    call.set_family(input.family)
        .set_task_role_arn(input.task_role_arn)
        .set_execution_role_arn(input.execution_role_arn)
        .set_network_mode(input.network_mode)
        .set_container_definitions(input.container_definitions)
        .set_volumes(input.volumes)
        .set_placement_constraints(input.placement_constraints)
        .set_requires_compatibilities(input.requires_compatibilities)
        .set_cpu(input.cpu)
        .set_memory(input.memory)
        .set_tags(input.tags)
        .set_pid_mode(input.pid_mode)
        .set_ipc_mode(input.ipc_mode)
        .set_proxy_configuration(input.proxy_configuration)
        .set_ephemeral_storage(input.ephemeral_storage)
        .set_runtime_platform(input.runtime_platform)
        .set_enable_fault_injection(input.enable_fault_injection)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition() -> Value {
        json!({
            "family": "demo-axon",
            "cpu": "256",
            "runtimePlatform": { "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX" },
            "containerDefinitions": [{
                "name": "axon",
                "image": "localhost:4577/demo/axon@sha256:00",
                "stopTimeout": 20,
                "systemControls": [{ "namespace": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
                "linuxParameters": { "capabilities": { "drop": ["ALL"] } }
            }]
        })
    }

    #[test]
    fn a_definition_reaches_the_sdk_whole() {
        let input = to_input(&Definition(definition())).unwrap();
        assert_eq!(input.family(), Some("demo-axon"));
        assert_eq!(input.container_definitions()[0].stop_timeout(), Some(20));
    }

    #[test]
    fn every_key_that_would_be_lost_is_named() {
        let mut value = definition();
        value["containerDefinitions"][0]["stopTimeOut"] = json!(3);
        value["famly"] = json!("demo");
        let error = to_input(&Definition(value)).unwrap_err().to_string();
        assert_eq!(
            error,
            "ECS does not know containerDefinitions[0].stopTimeOut, famly"
        );
    }
}
