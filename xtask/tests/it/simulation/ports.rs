//! The ports of a simulated process: those of the stories, with faults in front of every call.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use xtask::catalog::{Component, Service};
use xtask::decide::artifact::image::Artifact;
use xtask::decide::artifact::types::{Digest, Key};
use xtask::decide::definition::Definition;
use xtask::decide::outputs::{Architecture, FunctionOutputs, Outputs};
use xtask::decide::release::deployment::{NewestDeployment, ServiceDeployment};
use xtask::decide::release::hold::Hold;
use xtask::decide::release::lock::Lock;
use xtask::decide::release::record::Record;
use xtask::decide::release::snapshot::{
    FunctionState, FunctionVersion, Registered, Revision, ServiceState, StoppedTask, TargetHealth,
};
use xtask::ports::{
    Balancer, Builder, Cluster, Commit, Functions, Infra, InfraPlan, Interrupt, Ledger, LogLine,
    Logs, Opening, Probe, ProbeAnswer, ProbeRequest, PublishedVersion, Registry, SecretStore,
    SecretVersion, ServiceUpdate, Source, WallClock,
};

use super::broken::BrokenEngine;
use super::faults::PortCall;
use super::process::SimulatedProcess;
use crate::model::Millis;
use crate::world::components::ORBIT;
use crate::world::short;

impl SimulatedProcess {
    /// What a look found, or what an engine that is broken believes.
    fn seen(&self, stale: Millis, found: &mut BTreeMap<Service, ServiceState>) {
        let now = self.sim.now();
        for (service, state) in found {
            self.believe(service.name(), stale, state);
            self.facts(|it| {
                it.last_look_at = now;
                it.looked.get_or_insert(now);
            });
        }
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
        outputs: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>> {
        let names: Vec<&str> = services.iter().map(|it| it.name()).collect();
        let (process, outputs, services) = (self.clone(), outputs.clone(), services.to_vec());
        self.call(PortCall::DescribeServices, &names.join(" "), move |aws| {
            Box::pin(async move {
                let mut found = aws.describe_services(&outputs, &services).await?;
                process.seen(aws.delivery.stale, &mut found);
                Ok(found)
            })
        })
        .await
    }

    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>> {
        let (call, about) = (PortCall::DescribeTaskDefinition, revision.to_string());
        let revision = revision.clone();
        self.call(call, &about, move |aws| {
            Box::pin(async move { aws.describe_task_definition(&revision).await })
        })
        .await
    }

    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision> {
        let (call, about) = (PortCall::RegisterTaskDefinition, definition.family());
        let (definition, content) = (definition.clone(), content.to_owned());
        self.call(call, about, move |aws| {
            Box::pin(async move { aws.register_task_definition(&definition, &content).await })
        })
        .await
    }

    async fn update_service(
        &self,
        outputs: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()> {
        let (outputs, mut update) = (outputs.clone(), update.clone());
        self.send(service.name(), &mut update);
        let revision = update.revision.as_ref().map(Revision::as_str);
        let about = format!("{service} {revision:?} {:?}", update.desired);
        self.call(PortCall::UpdateService, &about, move |aws| {
            Box::pin(async move { aws.update_service(&outputs, service, &update).await })
        })
        .await
    }

    async fn newest_service_deployment(
        &self,
        outputs: &Outputs,
        service: Service,
        since: Timestamp,
    ) -> Result<Option<NewestDeployment>> {
        let (call, outputs) = (PortCall::ListServiceDeployments, outputs.clone());
        self.call(call, service.name(), move |aws| {
            Box::pin(async move {
                aws.newest_service_deployment(&outputs, service, since)
                    .await
            })
        })
        .await
    }

    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>> {
        let (process, arn) = (self.clone(), arn.to_owned());
        let about = short(&arn).to_owned();
        self.call(PortCall::DescribeServiceDeployments, &about, move |aws| {
            Box::pin(async move {
                let found = aws.describe_service_deployment(&arn).await?;
                Ok(found.map(|it| process.believe_deployment(it)))
            })
        })
        .await
    }

    async fn stop_service_deployment(&self, arn: &str) -> Result<()> {
        let (call, arn) = (PortCall::StopServiceDeployment, arn.to_owned());
        let about = short(&arn).to_owned();
        self.call(call, &about, move |aws| {
            Box::pin(async move { aws.stop_service_deployment(&arn).await })
        })
        .await
    }

    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>> {
        let (call, of) = (PortCall::ListTaskDefinitions, family.to_owned());
        self.call(call, family, move |aws| {
            Box::pin(async move { aws.list_task_definitions(&of).await })
        })
        .await
    }

    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()> {
        let (call, about) = (PortCall::DeregisterTaskDefinition, revision.to_string());
        let revision = revision.clone();
        self.call(call, &about, move |aws| {
            Box::pin(async move { aws.deregister_task_definition(&revision).await })
        })
        .await
    }

    async fn stopped_tasks(
        &self,
        outputs: &Outputs,
        service: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>> {
        let (outputs, revision) = (outputs.clone(), revision.clone());
        let about = revision.to_string();
        self.call(PortCall::DescribeTasks, &about, move |aws| {
            Box::pin(async move { aws.stopped_tasks(&outputs, service, &revision).await })
        })
        .await
    }

    async fn task_health(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let outputs = outputs.clone();
        self.call(PortCall::DescribeTasks, service.name(), move |aws| {
            Box::pin(async move { aws.task_health(&outputs, service).await })
        })
        .await
    }

    /// For a rotation those that read their secrets, and say so in the log.
    async fn running_tasks(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>> {
        let (sim, outputs) = (self.sim.clone(), outputs.clone());
        self.call(PortCall::DescribeTasks, service.name(), move |aws| {
            Box::pin(async move {
                let readers = aws.running_tasks(&outputs, service).await?;
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
        outputs: &Outputs,
        service: Service,
    ) -> Result<Vec<TargetHealth>> {
        let outputs = outputs.clone();
        self.call(PortCall::DescribeTargetHealth, service.name(), move |aws| {
            Box::pin(async move { aws.describe_target_health(&outputs, service).await })
        })
        .await
    }
}

#[async_trait]
impl Probe for SimulatedProcess {
    async fn send(&self, request: ProbeRequest<'_>) -> Result<ProbeAnswer> {
        let named = request.headers.get("X-Service");
        let asked = named.map_or(ORBIT, |name| name.parse().unwrap());
        let call = if request.url.ends_with("/dispatch") {
            PortCall::Dispatch
        } else {
            PortCall::Probe
        };
        let (method, url) = (request.method.to_owned(), request.url.to_owned());
        let (headers, body) = (request.headers.clone(), request.body.to_owned());
        let process = self.clone();
        self.call(call, asked.name(), move |aws| {
            Box::pin(async move {
                let request = ProbeRequest {
                    method: &method,
                    url: &url,
                    headers: &headers,
                    body: &body,
                };
                let mut answer = aws.send(request).await?;
                if let Some(revision) = answer.headers.get_mut("x-task-revision") {
                    process.believe_revision(asked.name(), revision);
                }
                Ok(answer)
            })
        })
        .await
    }
}

#[async_trait]
impl Functions for SimulatedProcess {
    async fn get_alias(&self, function: &FunctionOutputs) -> Result<FunctionState> {
        let function = function.clone();
        self.call(PortCall::GetAlias, "", move |aws| {
            Box::pin(async move { aws.get_alias(&function).await })
        })
        .await
    }

    async fn publish_version(
        &self,
        function: &FunctionOutputs,
        zip: Vec<u8>,
        key: &Key,
    ) -> Result<PublishedVersion> {
        let function = function.clone();
        let key = key.clone();
        self.call(PortCall::PublishVersion, "", move |aws| {
            Box::pin(async move { aws.publish_version(&function, zip, &key).await })
        })
        .await
    }

    async fn list_versions_by_function(
        &self,
        function: &FunctionOutputs,
    ) -> Result<Vec<FunctionVersion>> {
        let function = function.clone();
        self.call(PortCall::ListVersions, "", move |aws| {
            Box::pin(async move { aws.list_versions_by_function(&function).await })
        })
        .await
    }

    async fn delete_function(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
    ) -> Result<()> {
        let (function, version) = (function.clone(), version.clone());
        let about = version.to_string();
        self.call(PortCall::DeleteVersion, &about, move |aws| {
            Box::pin(async move { aws.delete_function(&function, &version).await })
        })
        .await
    }

    async fn invoke(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        request: &Value,
    ) -> Result<Value> {
        let function = function.clone();
        let (version, request) = (version.clone(), request.clone());
        self.call(PortCall::Invoke, "", move |aws| {
            Box::pin(async move { aws.invoke(&function, &version, &request).await })
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
        self.call(PortCall::UpdateAlias, &about, move |aws| {
            Box::pin(async move {
                let moved = aws.update_alias(&function, &version, &revision_id);
                let moved = moved.await;
                sim.look_at_alias(Some(by), aws.delivery.late);
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
        let (outputs, key) = (outputs.clone(), key.clone());
        self.call(PortCall::FindImage, service.name(), move |aws| {
            Box::pin(async move { aws.digest(&outputs, service, &key).await })
        })
        .await
    }

    async fn has(&self, outputs: &Outputs, service: Service, digest: &Digest) -> Result<bool> {
        let (outputs, digest) = (outputs.clone(), digest.clone());
        self.call(PortCall::FindImage, service.name(), move |aws| {
            Box::pin(async move { aws.has(&outputs, service, &digest).await })
        })
        .await
    }

    async fn describe_images(&self, outputs: &Outputs, service: Service) -> Result<Vec<Digest>> {
        let outputs = outputs.clone();
        self.call(PortCall::DescribeImages, service.name(), move |aws| {
            Box::pin(async move { aws.describe_images(&outputs, service).await })
        })
        .await
    }

    async fn batch_delete_image(
        &self,
        outputs: &Outputs,
        service: Service,
        digests: &[Digest],
    ) -> Result<()> {
        let (outputs, digests) = (outputs.clone(), digests.to_vec());
        self.call(PortCall::DeleteImages, service.name(), move |aws| {
            Box::pin(async move { aws.batch_delete_image(&outputs, service, &digests).await })
        })
        .await
    }

    async fn push(&self, outputs: &Outputs, service: Service, artifact: &Artifact) -> Result<()> {
        let outputs = outputs.clone();
        let artifact = artifact.clone();
        let time = {
            let state = &mut *self.sim.state();
            let usual = state.chance.between(500, 60_000);
            state.push_time.unwrap_or(usual)
        };
        tokio::time::sleep(Duration::from_millis(time)).await;
        self.call(PortCall::Push, service.name(), move |aws| {
            Box::pin(async move { aws.push(&outputs, service, &artifact).await })
        })
        .await
    }
}

#[async_trait]
impl Logs for SimulatedProcess {
    async fn tail(&self, group: &str, stream: &str, lines: i32) -> Result<Vec<String>> {
        let (group, stream) = (group.to_owned(), stream.to_owned());
        self.call(PortCall::ReadLog, "", move |aws| {
            Box::pin(async move { aws.tail(&group, &stream, lines).await })
        })
        .await
    }

    async fn since(&self, _: &str, _: Timestamp) -> Result<Vec<LogLine>> {
        Ok(Vec::new())
    }

    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>> {
        let (group, text) = (group.to_owned(), text.to_owned());
        self.call(PortCall::ReadLog, "", move |aws| {
            Box::pin(async move { aws.mentions(&group, from, &text).await })
        })
        .await
    }
}

#[async_trait]
impl SecretStore for SimulatedProcess {
    async fn has_value(&self, arn: &str) -> Result<bool> {
        let arn = arn.to_owned();
        self.call(PortCall::ReadSecret, "", move |aws| {
            Box::pin(async move { aws.has_value(&arn).await })
        })
        .await
    }

    async fn get_secret_value(&self, arn: &str) -> Result<Option<SecretVersion>> {
        let arn = arn.to_owned();
        self.call(PortCall::ReadSecret, "", move |aws| {
            Box::pin(async move { aws.get_secret_value(&arn).await })
        })
        .await
    }

    async fn put_secret_value(&self, arn: &str, document: &Value) -> Result<()> {
        self.sim.stores.put_secret_value(arn, document).await
    }

    async fn replace(&self, arn: &str, version: &str, document: &Value) -> Result<bool> {
        let (sim, by, arn) = (self.sim.clone(), self.id, arn.to_owned());
        let (version, document) = (version.to_owned(), document.clone());
        self.call(PortCall::ReplaceSecret, "", move |aws| {
            Box::pin(async move {
                let replaced = aws.replace(&arn, &version, &document).await?;
                let now = sim.now();
                if replaced {
                    sim.state().replaced.push((now, by, aws.delivery.late));
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
        self.call(PortCall::ReadRecord, "newest", move |aws| {
            Box::pin(async move { aws.newest().await })
        })
        .await
    }

    async fn read(&self, number: u64) -> Result<Option<Record>> {
        self.call(PortCall::ReadRecord, &number.to_string(), move |aws| {
            Box::pin(async move { Ledger::read(&aws, number).await })
        })
        .await
    }

    async fn records(&self) -> Result<Vec<Record>> {
        self.call(PortCall::ReadRecord, "all", move |aws| {
            Box::pin(async move { aws.records().await })
        })
        .await
    }

    async fn remove(&self, token: &str, numbers: &[u64]) -> Result<bool> {
        let (process, token, numbers) = (self.clone(), token.to_owned(), numbers.to_vec());
        let about = format!("{numbers:?}");
        let unguarded = self.broken == Some(BrokenEngine::NoGuard);
        self.call(PortCall::RemoveRecords, &about, move |aws| {
            Box::pin(async move {
                let ours = aws.remove(&token, &numbers).await?;
                process.facts(|it| it.lost_lock |= !ours);
                Ok(ours || unguarded)
            })
        })
        .await
    }

    async fn lock(&self) -> Result<Option<Lock>> {
        self.call(PortCall::ReadLock, "", move |aws| {
            Box::pin(async move { Ledger::lock(&aws).await })
        })
        .await
    }

    async fn open(&self, opening: &Opening<'_>) -> Result<bool> {
        let (process, record) = (self.clone(), opening.record.clone());
        let (over, abandoned) = (opening.over.cloned(), opening.abandoned.cloned());
        let sent = self.sim.now();
        let about = format!("{} {:?}", record.number, record.kind);
        self.call(PortCall::Open, &about, move |aws| {
            Box::pin(async move {
                let opening = Opening {
                    record: &record,
                    over: over.as_ref(),
                    abandoned: abandoned.as_ref(),
                };
                let opened = aws.open(&opening).await?;
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
        self.call(PortCall::Beat, "", move |aws| {
            Box::pin(async move {
                let ours = aws.beat(&token, beat).await?;
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
        self.call(PortCall::Write, &about, move |aws| {
            Box::pin(async move {
                let ours = aws.write(&record).await?;
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
        self.call(PortCall::Close, &about, move |aws| {
            Box::pin(async move {
                let token = aws.state().lock.as_ref().map(|it| it.token.clone());
                if let Some(token) = token.filter(|it| careless && *it != record.token) {
                    process.facts(|it| it.closed_of_others = true);
                    record.token = token;
                }
                aws.close(&record, hold.as_ref()).await
            })
        })
        .await
    }

    async fn hold(&self) -> Result<Option<Hold>> {
        self.call(PortCall::ReadHold, "", move |aws| {
            Box::pin(async move { Ledger::hold(&aws).await })
        })
        .await
    }

    async fn set_hold(&self, hold: &Hold) -> Result<bool> {
        let hold = hold.clone();
        self.call(PortCall::SetHold, "", move |aws| {
            Box::pin(async move { aws.set_hold(&hold).await })
        })
        .await
    }

    async fn lift_hold(&self) -> Result<Option<Hold>> {
        self.call(PortCall::LiftHold, "", move |aws| {
            Box::pin(async move { aws.lift_hold().await })
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
        self.call(PortCall::ReadOutputs, "", move |aws| {
            Box::pin(async move { Infra::outputs(&aws).await })
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
        WallClock::now(&self.sim.stores)
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
