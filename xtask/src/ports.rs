//! The traits by which commands and the release engine reach the outside, and `Context`, which
//! bundles them. A trait exists where a story's test has a fake for it, and nowhere else. Methods
//! that make one call of AWS have that call's name.

mod machine;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::catalog::{Catalog, Component, Service};
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::definition::Definition;
use crate::decide::environment::Environment;
use crate::decide::outputs::{Architecture, FunctionOutputs, Outputs};
use crate::decide::release::deployment::{NewestDeployment, ServiceDeployment};
use crate::decide::release::hold::Hold;
use crate::decide::release::lock::Lock;
use crate::decide::release::record::Record;
use crate::decide::release::snapshot::{
    Alarms, FunctionState, FunctionVersion, Registered, Revision, ServiceState, StoppedTask,
    TargetHealth,
};
use crate::report::Report;

pub use machine::{
    AdmissionCounts, CargoRun, CargoTool, Containers, Depth, LineWatcher, Load, Machine,
    ReleaseByHand, RunningContainer, Started, Stopwatch, Subject, Suites, Toolchain, Workflows,
};

/// One environment, and everything that acts on it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalog: &'a Catalog,
    pub environment: &'a Environment,
    pub architecture: Architecture,
    pub source: &'a dyn Source,
    pub builder: &'a dyn Builder,
    pub infra: &'a dyn Infra,
    pub registry: &'a dyn Registry,
    pub cluster: &'a dyn Cluster,
    pub balancer: &'a dyn Balancer,
    pub functions: &'a dyn Functions,
    pub secrets: &'a dyn SecretStore,
    pub logs: &'a dyn Logs,
    pub ledger: &'a dyn Ledger,
    pub probe: &'a dyn Probe,
    pub clock: &'a dyn WallClock,
    pub interrupt: &'a dyn Interrupt,
    pub report: &'a Report,
    pub user: &'a User,
    /// When the credentials end; `None` where it is not known, or they renew themselves.
    pub credentials_end: Option<Timestamp>,
    pub if_locked: IfLocked,
}

/// What a command does where another run holds the lock.
#[derive(Debug, Clone, Copy, Default)]
pub struct IfLocked {
    /// How long it waits for a holder that lives.
    pub wait: Duration,
    /// Takes the lock of a holder that lives.
    pub take_over: bool,
}

/// Who runs the command, and where: what a record says of its holder.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub host: String,
}

/// The checkout.
#[async_trait]
pub trait Source: Send + Sync {
    /// The text of a file below the root.
    async fn read(&self, path: &str) -> Result<String>;
    /// Hash of the sources of all services and functions.
    async fn services_sha256(&self) -> Result<String>;
    /// The checked-out commit, and whether there are changes on top of it.
    async fn commit(&self) -> Result<Option<Commit>>;
}

/// The checkout, where a command writes into it. Files are not async: what was written is removed
/// even where Ctrl-C ends the command.
#[async_trait]
pub trait WritableSource: Send + Sync {
    /// The text of a file below the root, byte by byte.
    fn text(&self, path: &str) -> Result<String>;
    fn exists(&self, path: &str) -> bool;
    /// Writes a file; its folder is created where there is none.
    fn write(&self, path: &str, text: &str) -> Result<()>;
    /// Removes a file, or a folder with all that is in it. One that is missing is no error.
    fn remove(&self, path: &str) -> Result<()>;
    /// Brings `Cargo.lock` up to date with the members. Needs no network.
    async fn update_lock_file(&self) -> Result<()>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    pub dirty: bool,
}

/// The environment's infrastructure, as Terraform knows it.
#[async_trait]
pub trait Infra: Send + Sync {
    /// Hash of `infra/`, of what it takes from the catalog, and of the variables that it is applied
    /// with. `released`: the services that may be scaled.
    async fn desired_sha256(&self, released: &[Service]) -> Result<String>;
    /// The outputs as they were published; `None` where nothing was applied yet.
    async fn outputs(&self) -> Result<Option<String>>;
    /// What an apply would change. Holds Terraform's state lock until the answer is dropped.
    async fn plan(&self, released: &[Service]) -> Result<Box<dyn InfraPlan + '_>>;
    /// Whether `infra/` is well formatted, valid, as its tests want it, and safe. Needs no AWS.
    async fn check(&self) -> Result<()>;
}

/// What was planned for `infra/`: it is confirmed, and then it and nothing else is applied.
#[async_trait]
pub trait InfraPlan: Send + Sync {
    /// For people.
    fn summary(&self) -> &str;
    /// The components that would not run any more.
    fn destroyed(&self) -> Vec<String>;
    async fn apply(self: Box<Self>) -> Result<()>;
}

/// Makes artifacts of the checkout's sources.
#[async_trait]
pub trait Builder: Send + Sync {
    /// The key of every component, for the architecture.
    async fn keys(&self, architecture: Architecture) -> Result<BTreeMap<Component, Key>>;
    /// What was built for this key before, if it is still on this machine.
    async fn cached(&self, component: Component, key: &Key) -> Result<Option<Artifact>>;
    /// The artifacts for these keys, if all of them are cached.
    async fn all_cached(
        &self,
        keys: &BTreeMap<Component, Key>,
    ) -> Result<Option<BTreeMap<Component, Artifact>>> {
        let mut artifacts = BTreeMap::new();
        for (component, key) in keys {
            let Some(artifact) = self.cached(*component, key).await? else {
                return Ok(None);
            };
            artifacts.insert(*component, artifact);
        }
        Ok(Some(artifacts))
    }
    /// Packs the artifacts for these keys, and compiles those that are not cached.
    async fn build(
        &self,
        architecture: Architecture,
        keys: &BTreeMap<Component, Key>,
    ) -> Result<BTreeMap<Component, Artifact>>;
    /// The bytes of a packed artifact.
    async fn bytes(&self, artifact: &Artifact) -> Result<Vec<u8>>;
    /// Where artifacts are taken from a bundle: it has these components, of the checkout as it is.
    async fn require(&self, _architecture: Architecture, _components: &[Component]) -> Result<()> {
        Ok(())
    }
    /// Copies artifacts into a folder, from which they can be taken elsewhere.
    async fn bundle(&self, artifacts: &BTreeMap<Component, Artifact>, folder: &Path) -> Result<()>;
}

/// The image registry of the environment (ECR).
#[async_trait]
pub trait Registry: Send + Sync {
    /// The digest of the image that is tagged with this key.
    async fn digest(
        &self,
        outputs: &Outputs,
        service: Service,
        key: &Key,
    ) -> Result<Option<Digest>>;
    /// Whether the registry has an image of this digest.
    async fn has(&self, outputs: &Outputs, service: Service, digest: &Digest) -> Result<bool>;
    /// Every image that is tagged with a key. Others are not ours.
    async fn describe_images(&self, outputs: &Outputs, service: Service) -> Result<Vec<Digest>>;
    /// Removes images with all of their tags. One that is gone already is no error.
    async fn batch_delete_image(
        &self,
        outputs: &Outputs,
        service: Service,
        digests: &[Digest],
    ) -> Result<()>;
    /// Pushes a service's packed image by its digest and tags it with its key.
    async fn push(&self, outputs: &Outputs, service: Service, artifact: &Artifact) -> Result<()>;
}

/// The ECS cluster and its services.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// The state of each of these services. It is an error if one does not exist.
    async fn describe_services(
        &self,
        outputs: &Outputs,
        services: &[Service],
    ) -> Result<BTreeMap<Service, ServiceState>>;
    async fn describe_service(&self, outputs: &Outputs, service: Service) -> Result<ServiceState> {
        let mut states = self.describe_services(outputs, &[service]).await?;
        states
            .remove(&service)
            .with_context(|| format!("ECS does not describe {service}"))
    }
    /// What a revision consists of; `None` where there is no such revision.
    async fn describe_task_definition(&self, revision: &Revision) -> Result<Option<Registered>>;
    /// `content` becomes the revision's tag `definition-sha256`.
    async fn register_task_definition(
        &self,
        definition: &Definition,
        content: &str,
    ) -> Result<Revision>;
    async fn update_service(
        &self,
        outputs: &Outputs,
        service: Service,
        update: &ServiceUpdate,
    ) -> Result<()>;
    /// The newest service deployment that was created since then. `None`: ECS knows none.
    async fn newest_service_deployment(
        &self,
        outputs: &Outputs,
        service: Service,
        since: Timestamp,
    ) -> Result<Option<NewestDeployment>>;
    async fn describe_service_deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>>;
    /// Makes ECS go back to the last completed deployment.
    async fn stop_service_deployment(&self, arn: &str) -> Result<()>;
    /// The active revisions of a family.
    async fn list_task_definitions(&self, family: &str) -> Result<Vec<Revision>>;
    async fn deregister_task_definition(&self, revision: &Revision) -> Result<()>;
    /// The stopped tasks of a revision that ECS still remembers (about an hour), newest first.
    async fn stopped_tasks(
        &self,
        outputs: &Outputs,
        service: Service,
        revision: &Revision,
    ) -> Result<Vec<StoppedTask>>;
    /// `healthStatus` of each running task (`HEALTHY`, `UNHEALTHY`, `UNKNOWN`).
    async fn task_health(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>>;
    /// The ids of the tasks whose containers run, those that are being stopped included. Log
    /// streams are named by them.
    async fn running_tasks(&self, outputs: &Outputs, service: Service) -> Result<Vec<String>>;
}

/// What one call changes of a service; the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceUpdate {
    pub revision: Option<Revision>,
    /// Sent only where it must change.
    pub desired: Option<i32>,
    /// Without a revision they start no deployment.
    pub alarms: Option<Alarms>,
}

/// The load balancer.
#[async_trait]
pub trait Balancer: Send + Sync {
    /// The targets of a service.
    async fn describe_target_health(
        &self,
        outputs: &Outputs,
        service: Service,
    ) -> Result<Vec<TargetHealth>>;
}

/// Lambda.
#[async_trait]
pub trait Functions: Send + Sync {
    /// The version that the alias names.
    async fn get_alias(&self, function: &FunctionOutputs) -> Result<FunctionState>;
    /// Makes a version of this code, or finds the version that has it. The version's description
    /// is the key.
    async fn publish_version(
        &self,
        function: &FunctionOutputs,
        zip: Vec<u8>,
        key: &Key,
    ) -> Result<PublishedVersion>;
    /// The versions whose description is a key. Others are not ours.
    async fn list_versions_by_function(
        &self,
        function: &FunctionOutputs,
    ) -> Result<Vec<FunctionVersion>>;
    /// Removes one version. One that is gone already is no error.
    async fn delete_function(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
    ) -> Result<()>;
    /// Calls one version. An error that the function itself answers is an error here.
    async fn invoke(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        request: &Value,
    ) -> Result<Value>;
    /// Moves the alias, if it has not been moved since `revision_id` was read.
    async fn update_alias(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        revision_id: &str,
    ) -> Result<()>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedVersion {
    pub version: FunctionVersion,
    /// Base64, as Lambda has it.
    pub code_sha256: String,
}

/// Secrets Manager.
#[async_trait]
pub trait SecretStore: Send + Sync {
    async fn has_value(&self, arn: &str) -> Result<bool>;
    /// The current version, or one that it has replaced a short while ago: reads are eventually
    /// consistent. `None` where there is none, or no text in it.
    async fn get_secret_value(&self, arn: &str) -> Result<Option<SecretVersion>>;
    async fn put_secret_value(&self, arn: &str, document: &Value) -> Result<()>;
    /// Makes the document the current version in the place of `version`; `false`, and nothing is
    /// changed, where that is not the current one any more.
    async fn replace(&self, arn: &str, version: &str, document: &Value) -> Result<bool>;
}

/// A secret's value at one time. It has no `Debug`: it is never shown.
#[derive(Clone)]
pub struct SecretVersion {
    /// Not secret: services log it.
    pub id: String,
    pub created: Timestamp,
    pub document: Value,
}

/// CloudWatch Logs.
#[async_trait]
pub trait Logs: Send + Sync {
    /// The last lines of one stream, oldest first; empty where there is no such stream.
    async fn tail(&self, group: &str, stream: &str, lines: i32) -> Result<Vec<String>>;
    /// The lines of a group from a time on, oldest first.
    async fn since(&self, group: &str, from: Timestamp) -> Result<Vec<LogLine>>;
    /// Of these, the ones in which a text stands that is one word.
    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub id: String,
    pub at: Timestamp,
    pub stream: String,
    pub text: String,
}

/// The ledger: numbered records, and the lock of the environment.
#[async_trait]
pub trait Ledger: Send + Sync {
    async fn newest(&self) -> Result<Option<Record>>;
    async fn read(&self, number: u64) -> Result<Option<Record>>;
    /// All records, newest first.
    async fn records(&self) -> Result<Vec<Record>>;
    /// Removes records; `false`, where the lock is not that of this token any more.
    async fn remove(&self, token: &str, numbers: &[u64]) -> Result<bool>;
    /// `None`: nobody holds it.
    async fn lock(&self) -> Result<Option<Lock>>;
    /// Takes the lock and creates a record, or neither: `false`, where another run was faster.
    async fn open(&self, opening: &Opening<'_>) -> Result<bool>;
    /// Raises the beat of the lock; `false`, where it is not ours any more. May be repeated.
    async fn beat(&self, token: &str, beat: u64) -> Result<bool>;
    /// Writes the record of the lock's holder; `false`, where the lock is not ours any more.
    async fn write(&self, record: &Record) -> Result<bool>;
    /// The same for the last time: the lock is free afterwards, and the environment held by this.
    async fn close(&self, record: &Record, hold: Option<&Hold>) -> Result<bool>;
    /// `None`: the environment takes releases.
    async fn hold(&self) -> Result<Option<Hold>>;
    /// `false`: it is held already.
    async fn set_hold(&self, hold: &Hold) -> Result<bool>;
    /// Removes the hold, and returns it.
    async fn lift_hold(&self) -> Result<Option<Hold>>;
}

/// What is written when a run takes the lock.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    pub record: &'a Record,
    /// The lock that is taken over, with the very beat that was seen. `None`: it is free.
    pub over: Option<&'a Lock>,
    /// The record that is abandoned by that.
    pub abandoned: Option<&'a Record>,
}

/// HTTP requests to what was deployed.
#[async_trait]
pub trait Probe: Send + Sync {
    /// An answer of any status is `Ok`; `Err` is no answer at all.
    async fn send(&self, request: ProbeRequest<'_>) -> Result<ProbeAnswer>;
}

#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: &'a str,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// The local AWS.
#[async_trait]
pub trait LocalAws: Send + Sync {
    fn endpoint(&self) -> String;
    /// Whether it answers, and is the one of this checkout.
    async fn is_up(&self) -> bool;
    async fn up(&self) -> Result<Began>;
    /// Stops it, saving its state; leaves no process, no port and no container.
    async fn down(&self) -> Result<()>;
    /// Stops it and forgets all that it knew.
    async fn reset(&self) -> Result<()>;
    /// After a restart: returns when what ran before runs again. `false` when that takes too long.
    async fn settled(&self) -> bool;
}

/// How `up` found the local AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// It was up.
    Running,
    /// It was started: empty, or in the state of its last clean stop.
    Started,
}

/// Time as people write it down, and the age of this machine. Waiting is tokio's, which a test
/// pauses.
pub trait WallClock: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Never goes back, and counts the time that the machine sleeps.
    fn since_boot(&self) -> Duration;
}

/// Ctrl-C and SIGTERM.
#[async_trait]
pub trait Interrupt: Send + Sync {
    /// Returns when the user wants to stop. Never returns otherwise.
    async fn wait(&self);
}

/// The environment variables of the process and its folders, read once in `main`.
#[derive(Debug, Clone)]
pub struct ProcessEnv {
    /// The checkout's root.
    pub root: PathBuf,
    /// The folder in which the user stands: the root, or one below it.
    pub here: PathBuf,
    /// The environment variables that the process was started with.
    pub variables: BTreeMap<String, String>,
}

impl ProcessEnv {
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A path that the user wrote, as the checkout calls it: below the root, or absolute.
    pub fn named(&self, path: &Path) -> PathBuf {
        let path = self.here.join(path);
        path.strip_prefix(&self.root).unwrap_or(&path).to_owned()
    }

    /// Where a run leaves its files: all of them lie below `target/`.
    pub fn state_folder(&self) -> PathBuf {
        self.root.join("target/xtask")
    }
}
