//! The ECS cluster. Only this module converts definitions to the input of the SDK, and the states
//! of ECS to those of `decide`.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionFluentBuilder;
use aws_sdk_ecs::types::{
    self, CreatedAt, DesiredStatus, ServiceDeploymentBrief, StopServiceDeploymentStopType, Tag,
    Task, TaskDefinition, TaskDefinitionField, TaskDefinitionStatus,
};
use aws_smithy_json::codec::{JsonCodec, JsonCodecSettings};
use aws_smithy_schema::Schema;
use aws_smithy_schema::codec::Codec;
use aws_smithy_schema::serde::{SerializableStruct, ShapeSerializer};
use aws_smithy_types::DateTime;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::Value;

use super::aws::explain;
use crate::catalog::Service;
use crate::decide::definition::Definition;
use crate::decide::outputs::Outputs;
use crate::decide::release::deployment::{NewestDeployment, ServiceDeployment};
use crate::decide::release::snapshot::{Registered, Revision, ServiceState, StoppedTask};
use crate::ports::{Cluster, ServiceUpdate};
use state::{name_of, revision_of, service_deployment, service_state, stopped_task, with_alarms};

const SHA256_TAG: &str = "definition-sha256";
/// The limit of services in `DescribeServices`.
const SERVICES_MAX: usize = 10;
/// The limit of tasks in `DescribeTasks`.
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

    /// The services of these names, in one call of the API.
    async fn describe(&self, outputs: &Outputs, names: &[&str]) -> Result<Vec<types::Service>> {
        let described = self
            .client
            .describe_services()
            .cluster(&outputs.cluster)
            .set_services(Some(names.iter().map(ToString::to_string).collect()))
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe the services {}", names.join(", ")))?;
        let found = described.services.unwrap_or_default();
        let is_found = |name: &str| found.iter().any(|it| it.service_name() == Some(name));
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !is_found(name))
            .collect();
        if !missing.is_empty() {
            let cluster = &outputs.cluster;
            bail!("cluster {cluster} has no service {}", missing.join(", "));
        }
        Ok(found)
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
    async fn describe_services(
        &self,
        outputs: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>> {
        let by_name = services
            .iter()
            .map(|service| (outputs.service(*service).ecs_service.as_str(), *service));
        let by_name: BTreeMap<&str, Service> = by_name.collect();
        let names: Vec<&str> = by_name.keys().copied().collect();
        let calls = names
            .chunks(SERVICES_MAX)
            .map(|names| self.describe(outputs, names));
        let found = try_join_all(calls).await?.into_iter().flatten();
        let state = found.filter_map(|found| {
            let service = by_name.get(found.service_name()?)?;
            Some(service_state(&found).map(|state| (*service, state)))
        });
        state.collect()
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
        revision_of(arn.context("no ARN in the response of RegisterTaskDefinition")?)
    }

    async fn update_service(
        &self,
        outputs: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let name = &outputs.service(service).ecs_service;
        let configuration = match &update.alarms {
            Some(alarms) => {
                let found = self.describe(outputs, &[name]).await?;
                let service = found.first().context("no service in the response")?;
                Some(with_alarms(service, alarms)?)
            }
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
        // In this order: a task that is stopped between the two calls is in the second list.
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

    async fn newest_service_deployment(
        &self,
        outputs: &Outputs,
        service: Service,
        since: Timestamp,
    ) -> Result<Option<NewestDeployment>> {
        let name = &outputs.service(service).ecs_service;
        let since = DateTime::from_secs(since.as_second());
        let listed = self
            .client
            .list_service_deployments()
            .cluster(&outputs.cluster)
            .service(name)
            .created_at(CreatedAt::builder().after(since).build());
        let mut newest: Option<ServiceDeploymentBrief> = None;
        let mut page = None;
        loop {
            let answer = listed.clone().set_next_token(page).send().await;
            let answer = answer
                .map_err(explain)
                .with_context(|| format!("list the service deployments of {name}"))?;
            // AWS documents no order.
            let found = answer.service_deployments.unwrap_or_default().into_iter();
            newest = newest.into_iter().chain(found).max_by_key(|it| {
                let created = it.created_at();
                created.map(|at| (at.secs(), at.subsec_nanos()))
            });
            page = answer.next_token;
            if page.is_none() {
                break;
            }
        }
        let (Some(arn), Some(target)) = (
            newest.as_ref().and_then(|it| it.service_deployment_arn()),
            newest
                .as_ref()
                .and_then(|it| it.target_service_revision_arn()),
        ) else {
            return Ok(None);
        };
        let described = self
            .client
            .describe_service_revisions()
            .service_revision_arns(target)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe the service revision {target}"))?;
        let revision = described.service_revisions().first();
        let Some(definition) = revision.and_then(|it| it.task_definition()) else {
            return Ok(None);
        };
        Ok(Some(NewestDeployment {
            arn: arn.to_owned(),
            revision: revision_of(definition)?,
        }))
    }

    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>> {
        let described = self
            .client
            .describe_service_deployments()
            .service_deployment_arns(arn)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe the service deployment {}", name_of(arn)))?;
        Ok(described
            .service_deployments()
            .first()
            .map(service_deployment))
    }

    async fn stop_service_deployment(&self, arn: &str) -> Result<()> {
        self.client
            .stop_service_deployment()
            .service_deployment_arn(arn)
            .stop_type(StopServiceDeploymentStopType::Rollback)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("stop the service deployment {}", name_of(arn)))?;
        Ok(())
    }

    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>> {
        let mut pages = self
            .client
            .list_task_definitions()
            .family_prefix(family)
            .into_paginator()
            .items()
            .send();
        let mut revisions = Vec::new();
        while let Some(arn) = pages.next().await {
            let arn = arn.map_err(explain);
            let arn = arn.with_context(|| format!("list the revisions of {family}"))?;
            revisions.push(revision_of(&arn)?);
        }
        // A prefix may be that of another family too.
        revisions.retain(|it| it.family() == family);
        Ok(revisions)
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

/// Filters the tasks that run; `ListTasks` may include others.
fn running(tasks: &[Task]) -> impl Iterator<Item = &Task> {
    tasks
        .iter()
        .filter(|task| task.last_status() == Some("RUNNING"))
}

/// Whether the containers of a task have started and not ended.
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
    // ECS has no error code for this, only the message of a ClientException.
    error.as_service_error().is_some_and(|error| {
        error
            .message()
            .is_some_and(|text| text.to_lowercase().contains("unable to describe"))
    })
}

/// Converts a definition to the input of the SDK. The SDK drops unknown keys silently, so the input
/// is converted back, and every lost key is an error.
fn to_input(definition: &Definition) -> Result<RegisterTaskDefinitionInput> {
    let bytes = serde_json::to_vec(&definition.0)?;
    let codec = JsonCodec::new(JsonCodecSettings::default());
    let input = RegisterTaskDefinitionInput::deserialize(&mut codec.create_deserializer(&bytes))
        .context("the definition does not match the ECS API")?;
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
        .context("serialize the input of the SDK")?;
    serde_json::from_slice(&serializer.finish()).context("parse the serialized input")
}

fn collect_lost(source: &Value, back: &Value, path: &str, lost: &mut Vec<String>) {
    match (source, back) {
        (Value::Object(source), Value::Object(back)) => {
            for (key, value) in source {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match back.get(key) {
                    Some(back) => collect_lost(value, back, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(source), Value::Array(back)) if source.len() == back.len() => {
            for (index, (value, back)) in source.iter().zip(back).enumerate() {
                collect_lost(value, back, &format!("{path}[{index}]"), lost);
            }
        }
        _ if source == back => {}
        _ => lost.push(format!("{path} = {source}")),
    }
}

/// The builder of the SDK has a setter for each field, but none for the whole input.
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
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::super::fake_aws;
    use super::*;
    use crate::decide::outputs;
    use crate::decide::release::deployment::DeploymentStatus;

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
    fn a_definition_is_converted_completely() {
        let input = to_input(&Definition(definition())).unwrap();
        assert_eq!(input.family(), Some("demo-axon"));
        assert_eq!(input.container_definitions()[0].stop_timeout(), Some(20));
    }

    /// ECS as `DescribeServices` answers it, without `demo-s7`.
    async fn ecs_without_one(calls: &Arc<Mutex<Vec<usize>>>) -> Ecs {
        let calls = Arc::clone(calls);
        let config = fake_aws::config(move |asked, input| {
            assert_eq!(asked, "DescribeServices");
            let names = input["services"].as_array().unwrap();
            calls.lock().unwrap().push(names.len());
            let found = names.iter().filter(|name| **name != "demo-s7");
            let services = found.map(|name| json!({ "serviceName": name, "status": "ACTIVE" }));
            // In another order than they were asked for.
            Ok(json!({ "services": services.rev().collect::<Vec<_>>() }))
        });
        Ecs::new(&config.await)
    }

    /// The outputs of this many services, and their names.
    fn outputs_of(count: usize) -> (Outputs, Vec<Service>) {
        let (mut outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
        let template = outputs.services.values().next().unwrap().clone();
        let services: Vec<Service> = (0..count)
            .map(|index| format!("s{index}").parse().unwrap())
            .collect();
        outputs.services = services
            .iter()
            .map(|service| {
                let mut facts = template.clone();
                facts.ecs_service = format!("demo-{service}");
                (*service, facts)
            })
            .collect();
        (outputs, services)
    }

    /// ECS with three service deployments on two pages, in no order.
    async fn ecs_with_deployments() -> Ecs {
        let brief = |number: i64| {
            json!({
                "serviceDeploymentArn": format!("deployment/{number}"),
                "targetServiceRevisionArn": format!("revision/{number}"),
                "createdAt": 1_790_000_000 + number,
            })
        };
        let config = fake_aws::config(move |asked, input| match asked {
            "ListServiceDeployments" if input.get("nextToken").is_none() => {
                assert!(input["createdAt"]["after"].is_number(), "{input}");
                Ok(json!({ "serviceDeployments": [brief(1), brief(3)], "nextToken": "2" }))
            }
            "ListServiceDeployments" => Ok(json!({ "serviceDeployments": [brief(2)] })),
            "DescribeServiceRevisions" => {
                let number = input["serviceRevisionArns"][0].as_str().unwrap();
                let number = number.rsplit('/').next().unwrap();
                let definition = format!("arn:aws:ecs:r:1:task-definition/demo-s0:{number}");
                Ok(json!({ "serviceRevisions": [{ "taskDefinition": definition }] }))
            }
            "DescribeServiceDeployments" => Ok(json!({ "serviceDeployments": [{
                "serviceDeploymentArn": "deployment/3",
                "status": "ROLLBACK_REQUESTED",
                "statusReason": "of the status",
                "rollback": { "reason": "of the rollback" },
                "deploymentCircuitBreaker": {
                    "status": "TRIGGERED", "failureCount": 3, "threshold": 3
                },
                "alarms": { "status": "DISABLED", "triggeredAlarmNames": ["errors"] },
            }] })),
            asked => panic!("{asked}"),
        });
        Ecs::new(&config.await)
    }

    #[tokio::test]
    async fn the_newest_service_deployment_is_found_on_any_page() {
        let ecs = ecs_with_deployments().await;
        let (outputs, services) = outputs_of(1);
        let since = Timestamp::UNIX_EPOCH;
        let found = ecs.newest_service_deployment(&outputs, services[0], since);
        let newest = NewestDeployment {
            arn: "deployment/3".to_owned(),
            revision: "demo-s0:3".parse().unwrap(),
        };
        assert_eq!(found.await.unwrap(), Some(newest));
    }

    #[tokio::test]
    async fn a_service_deployment_says_why_it_goes_back() {
        let ecs = ecs_with_deployments().await;
        let found = ecs.describe_service_deployment("deployment/3").await;
        let expected = ServiceDeployment {
            arn: "deployment/3".to_owned(),
            status: DeploymentStatus::RollingBack,
            reason: "of the rollback".to_owned(),
            failures: 3,
            breaker_triggered: true,
            alarms: vec!["errors".to_owned()],
        };
        assert_eq!(found.unwrap(), Some(expected));
    }

    #[tokio::test]
    async fn one_call_asks_for_ten_services() {
        let calls = Arc::default();
        let ecs = ecs_without_one(&calls).await;
        let (outputs, mut services) = outputs_of(21);
        let error = ecs.describe_services(&outputs, &services).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "cluster demo-local has no service demo-s7");
        calls.lock().unwrap().clear();
        services.retain(|service| service.name() != "s7");
        let states = ecs.describe_services(&outputs, &services).await.unwrap();
        assert!(
            states
                .keys()
                .eq(&services.iter().copied().collect::<BTreeSet<_>>())
        );
        assert_eq!(*calls.lock().unwrap(), [10, 10]);
    }

    #[test]
    fn every_lost_key_is_an_error() {
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
