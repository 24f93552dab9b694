//! What runs at one moment, as ECS and Lambda describe it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::catalog::{Component, Function, Service};
use crate::decide::artifact::image::{Digest, Key};
use crate::decide::definition::Definition;

/// A definition that ECS knows, by its name: `family:number`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

/// A published version of a function: a number, as text. `$LATEST` is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionVersion(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("`{0}` is not a revision, which is `family:number`")]
    Revision(String),
    #[error("`{0}` is not a version of a function, which is a number")]
    FunctionVersion(String),
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl TryFrom<String> for Revision {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let parts = text.split_once(':');
        if parts.is_some_and(|(family, number)| !family.is_empty() && is_number(number)) {
            return Ok(Self(text));
        }
        Err(NameError::Revision(text))
    }
}

impl TryFrom<String> for FunctionVersion {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        if is_number(&text) {
            return Ok(Self(text));
        }
        Err(NameError::FunctionVersion(text))
    }
}

macro_rules! text {
    ($type:ident) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

impl Revision {
    pub fn family(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(family, _)| family)
    }
}

text!(Revision);
text!(FunctionVersion);

/// All services and functions: what a plan is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub services: BTreeMap<Service, ServiceSnapshot>,
    pub functions: BTreeMap<Function, FunctionState>,
}

/// One service, with the definition that its primary deployment runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSnapshot {
    pub state: ServiceState,
    /// The primary deployment's.
    pub revision: Revision,
    /// `None` where ECS does not have the revision any more.
    pub content: Option<ServiceRunning>,
    /// What is registered under the revision, where it was read.
    pub definition: Option<Definition>,
}

/// What runs of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRunning {
    pub revision: Revision,
    /// The definition's hash when it was first rendered.
    pub content: String,
    /// `None` where the definition names its image by a tag, which this tool never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The key that the image is tagged with, where the release that brought it was of this tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// What runs of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRunning {
    pub version: FunctionVersion,
    /// Base64, as Lambda has it.
    pub code_sha256: String,
}

/// A revision as ECS has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    pub definition: Definition,
    pub active: bool,
    /// The tag `definition-sha256`.
    pub sha256: Option<String>,
}

/// A service as `DescribeServices` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    pub active: bool,
    pub desired: i32,
    pub running: i32,
    pub pending: i32,
    pub deployments: Vec<Deployment>,
    pub alarms: Option<Alarms>,
    /// What ECS tells about the service, newest first.
    pub events: Vec<ServiceEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEvent {
    pub id: String,
    pub message: String,
}

/// A target of the load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    /// In the words of the API (`healthy`, `draining`, ...).
    pub state: String,
    /// Why it is in this state, if it is not healthy.
    pub reason: Option<String>,
}

/// The CloudWatch alarms at which ECS fails a deployment of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarms {
    pub names: Vec<String>,
    pub enabled: bool,
    /// Whether ECS goes back to the last completed deployment as well.
    pub rollback: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub primary: bool,
    pub revision: Revision,
    pub state: RolloutState,
    /// `rolloutStateReason`.
    pub reason: String,
    pub desired: i32,
    pub running: i32,
    pub pending: i32,
    pub failed: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState {
    InProgress,
    Completed,
    Failed,
}

/// A function's alias and the version that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionState {
    pub version: FunctionVersion,
    /// Base64, as Lambda has it.
    pub code_sha256: String,
    /// The content key of the version's code, from its description. `None` for the placeholder
    /// that Terraform creates, and for a version published by hand.
    pub key: Option<Key>,
    /// Changes with each change of the alias: `UpdateAlias` is refused with an older one.
    pub revision_id: String,
}

/// A task that ECS stopped, or that exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedTask {
    pub id: String,
    pub stop_code: String,
    pub reason: String,
    pub containers: Vec<StoppedContainer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedContainer {
    pub name: String,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

impl Snapshot {
    /// Whether anything that was released of this component runs.
    pub fn runs(&self, component: Component) -> bool {
        match component {
            Component::Service(service) => {
                let found = self.services.get(&service);
                found.is_some_and(|found| found.running().is_some())
            }
            Component::Function(function) => {
                let found = self.functions.get(&function);
                found.is_some_and(|found| found.running().is_some())
            }
        }
    }

    /// What is not any more as this snapshot saw it. A plan is applied only to what it was made
    /// for. A service whose rollout was not completed is left out: ECS may go back by itself.
    pub fn changed_since(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (service, then) in &self.services {
            match now.services.get(service) {
                Some(now) if now.revision != then.revision && then.state.completed() => {
                    changes.push(format!(
                        "{service} went from {} to {}",
                        then.revision, now.revision
                    ));
                }
                // Its primary deployment is the one of before once ECS goes back by itself.
                Some(now) if then.state.completed() && now.state.adds_to(&then.state) => {
                    changes.push(format!("{service} is in the middle of a rollout"));
                }
                // How many are desired changes by itself; whether any is, only by somebody.
                Some(now) if now.is_first() != then.is_first() => changes.push(format!(
                    "{service} went from {} to {} tasks desired",
                    then.state.desired, now.state.desired
                )),
                Some(_) => {}
                None => changes.push(format!("{service} is gone")),
            }
        }
        for (function, then) in &self.functions {
            let now = now.functions.get(function);
            if now.is_none_or(|now| now.revision_id != then.revision_id) {
                changes.push(format!("the alias of {function} was moved"));
            }
        }
        changes
    }

    /// Whether no service is in the middle of a rollout.
    pub fn settled(&self) -> bool {
        let mut services = self.services.values();
        services.all(|service| service.state.settled())
    }
}

impl ServiceSnapshot {
    /// Terraform creates a service on a revision that never runs, with none desired.
    pub fn is_first(&self) -> bool {
        self.state.desired == 0
    }

    /// `None`: a placeholder, or none desired.
    pub fn running(&self) -> Option<ServiceRunning> {
        self.content.clone().filter(|_| !self.is_first())
    }

    /// Whether this is what runs of it.
    pub fn runs(&self, content: &str) -> bool {
        let content = |running: &ServiceRunning| running.content == content;
        !self.is_first() && self.content.as_ref().is_some_and(content)
    }

    /// The digest of the image of these sources, where it runs and nothing changes.
    pub fn image_of(&self, key: &Key) -> Option<&Digest> {
        let running = self.content.as_ref().filter(|_| self.state.settled());
        let running = running.filter(|it| it.key.as_ref() == Some(key));
        running?.image.as_ref().filter(|_| !self.is_first())
    }

    /// The same snapshot, with what ECS has under its revision. What a record knows of it stays.
    #[must_use]
    pub fn with(self, registered: Option<Registered>) -> Self {
        let running = registered.as_ref().map(|it| it.running(&self.revision));
        Self {
            content: self.content.or(running),
            definition: registered.map(|it| it.definition),
            ..self
        }
    }
}

impl Registered {
    /// What runs where this revision runs.
    pub fn running(&self, revision: &Revision) -> ServiceRunning {
        let content = self.sha256.clone();
        let image = self.definition.image();
        let digest = image.and_then(|image| Digest::parse(image.split_once('@')?.1));
        ServiceRunning {
            revision: revision.clone(),
            content: content.unwrap_or_else(|| self.definition.sha256()),
            image: digest,
            key: None,
        }
    }
}

impl ServiceState {
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments
            .iter()
            .find(|deployment| deployment.primary)
    }

    /// ECS does not go back from its primary deployment any more.
    fn completed(&self) -> bool {
        self.primary()
            .is_some_and(|primary| primary.state == RolloutState::Completed)
    }

    /// The primary deployment is completed, and every desired task runs and is of it. The
    /// service's own desired count decides: a deployment that ECS went back to may keep the count
    /// that it had before.
    pub fn settled(&self) -> bool {
        self.active
            && self.pending == 0
            && self.running == self.desired
            && self.completed()
            && self
                .primary()
                .is_some_and(|primary| primary.running == self.desired)
    }

    /// Whether it has a deployment of a revision that another state of it had none of.
    fn adds_to(&self, other: &Self) -> bool {
        let of_other =
            |it: &Deployment| other.deployments.iter().any(|o| o.revision == it.revision);
        !self.deployments.iter().all(of_other)
    }

    pub fn failed(&self, revision: &Revision) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| {
            deployment.revision == *revision && deployment.state == RolloutState::Failed
        })
    }

    /// The alarms of the service, where it has any.
    pub fn watched_by(&self) -> Option<&Alarms> {
        let alarms = self.alarms.as_ref();
        alarms.filter(|alarms| !alarms.names.is_empty())
    }
}

impl FunctionState {
    /// `None` where it is not a version of ours.
    pub fn running(&self) -> Option<FunctionRunning> {
        self.key.as_ref().map(|_| FunctionRunning {
            version: self.version.clone(),
            code_sha256: self.code_sha256.clone(),
        })
    }
}

impl ServiceEvent {
    /// What it tells about a failure, without the names of the service and of a task: many tasks
    /// of a deployment fail in the same way.
    pub fn failure(&self) -> Option<&str> {
        let mut text = self.message.as_str();
        for name in ["(service ", "(task "] {
            let named = text.strip_prefix(name).and_then(|it| it.split_once(") "));
            text = named.map_or(text, |(_, rest)| rest);
        }
        let tells = |word: &&str| text.contains(*word);
        let words = ["is unhealthy", "failed container health checks", "unable"];
        words.iter().any(tells).then_some(text)
    }
}

impl StoppedTask {
    /// Whether it failed. Draining, scaling and `StopTask` stop tasks too, and say nothing about
    /// the revision.
    pub fn is_evidence(&self) -> bool {
        self.failed_a_health_check()
            || matches!(
                self.stop_code.as_str(),
                "EssentialContainerExited" | "TaskFailedToStart"
            )
    }

    /// Whether it ended with the machine that it ran on, which says nothing about the revision
    /// either.
    pub fn lost_its_host(&self) -> bool {
        matches!(
            self.stop_code.as_str(),
            "TerminationNotice" | "SpotInterruption"
        )
    }

    /// Such a task has the code of every task that the scheduler stops; only the reason tells.
    pub fn failed_a_health_check(&self) -> bool {
        self.stop_code == "ServiceSchedulerInitiated" && self.reason.contains("health check")
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;

    pub fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    /// A deployment of so many running out of so many desired tasks.
    pub fn deployment(name: &str, state: RolloutState, running: i32, of: i32) -> Deployment {
        Deployment {
            primary: true,
            revision: revision(name),
            state,
            reason: String::new(),
            desired: of,
            running,
            pending: of - running,
            failed: 0,
        }
    }

    /// A service whose first deployment is the primary one.
    pub fn service(mut deployments: Vec<Deployment>) -> ServiceState {
        for other in deployments.iter_mut().skip(1) {
            other.primary = false;
        }
        let sum = |count: fn(&Deployment) -> i32| deployments.iter().map(count).sum();
        ServiceState {
            active: true,
            desired: deployments.first().map_or(0, |primary| primary.desired),
            running: sum(|deployment| deployment.running),
            pending: sum(|deployment| deployment.pending),
            deployments,
            alarms: None,
            events: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_family_and_a_number() {
        assert_eq!(
            "demo-axon:7".parse::<Revision>().unwrap().as_str(),
            "demo-axon:7"
        );
        for wrong in ["", "demo-axon", "demo-axon:", ":7", "demo-axon:seven"] {
            assert!(wrong.parse::<Revision>().is_err(), "{wrong}");
        }
        let error = "axon".parse::<Revision>().unwrap_err().to_string();
        assert_eq!(error, "`axon` is not a revision, which is `family:number`");
    }

    #[test]
    fn a_functions_version_is_a_number() {
        assert!("12".parse::<FunctionVersion>().is_ok());
        for wrong in ["", "$LATEST", "live"] {
            assert!(wrong.parse::<FunctionVersion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_task_that_was_drained_is_no_evidence() {
        let task = |code: &str, reason: &str| StoppedTask {
            id: "1".into(),
            stop_code: code.into(),
            reason: reason.into(),
            containers: Vec::new(),
        };
        let scheduler = "ServiceSchedulerInitiated";
        for (code, reason, is_evidence) in [
            ("EssentialContainerExited", "", true),
            ("TaskFailedToStart", "", true),
            (scheduler, "Task failed container health checks", true),
            (
                scheduler,
                "Task failed ELB health checks in (target-group arn:aws:...)",
                true,
            ),
            (
                scheduler,
                "Scaling activity initiated by (deployment ecs-svc/1)",
                false,
            ),
            ("UserInitiated", "after the health check", false),
        ] {
            let task = task(code, reason);
            assert_eq!(task.is_evidence(), is_evidence, "{code} {reason}");
        }
    }

    #[test]
    fn an_event_tells_about_a_failure() {
        let event = |text: &str| ServiceEvent {
            id: "1".into(),
            message: format!("(service demo-axon) {text}"),
        };
        for (text, tells) in [
            (
                "(port 80) is unhealthy in (target-group arn) due to (reason ...)",
                true,
            ),
            (
                "was unable to place a task. Reason: Capacity is unavailable",
                true,
            ),
            ("has reached a steady state.", false),
            (
                "has started 1 tasks: (task 1). Amazon ECS replaced 1 tasks due to an unhealthy status.",
                false,
            ),
            ("has stopped 1 running tasks: (task 1).", false),
        ] {
            assert_eq!(event(text).failure(), tells.then_some(text));
        }
        let of_a_task = event("(task 1) failed container health checks.");
        assert_eq!(of_a_task.failure(), Some("failed container health checks."));
    }
}
