//! The ports of a simulated process: ECS and the load balancer are the model's, the rest are the
//! stories' fakes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use xtask::catalog::{Component, Service};
use xtask::decide::artifact::image::Artifact;
use xtask::decide::artifact::types::{Digest, Key};
use xtask::decide::definition::Definition;
use xtask::decide::outputs::{Architecture, FunctionOutputs, Outputs};
use xtask::decide::release::deployment::{DeploymentStatus, NewestDeployment, ServiceDeployment};
use xtask::decide::release::hold::Hold;
use xtask::decide::release::lock::Lock;
use xtask::decide::release::record::Record;
use xtask::decide::release::snapshot::{
    Alarms, Deployment, FunctionState, FunctionVersion, Registered, Revision, RolloutState,
    ServiceEvent, ServiceState, StoppedContainer, StoppedTask, TargetHealth,
};
use xtask::ports::{
    Balancer, Builder, Cluster, Commit, Functions, Infra, InfraPlan, Interrupt, Ledger, LogLine,
    Logs, Opening, Probe, ProbeAnswer, ProbeRequest, PublishedVersion, Registry, SecretStore,
    SecretVersion, ServiceUpdate, Source, WallClock,
};

use super::broken::BrokenEngine;
use super::faults::PortCall;
use super::process::{How, SimulatedProcess};
use crate::model::{
    AlarmSettings, EcsCall, EcsRefusal, RolloutStatus, ServiceAnswer, ServiceDeploymentAnswer,
    ServiceDeploymentStatus, TaskAnswer, UpdateCall,
};
use crate::world::components::{ORBIT, SERVICES};

fn refusal(refused: &EcsRefusal) -> anyhow::Error {
    anyhow!("InvalidParameterException: {}", refused.0)
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

fn short(arn: &str) -> &str {
    arn.split_once("/demo/").map_or(arn, |(_, it)| it)
}

fn service_of(arn: &str) -> &str {
    short(arn).split('/').next().unwrap_or_default()
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

impl SimulatedProcess {
    /// A call that changes ECS. Its answer is that of `register`.
    async fn ecs(&self, call: PortCall, about: &str, change: EcsCall) -> Result<Option<String>> {
        let (sim, by) = (self.sim.clone(), self.actor());
        self.call(call, about, move |how: How| {
            Box::pin(async move {
                let answer = sim.state().model.call(by, how.late, &change);
                answer.map_err(|refused| refusal(&refused))
            })
        })
        .await
    }

    /// What a look finds, or an engine that is broken believes.
    fn looks(&self, services: &[Service], stale: u64) -> Result<BTreeMap<Service, ServiceState>> {
        let mut found = BTreeMap::new();
        for service in services {
            let name = service.name();
            let answer = self.sim.state().model.describe_service(name, stale);
            let mut answer = answer.with_context(|| format!("no service {name}"))?;
            self.believe(name, stale, &mut answer);
            let now = self.sim.now();
            self.facts(|it| {
                it.last_look_at = now;
                it.looked.get_or_insert(now);
            });
            found.insert(*service, state_of(&answer)?);
        }
        Ok(found)
    }

    /// Nothing goes wrong with a call to the ledger that the judge has to know of.
    fn confirm(&self, sent: u64) {
        let now = self.sim.now();
        self.facts(|it| it.confirmed.push((now, sent)));
    }
}

#[async_trait]
impl Cluster for SimulatedProcess {
    async fn describe_services(
        &self,
        _: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>> {
        let names: Vec<&str> = services.iter().map(|it| it.name()).collect();
        let (process, services) = (self.clone(), services.to_vec());
        self.call(PortCall::DescribeServices, &names.join(" "), move |how| {
            Box::pin(async move { process.looks(&services, how.stale) })
        })
        .await
    }

    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>> {
        let (sim, name) = (self.sim.clone(), revision.to_string());
        self.call(
            PortCall::DescribeTaskDefinition,
            revision.as_str(),
            move |how| {
                Box::pin(async move {
                    let model = &sim.state().model;
                    let known = model.revision(&name);
                    // One that was registered a moment ago may not be there yet.
                    let there =
                        known.filter(|it| how.stale == 0 || it.registered + how.stale < model.now);
                    Ok(there.map(|known| {
                        let mut body = known.body.clone();
                        body["revision"] = json!(1);
                        body["status"] = json!(if known.active { "ACTIVE" } else { "INACTIVE" });
                        Registered {
                            definition: Definition(body),
                            active: known.active,
                            sha256: known.tag.clone(),
                        }
                    }))
                })
            },
        )
        .await
    }

    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision> {
        let change = EcsCall::Register {
            body: definition.0.clone(),
            tag: Some(content.to_owned()),
            script: None,
        };
        let family = definition.family();
        let registered = self
            .ecs(PortCall::RegisterTaskDefinition, family, change)
            .await?;
        Ok(registered.unwrap_or_default().parse()?)
    }

    async fn update_service(
        &self,
        _: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let mut call = UpdateCall {
            service: service.name().to_owned(),
            revision: update.revision.as_ref().map(ToString::to_string),
            desired: update.desired.map(i32::cast_unsigned),
            alarms: update.alarms.as_ref().map(|it| AlarmSettings {
                names: it.names.clone(),
                enabled: it.enabled,
                rollback: it.rollback,
            }),
        };
        self.send(&mut call);
        let about = format!("{service} {:?} {:?}", call.revision, call.desired);
        let changed = self.ecs(PortCall::UpdateService, &about, EcsCall::Update(call));
        changed.await.map(drop)
    }

    async fn newest_service_deployment(
        &self,
        _: &Outputs,
        service: Service,
        _: Timestamp,
    ) -> Result<Option<NewestDeployment>> {
        let sim = self.sim.clone();
        self.call(
            PortCall::ListServiceDeployments,
            service.name(),
            move |_| {
                Box::pin(async move {
                    let state = sim.state();
                    let newest = state.model.service_deployments(service.name()).last();
                    let newest = newest.map(|it| {
                        Ok(NewestDeployment {
                            arn: it.arn.clone(),
                            revision: it.target.parse()?,
                        })
                    });
                    newest.transpose()
                })
            },
        )
        .await
    }

    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>> {
        let (process, arn) = (self.clone(), arn.to_owned());
        let about = short(&arn).to_owned();
        self.call(PortCall::DescribeServiceDeployments, &about, move |_| {
            Box::pin(async move {
                let state = process.sim.state();
                let service = service_of(&arn);
                let mut known = state.model.service_deployments(service).iter();
                let found = known.find(|it| it.arn == arn).map(described);
                let answer = state.model.answer_now(service);
                drop(state);
                Ok(found.map(|it| process.believe_deployment(service, &answer, it)))
            })
        })
        .await
    }

    async fn stop_service_deployment(&self, arn: &str) -> Result<()> {
        let change = EcsCall::StopServiceDeployment {
            arn: arn.to_owned(),
        };
        let call = PortCall::StopServiceDeployment;
        self.ecs(call, short(arn), change).await.map(drop)
    }

    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>> {
        let active = self.sim.state().model.active_revisions(family);
        active.iter().map(|name| Ok(name.parse()?)).collect()
    }

    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()> {
        let change = EcsCall::Deregister(revision.to_string());
        let call = PortCall::DeregisterTaskDefinition;
        self.ecs(call, revision.as_str(), change).await.map(drop)
    }

    async fn stopped_tasks(
        &self,
        _: &Outputs,
        service: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>> {
        let (sim, name) = (self.sim.clone(), revision.to_string());
        self.call(PortCall::DescribeTasks, revision.as_str(), move |_| {
            Box::pin(async move {
                let tasks = sim.state().model.stopped_tasks(service.name(), &name);
                Ok(tasks
                    .into_iter()
                    .map(|task| stopped(task, service))
                    .collect())
            })
        })
        .await
    }

    async fn task_health(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let targets = self.describe_target_health(outputs, service).await?;
        let healthy = targets.into_iter().map(|it| it.state == "healthy");
        let words = healthy.map(|it| if it { "HEALTHY" } else { "UNHEALTHY" });
        Ok(words.map(str::to_owned).collect())
    }

    /// For a rotation those that read their secrets, and say so in the log.
    async fn running_tasks(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let (sim, outputs) = (self.sim.clone(), outputs.clone());
        self.call(PortCall::DescribeTasks, service.name(), move |_| {
            Box::pin(async move {
                let readers = sim.stores.running_tasks(&outputs, service).await?;
                if !readers.is_empty() {
                    return Ok(readers);
                }
                let tasks = sim.state().model.tasks(service.name());
                Ok(tasks.into_iter().map(|it| it.id).collect())
            })
        })
        .await
    }
}

#[async_trait]
impl Balancer for SimulatedProcess {
    async fn describe_target_health(
        &self,
        _: &Outputs,
        service: Service,
    ) -> Result<Vec<TargetHealth>> {
        let sim = self.sim.clone();
        self.call(PortCall::DescribeTargetHealth, service.name(), move |_| {
            Box::pin(async move {
                let targets = sim.state().model.target_health(service.name());
                let shown = targets.into_iter().map(|target| TargetHealth {
                    state: target.state.to_owned(),
                    reason: target.reason.map(str::to_owned),
                });
                Ok(shown.collect())
            })
        })
        .await
    }
}

impl SimulatedProcess {
    fn ask(&self, service: Service) -> Option<String> {
        let state = &mut *self.sim.state();
        state.model.request(service.name(), &mut state.chance)
    }

    fn answer(&self, dispatch: bool, asked: Service, id: Option<String>) -> ProbeAnswer {
        let mut headers = BTreeMap::new();
        let answered = if dispatch {
            headers.extend(id.map(|id| ("x-correlation-id".to_owned(), id)));
            let mut services = SERVICES.iter();
            services.all(|service| self.ask(*service).is_some())
        } else {
            let revision = self.ask(asked);
            let revision = revision.map(|it| self.believe_revision(asked.name(), it));
            let there = revision.is_some();
            headers.extend(revision.map(|it| ("x-task-revision".to_owned(), it)));
            there
        };
        ProbeAnswer {
            status: if answered { 200 } else { 503 },
            headers,
            body: json!({ "status": "success" }).to_string(),
        }
    }
}

#[async_trait]
impl Probe for SimulatedProcess {
    async fn send(&self, request: ProbeRequest<'_>) -> Result<ProbeAnswer> {
        let dispatch = request.url.ends_with("/dispatch");
        let named = request.headers.get("X-Service");
        let asked = named.map_or(ORBIT, |name| name.parse().unwrap());
        let id = request.headers.get("X-Correlation-ID").cloned();
        let call = if dispatch {
            PortCall::Dispatch
        } else {
            PortCall::Probe
        };
        let process = self.clone();
        self.call(call, asked.name(), move |_| {
            Box::pin(async move { Ok(process.answer(dispatch, asked, id)) })
        })
        .await
    }
}

#[async_trait]
impl Functions for SimulatedProcess {
    async fn get_alias(&self, function: &FunctionOutputs) -> Result<FunctionState> {
        let (stores, function) = (self.sim.stores.clone(), function.clone());
        self.call(PortCall::GetAlias, "", move |_| {
            Box::pin(async move { stores.get_alias(&function).await })
        })
        .await
    }

    async fn publish_version(
        &self,
        function: &FunctionOutputs,
        zip: Vec<u8>,
        key: &Key,
    ) -> Result<PublishedVersion> {
        let (stores, function) = (self.sim.stores.clone(), function.clone());
        let key = key.clone();
        self.call(PortCall::PublishVersion, "", move |_| {
            Box::pin(async move { stores.publish_version(&function, zip, &key).await })
        })
        .await
    }

    async fn list_versions_by_function(
        &self,
        function: &FunctionOutputs,
    ) -> Result<Vec<FunctionVersion>> {
        self.sim.stores.list_versions_by_function(function).await
    }

    async fn delete_function(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
    ) -> Result<()> {
        self.sim.stores.delete_function(function, version).await
    }

    async fn invoke(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        request: &Value,
    ) -> Result<Value> {
        let (stores, function) = (self.sim.stores.clone(), function.clone());
        let (version, request) = (version.clone(), request.clone());
        self.call(PortCall::Invoke, "", move |_| {
            Box::pin(async move { stores.invoke(&function, &version, &request).await })
        })
        .await
    }

    async fn update_alias(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        revision_id: &str,
    ) -> Result<()> {
        let (sim, function, by) = (self.sim.clone(), function.clone(), self.id);
        let (version, revision_id) = (version.clone(), revision_id.to_owned());
        let about = version.to_string();
        self.call(PortCall::UpdateAlias, &about, move |how| {
            Box::pin(async move {
                let moved = sim.stores.update_alias(&function, &version, &revision_id);
                let moved = moved.await;
                sim.look_at_alias(Some(by), how.late);
                moved
            })
        })
        .await
    }
}

#[async_trait]
impl Registry for SimulatedProcess {
    async fn digest(
        &self,
        outputs: &Outputs,
        service: Service,
        key: &Key,
    ) -> Result<Option<Digest>> {
        let (stores, outputs, key) = (self.sim.stores.clone(), outputs.clone(), key.clone());
        self.call(PortCall::FindImage, service.name(), move |_| {
            Box::pin(async move { stores.digest(&outputs, service, &key).await })
        })
        .await
    }

    async fn has(&self, outputs: &Outputs, service: Service, digest: &Digest) -> Result<bool> {
        let (stores, outputs, digest) = (self.sim.stores.clone(), outputs.clone(), digest.clone());
        self.call(PortCall::FindImage, service.name(), move |_| {
            Box::pin(async move { stores.has(&outputs, service, &digest).await })
        })
        .await
    }

    async fn describe_images(&self, outputs: &Outputs, service: Service) -> Result<Vec<Digest>> {
        self.sim.stores.describe_images(outputs, service).await
    }

    async fn batch_delete_image(
        &self,
        outputs: &Outputs,
        service: Service,
        digests: &[Digest],
    ) -> Result<()> {
        let stores = &self.sim.stores;
        stores.batch_delete_image(outputs, service, digests).await
    }

    async fn push(&self, outputs: &Outputs, service: Service, artifact: &Artifact) -> Result<()> {
        let (stores, outputs) = (self.sim.stores.clone(), outputs.clone());
        let artifact = artifact.clone();
        let time = {
            let state = &mut *self.sim.state();
            let usual = state.chance.between(500, 60_000);
            state.push_time.unwrap_or(usual)
        };
        tokio::time::sleep(Duration::from_millis(time)).await;
        self.call(PortCall::Push, service.name(), move |_| {
            Box::pin(async move { stores.push(&outputs, service, &artifact).await })
        })
        .await
    }
}

#[async_trait]
impl Logs for SimulatedProcess {
    async fn tail(&self, group: &str, stream: &str, lines: i32) -> Result<Vec<String>> {
        let (stores, group, stream) =
            (self.sim.stores.clone(), group.to_owned(), stream.to_owned());
        self.call(PortCall::ReadLog, "", move |_| {
            Box::pin(async move { stores.tail(&group, &stream, lines).await })
        })
        .await
    }

    async fn since(&self, _: &str, _: Timestamp) -> Result<Vec<LogLine>> {
        Ok(Vec::new())
    }

    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>> {
        let stores = self.sim.stores.clone();
        let (group, text) = (group.to_owned(), text.to_owned());
        self.call(PortCall::ReadLog, "", move |_| {
            Box::pin(async move { stores.mentions(&group, from, &text).await })
        })
        .await
    }
}

#[async_trait]
impl SecretStore for SimulatedProcess {
    async fn has_value(&self, arn: &str) -> Result<bool> {
        let (stores, arn) = (self.sim.stores.clone(), arn.to_owned());
        self.call(PortCall::ReadSecret, "", move |_| {
            Box::pin(async move { stores.has_value(&arn).await })
        })
        .await
    }

    async fn get_secret_value(&self, arn: &str) -> Result<Option<SecretVersion>> {
        let (stores, arn) = (self.sim.stores.clone(), arn.to_owned());
        self.call(PortCall::ReadSecret, "", move |_| {
            Box::pin(async move { stores.get_secret_value(&arn).await })
        })
        .await
    }

    async fn put_secret_value(&self, arn: &str, document: &Value) -> Result<()> {
        self.sim.stores.put_secret_value(arn, document).await
    }

    async fn replace(&self, arn: &str, version: &str, document: &Value) -> Result<bool> {
        let (sim, by, arn) = (self.sim.clone(), self.id, arn.to_owned());
        let (version, document) = (version.to_owned(), document.clone());
        self.call(PortCall::ReplaceSecret, "", move |how| {
            Box::pin(async move {
                let replaced = sim.stores.replace(&arn, &version, &document).await?;
                let now = sim.now();
                if replaced {
                    sim.state().replaced.push((now, by, how.late));
                }
                Ok(replaced)
            })
        })
        .await
    }
}

#[async_trait]
impl Ledger for SimulatedProcess {
    async fn newest(&self) -> Result<Option<Record>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::ReadRecord, "newest", move |_| {
            Box::pin(async move { stores.newest().await })
        })
        .await
    }

    async fn read(&self, number: u64) -> Result<Option<Record>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::ReadRecord, &number.to_string(), move |_| {
            Box::pin(async move { Ledger::read(&stores, number).await })
        })
        .await
    }

    async fn records(&self) -> Result<Vec<Record>> {
        self.sim.stores.records().await
    }

    async fn remove(&self, token: &str, numbers: &[u64]) -> Result<bool> {
        self.sim.stores.remove(token, numbers).await
    }

    async fn lock(&self) -> Result<Option<Lock>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::ReadLock, "", move |_| {
            Box::pin(async move { Ledger::lock(&stores).await })
        })
        .await
    }

    async fn open(&self, opening: &Opening<'_>) -> Result<bool> {
        let (process, record) = (self.clone(), opening.record.clone());
        let (over, abandoned) = (opening.over.cloned(), opening.abandoned.cloned());
        let sent = self.sim.now();
        let about = format!("{} {:?}", record.number, record.kind);
        self.call(PortCall::Open, &about, move |_| {
            Box::pin(async move {
                let opening = Opening {
                    record: &record,
                    over: over.as_ref(),
                    abandoned: abandoned.as_ref(),
                };
                let opened = process.sim.stores.open(&opening).await?;
                if opened {
                    let now = process.sim.now();
                    let before = process.sim.truth_now();
                    process.facts(|it| {
                        it.opened = Some((record.number, now));
                        it.before = Some(before);
                    });
                    process.confirm(sent);
                }
                Ok(opened)
            })
        })
        .await
    }

    async fn beat(&self, token: &str, beat: u64) -> Result<bool> {
        let looked = self.facts(|it| it.last_look_at);
        let follows = self.sim.now() - looked < 3_000;
        if self.broken == Some(BrokenEngine::BeatOnlyWhileFollowing) && !follows {
            return Ok(true);
        }
        let (process, token, sent) = (self.clone(), token.to_owned(), self.sim.now());
        let unguarded = self.broken == Some(BrokenEngine::NoGuard);
        self.call(PortCall::Beat, "", move |_| {
            Box::pin(async move {
                let ours = process.sim.stores.beat(&token, beat).await?;
                if ours {
                    process.confirm(sent);
                } else {
                    process.facts(|it| it.lost_lock = true);
                }
                Ok(ours || unguarded)
            })
        })
        .await
    }

    async fn write(&self, record: &Record) -> Result<bool> {
        let (process, record) = (self.clone(), record.clone());
        let unguarded = self.broken == Some(BrokenEngine::NoGuard);
        let about = format!("{} {}", record.number, record.state.text());
        self.call(PortCall::Write, &about, move |_| {
            Box::pin(async move {
                let ours = process.sim.stores.write(&record).await?;
                process.facts(|it| it.lost_lock |= !ours);
                Ok(ours || unguarded)
            })
        })
        .await
    }

    async fn close(&self, record: &Record, hold: Option<&Hold>) -> Result<bool> {
        let (process, mut record) = (self.clone(), record.clone());
        let hold = hold.cloned();
        let about = format!("{} {}", record.number, record.state.text());
        let careless = self.broken == Some(BrokenEngine::CloseWithoutToken);
        self.call(PortCall::Close, &about, move |_| {
            Box::pin(async move {
                let stores = &process.sim.stores;
                let token = stores.state().lock.as_ref().map(|it| it.token.clone());
                if let Some(token) = token.filter(|it| careless && *it != record.token) {
                    process.facts(|it| it.closed_of_others = true);
                    record.token = token;
                }
                stores.close(&record, hold.as_ref()).await
            })
        })
        .await
    }

    async fn hold(&self) -> Result<Option<Hold>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::ReadHold, "", move |_| {
            Box::pin(async move { Ledger::hold(&stores).await })
        })
        .await
    }

    async fn set_hold(&self, hold: &Hold) -> Result<bool> {
        let (stores, hold) = (self.sim.stores.clone(), hold.clone());
        self.call(PortCall::SetHold, "", move |_| {
            Box::pin(async move { stores.set_hold(&hold).await })
        })
        .await
    }

    async fn lift_hold(&self) -> Result<Option<Hold>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::LiftHold, "", move |_| {
            Box::pin(async move { stores.lift_hold().await })
        })
        .await
    }
}

#[async_trait]
impl Infra for SimulatedProcess {
    async fn desired_sha256(&self, released: &[Service]) -> Result<String> {
        self.sim.stores.desired_sha256(released).await
    }

    async fn outputs(&self) -> Result<Option<String>> {
        let stores = self.sim.stores.clone();
        self.call(PortCall::ReadOutputs, "", move |_| {
            Box::pin(async move { Infra::outputs(&stores).await })
        })
        .await
    }

    async fn plan(&self, released: &[Service]) -> Result<Box<dyn InfraPlan + '_>> {
        Infra::plan(&self.sim.stores, released).await
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Source for SimulatedProcess {
    async fn read(&self, path: &str) -> Result<String> {
        Source::read(&self.checkout, path).await
    }

    async fn services_sha256(&self) -> Result<String> {
        self.checkout.services_sha256().await
    }

    async fn commit(&self) -> Result<Option<Commit>> {
        self.checkout.commit().await
    }
}

#[async_trait]
impl Builder for SimulatedProcess {
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Component, Key>> {
        self.checkout.keys(architecture).await
    }

    async fn cached(&self, component: Component, key: &Key) -> Result<Option<Artifact>> {
        self.checkout.cached(component, key).await
    }

    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Component, Key>,
    ) -> Result<BTreeMap<Component, Artifact>> {
        let (checkout, keys) = (self.checkout.clone(), keys.clone());
        self.call(PortCall::Build, "", move |_| {
            Box::pin(async move { checkout.build(architecture, &keys).await })
        })
        .await
    }

    async fn bytes(&self, artifact: &Artifact) -> Result<Vec<u8>> {
        self.checkout.bytes(artifact).await
    }

    async fn bundle(&self, _: &BTreeMap<Component, Artifact>, _: &Path) -> Result<()> {
        Ok(())
    }
}

impl WallClock for SimulatedProcess {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::from_millis(self.sim.now().cast_signed());
        Timestamp::from_second(1_800_000_000).unwrap() + elapsed
    }

    fn since_boot(&self) -> Duration {
        let opened = self.facts(|it| it.opened.map(|(_, at)| at));
        let unguarded = self.broken == Some(BrokenEngine::NoGuard);
        let now = opened.filter(|_| unguarded);
        Duration::from_millis(now.unwrap_or_else(|| self.sim.now()))
    }
}

#[async_trait]
impl Interrupt for SimulatedProcess {
    async fn wait(&self) {
        self.interrupted.notified().await;
    }
}
