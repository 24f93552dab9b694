//! The local AWS's side: a service of its own for each sequence.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use e2e::{CheckoutCopy, docker, eventually};
use serde_json::{Value, json};

use super::it::model::ImageScript;
use super::it::model::contract::{
    SequenceAct, ShownDeployment, ShownService, ShownServiceDeployment, ShownTask, Side,
};

/// Between two looks. Each state that a sequence waits for lasts for seconds.
const MOMENT: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(5);
/// More than two failed checks of its target, and less than its grace period.
const SLOW_START: Duration = Duration::from_secs(15);
const SLOW_GRACE_SECONDS: u32 = 60;

/// A deployed checkout. The services of sequences are made like axon's.
pub(crate) struct ContractAws {
    deployed: LazyLock<DeployedAxon>,
}

struct DeployedAxon {
    checkout: CheckoutCopy,
    service: Value,
    definition: Value,
}

impl Default for ContractAws {
    fn default() -> Self {
        Self {
            deployed: LazyLock::new(|| {
                let checkout = CheckoutCopy::fresh("contract");
                checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
                DeployedAxon::of(checkout)
            }),
        }
    }
}

impl DeployedAxon {
    fn of(checkout: CheckoutCopy) -> Self {
        let axon = json!({ "cluster": "demo-local", "services": ["demo-axon"] });
        let service = checkout.ecs("DescribeServices", &axon)["services"][0].take();
        let running = json!({ "taskDefinition": service["taskDefinition"] });
        let described = checkout.ecs("DescribeTaskDefinition", &running)["taskDefinition"].take();
        let written = [
            "taskRoleArn",
            "executionRoleArn",
            "networkMode",
            "requiresCompatibilities",
            "cpu",
            "memory",
            "containerDefinitions",
        ];
        let mut definition = picked(&described, &written);
        let container = &mut definition["containerDefinitions"][0];
        // A target is healthy sooner than a container.
        let fields = container.as_object_mut().expect("a container");
        fields.remove("healthCheck");
        container["stopTimeout"] = 2.into();
        Self {
            checkout,
            service,
            definition,
        }
    }
}

pub(crate) struct LocalService<'a> {
    deployed: &'a DeployedAxon,
    name: String,
    /// What its creation left, which is not compared.
    events_before: usize,
    started: Instant,
}

impl<'a> LocalService<'a> {
    pub(crate) fn new(local: &'a ContractAws, name: &str) -> Self {
        let mut service = Self {
            deployed: &local.deployed,
            name: name.to_owned(),
            events_before: 0,
            started: Instant::now(),
        };
        let family = format!("{name}-placeholder");
        let placeholder = service.register(&family, ImageScript::NotPulled);
        let copied = [
            "launchType",
            "networkConfiguration",
            "loadBalancers",
            "healthCheckGracePeriodSeconds",
            "deploymentConfiguration",
        ];
        let mut input = picked(&service.deployed.service, &copied);
        input["serviceName"] = name.into();
        input["taskDefinition"] = placeholder;
        input["desiredCount"] = 0.into();
        service.ask("CreateService", input);
        eventually("it is created", || {
            let described = service.described();
            service.events_before = described["events"].as_array().expect("events").len();
            described["deployments"][0]["rolloutState"] == "COMPLETED"
        });
        service
    }

    fn ask(&self, operation: &str, mut input: Value) -> Value {
        input["cluster"] = "demo-local".into();
        self.deployed.checkout.ecs(operation, &input)
    }

    fn described(&self) -> Value {
        self.ask("DescribeServices", json!({ "services": [self.name] }))["services"][0].take()
    }

    fn register(&self, family: &str, script: ImageScript) -> Value {
        let mut definition = self.deployed.definition.clone();
        definition["family"] = family.into();
        behave(&mut definition["containerDefinitions"][0], script);
        let answer = self.ask("RegisterTaskDefinition", definition);
        answer["taskDefinition"]["taskDefinitionArn"].clone()
    }

    /// The error, where the call is refused. Of codes other than `ClientException`, which stands for
    /// many things, only the code is documented.
    fn call(&self, operation: &str, mut input: Value) -> Result<(), String> {
        input["cluster"] = "demo-local".into();
        let answer = self.deployed.checkout.answer_of_ecs(operation, &input);
        if answer.status == 200 {
            return Ok(());
        }
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        let code = text(&body["__type"]);
        Err(match code.as_str() {
            "ClientException" => format!("{code}: {}", text(&body["message"])),
            _ => code,
        })
    }

    fn update(&self, mut input: Value) -> Result<(), String> {
        input["service"] = self.name.as_str().into();
        self.call("UpdateService", input)
    }

    /// In the order in which they were started, which the events tell.
    fn tasks(&self, events: &[String]) -> Vec<Value> {
        let listed = ["RUNNING", "STOPPED"].map(|status| {
            let input = json!({ "serviceName": self.name, "desiredStatus": status });
            list(self.ask("ListTasks", input)["taskArns"].take())
        });
        let arns = listed.concat();
        if arns.is_empty() {
            return Vec::new();
        }
        let mut tasks = list(self.ask("DescribeTasks", json!({ "tasks": arns }))["tasks"].take());
        let started = |task: &Value| {
            let arn = text(&task["taskArn"]);
            let name = format!("(task {})", arn.rsplit('/').next().expect("an id"));
            let at = events.iter().position(|it| it.contains(&name));
            let within = at.and_then(|at| events[at].find(&name));
            (at, within)
        };
        tasks.retain(|it| started(it).0.is_some());
        tasks.sort_by_key(started);
        tasks
    }

    fn service_deployments(&self) -> Vec<ShownServiceDeployment> {
        let input = json!({ "service": self.name });
        let listed = self.ask("ListServiceDeployments", input)["serviceDeployments"].take();
        let mut arns: Vec<String> = list(listed)
            .iter()
            .map(|it| text(&it["serviceDeploymentArn"]))
            .collect();
        arns.pop(); // of its creation
        arns.reverse();
        let one = |arn: String| {
            let input = json!({ "serviceDeploymentArns": [arn] });
            let mut answer = self.ask("DescribeServiceDeployments", input);
            self.shown_service_deployment(&answer["serviceDeployments"][0].take())
        };
        arns.into_iter().map(one).collect()
    }

    fn shown_service_deployment(&self, described: &Value) -> ShownServiceDeployment {
        let revision = |arn: &Value| {
            let input = json!({ "serviceRevisionArns": [arn] });
            let answer = self.ask("DescribeServiceRevisions", input);
            revision(&answer["serviceRevisions"][0]["taskDefinition"])
        };
        let breaker = &described["deploymentCircuitBreaker"];
        let back_to = &described["rollback"]["serviceRevisionArn"];
        ShownServiceDeployment {
            status: text(&described["status"]),
            reason: text(&described["statusReason"]),
            target: revision(&described["targetServiceRevision"]["arn"]),
            breaker: text(&breaker["status"]),
            failures: number(&breaker["failureCount"]),
            back_to: back_to.is_string().then(|| revision(back_to)),
        }
    }

    fn newest_service_deployment(&self) -> String {
        let input = json!({ "service": self.name });
        let listed = self.ask("ListServiceDeployments", input);
        text(&listed["serviceDeployments"][0]["serviceDeploymentArn"])
    }

    /// The tasks that were not told to stop.
    fn running_tasks(&self) -> Vec<String> {
        let events = self.events(&self.described());
        let tasks = self.tasks(&events).into_iter();
        let running = tasks.filter(|it| it["desiredStatus"] == "RUNNING");
        running.map(|it| text(&it["taskArn"])).collect()
    }

    fn events(&self, described: &Value) -> Vec<String> {
        let events = list(described["events"].clone());
        let mut events: Vec<String> = events.iter().map(|it| text(&it["message"])).collect();
        events.reverse();
        events.split_off(self.events_before)
    }

    /// Does something to the container of the newest task, once there is one.
    fn to_newest_container(&self, verb: &str) -> String {
        let mut container = String::new();
        eventually("a container runs", || {
            let tasks = self.running_tasks();
            let task = tasks.last().map_or("", String::as_str);
            let label = format!("label=com.amazonaws.ecs.task-arn={task}");
            docker(&["ps", "--quiet", "--filter", &label])
                .trim()
                .clone_into(&mut container);
            !container.is_empty()
        });
        docker(&[verb, &container]);
        container
    }

    fn release(&self, script: ImageScript, desired: Option<u32>) -> Result<(), String> {
        let mut input = json!({ "taskDefinition": self.register(&self.name, script) });
        if let Some(desired) = desired {
            input["desiredCount"] = desired.into();
        }
        if script != ImageScript::SlowStart {
            return self.update(input);
        }
        input["healthCheckGracePeriodSeconds"] = SLOW_GRACE_SECONDS.into();
        let before = self.running_tasks().len();
        self.update(input)?;
        eventually("its task starts", || self.running_tasks().len() > before);
        let container = self.to_newest_container("pause");
        e2e::pause(SLOW_START);
        docker(&["unpause", &container]);
        Ok(())
    }
}

impl Side for LocalService<'_> {
    fn act(&mut self, act: SequenceAct) -> Result<(), String> {
        let revision = |number: u32| format!("{}:{number}", self.name);
        match act {
            SequenceAct::Release(script) => self.release(script, None),
            SequenceAct::First(script, desired) => self.release(script, Some(desired)),
            SequenceAct::Deploy(number) => {
                self.update(json!({ "taskDefinition": revision(number) }))
            }
            SequenceAct::Desired(desired) => self.update(json!({ "desiredCount": desired })),
            SequenceAct::Force => self.update(json!({ "forceNewDeployment": true })),
            SequenceAct::Deregister(number) => {
                let input = json!({ "taskDefinition": revision(number) });
                self.call("DeregisterTaskDefinition", input)
            }
            SequenceAct::StopTask => {
                let task = &self.running_tasks()[0];
                self.call("StopTask", json!({ "task": task, "reason": "by hand" }))
            }
            SequenceAct::StopDeployment | SequenceAct::StopUnknownDeployment => {
                let mut arn = self.newest_service_deployment();
                if matches!(act, SequenceAct::StopUnknownDeployment) {
                    arn.push('9');
                }
                self.call(
                    "StopServiceDeployment",
                    json!({ "serviceDeploymentArn": arn }),
                )
            }
            SequenceAct::Crash => {
                self.to_newest_container("kill");
                Ok(())
            }
            SequenceAct::Freeze => {
                self.to_newest_container("pause");
                Ok(())
            }
        }
    }

    fn shown(&mut self) -> ShownService {
        // What a sequence waits for is looked at first, so that the rest is not older.
        let service_deployments = self.service_deployments();
        let described = self.described();
        let events = self.events(&described);
        let tasks = self.tasks(&events).into_iter().map(|it| ShownTask {
            revision: revision(&it["taskDefinitionArn"]),
            status: text(&it["lastStatus"]),
            stop_code: text(&it["stopCode"]),
            stopped_reason: text(&it["stoppedReason"]),
        });
        let deployments = list(described["deployments"].clone()).into_iter();
        ShownService {
            desired: number(&described["desiredCount"]),
            running: number(&described["runningCount"]),
            pending: number(&described["pendingCount"]),
            deployments: deployments.map(|it| shown_deployment(&it)).collect(),
            service_deployments,
            tasks: tasks.collect(),
            events,
        }
    }

    fn wait(&mut self) {
        assert!(self.started.elapsed() < LONGEST, "{:#?}", self.shown());
        e2e::pause(MOMENT);
    }
}

impl Drop for LocalService<'_> {
    fn drop(&mut self) {
        let input = json!({ "service": self.name, "force": true });
        drop(self.call("DeleteService", input));
    }
}

fn shown_deployment(described: &Value) -> ShownDeployment {
    ShownDeployment {
        status: text(&described["status"]),
        revision: revision(&described["taskDefinition"]),
        rollout: text(&described["rolloutState"]),
        reason: text(&described["rolloutStateReason"]),
        desired: number(&described["desiredCount"]),
        running: number(&described["runningCount"]),
        pending: number(&described["pendingCount"]),
        failed: number(&described["failedTasks"]),
    }
}

/// Makes a container do what an image does.
fn behave(container: &mut Value, script: ImageScript) {
    match script {
        ImageScript::NeverListens => set_port(container, "8081"),
        ImageScript::CrashesAtOnce => set_port(container, "eighty"),
        ImageScript::FailsContainerCheck => {
            let command = ["CMD", "/axon", "wrong"];
            container["healthCheck"] = json!({ "command": command, "interval": 5, "retries": 1 });
        }
        ImageScript::NotPulled => {
            let image = text(&container["image"]);
            let (repository, _) = image.split_once('@').expect("a digest");
            container["image"] = format!("{repository}@sha256:{}", "0".repeat(64)).into();
        }
        ImageScript::SecretMissing => {
            let reference = text(&container["secrets"][0]["valueFrom"]);
            let fields: Vec<&str> = reference.split(':').collect();
            let missing = format!("{}-not-there", fields[..7].join(":"));
            container["secrets"][0]["valueFrom"] = missing.into();
        }
        _ => {}
    }
}

fn set_port(container: &mut Value, port: &str) {
    let variables = container["environment"].as_array_mut().expect("variables");
    variables.retain(|it| it["name"] != "PORT");
    variables.push(json!({ "name": "PORT", "value": port }));
}

/// A revision as the model names it, without its family.
fn revision(arn: &Value) -> String {
    let arn = text(arn);
    let name = arn.rsplit('/').next().expect("a revision").to_owned();
    let (family, number) = name.split_once(':').expect("a revision");
    let is_placeholder = family.ends_with("-placeholder");
    let kind = if is_placeholder {
        "contract-placeholder"
    } else {
        "contract"
    };
    format!("{kind}:{number}")
}

fn picked(from: &Value, names: &[&str]) -> Value {
    let found = names.iter().filter(|it| !from[**it].is_null());
    found
        .map(|it| ((*it).to_owned(), from[*it].clone()))
        .collect()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        other => panic!("no list: {other}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
