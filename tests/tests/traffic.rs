//! Releases and faults under traffic through the load balancer: what AWS would not lose is not lost,
//! and what fails does so for AWS's reasons. Definitions that lint would refuse are given to ECS as
//! a user would with the AWS CLI. The scenarios share one local AWS and run in this order.

#![expect(
    clippy::disallowed_methods,
    reason = "what a user waits for is measured"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use e2e::{CheckoutCopy, EngineProxy, Served, Traffic, docker, eventually, request};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

type Scenario = fn(&Local, &str);

const SCENARIOS: [(&str, Scenario); 17] = [
    ("good_release", good_release),
    ("rollback", rollback),
    ("never_listens", never_listens),
    ("health_check_fails", health_check_fails),
    ("health_check_not_in_image", health_check_not_in_image),
    ("crashes_at_once", crashes_at_once),
    ("secret_is_not_there", secret_is_not_there),
    ("image_is_not_there", image_is_not_there),
    ("waits_for_others", waits_for_others),
    ("starts_slowly", starts_slowly),
    ("crashes_after_it_was_healthy", crashes_later),
    ("gets_sick_later", gets_sick_later),
    ("all_get_sick", all_get_sick),
    ("docker_is_gone", docker_is_gone),
    ("emulator_is_stopped", emulator_is_stopped),
    ("emulator_is_killed", emulator_is_killed),
    ("still_answers", still_answers),
];

/// What the local AWS carries on two cores: each dispatch is three requests to it.
const DISPATCHES_PER_SECOND: u32 = 100;
const SERVICE: &str = "demo-axon";
/// Of the load balancer in the local environment: interval times threshold, and the time-out of the
/// last check.
const FOUND_WITHIN: Duration = Duration::from_secs(5 * 2 + 2);
/// Until a replacement is healthy: its own first checks.
const REPLACED_WITHIN: Duration = Duration::from_secs(15);
const ROLLOUT_LIMIT: Duration = Duration::from_mins(3);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let local = Arc::new(Local::default());
    let trials = SCENARIOS.map(|(name, scenario)| {
        let local = Arc::clone(&local);
        Trial::test(name, move || {
            let ended = catch_unwind(AssertUnwindSafe(|| scenario(&local, name)));
            local.checkout.undo_edits();
            ended.map_or_else(|panic| resume_unwind(panic), Ok)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    drop(local); // stops the local AWS
    conclusion.exit_code()
}

/// A deployed checkout, driven by the API of ECS.
struct Local {
    checkout: LazyLock<CheckoutCopy>,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            checkout: LazyLock::new(|| {
                let checkout = CheckoutCopy::fresh("traffic");
                checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
                checkout
            }),
        }
    }
}

/// How one rollout ended, as its service deployment says.
struct Ended {
    status: String,
    definition: String,
    took: Duration,
}

impl Local {
    fn cluster(&self) -> String {
        let arns = self.checkout.ecs("ListClusters", &json!({}));
        arns["clusterArns"][0]
            .as_str()
            .expect("a cluster")
            .to_owned()
    }

    fn described(&self) -> Value {
        let input = json!({ "cluster": self.cluster(), "services": [SERVICE] });
        self.checkout.ecs("DescribeServices", &input)["services"][0].take()
    }

    /// What runs, as it can be registered again.
    fn definition(&self) -> Value {
        let running = self.described()["taskDefinition"].take();
        let answer = self.checkout.ecs(
            "DescribeTaskDefinition",
            &json!({ "taskDefinition": running }),
        );
        let mut definition = answer["taskDefinition"].clone();
        let fields = definition.as_object_mut().expect("a definition");
        for name in [
            "taskDefinitionArn",
            "revision",
            "status",
            "registeredAt",
            "registeredBy",
            "compatibilities",
            "requiresAttributes",
        ] {
            fields.remove(name);
        }
        definition
    }

    /// Starts a rollout of a definition. Returns its service deployment and its revision.
    fn update(&self, definition: &Value) -> (String, String) {
        let answer = self.checkout.ecs("RegisterTaskDefinition", definition);
        let revision = answer["taskDefinition"]["taskDefinitionArn"].clone();
        let input =
            json!({ "cluster": self.cluster(), "service": SERVICE, "taskDefinition": revision });
        self.checkout.ecs("UpdateService", &input);
        let deployment = self.described()["currentServiceDeployment"].take();
        let text = |value: Value| value.as_str().expect("an ARN").to_owned();
        (text(deployment), text(revision))
    }

    fn status(&self, deployment: &str) -> String {
        let input = json!({ "serviceDeploymentArns": [deployment] });
        let answer = self.checkout.ecs("DescribeServiceDeployments", &input);
        let status = answer["serviceDeployments"][0]["status"].as_str();
        status.expect("a service deployment").to_owned()
    }

    fn ended(&self, deployment: &str) -> String {
        let started = Instant::now();
        loop {
            let status = self.status(deployment);
            let ends = [
                "SUCCESSFUL",
                "STOPPED",
                "ROLLBACK_SUCCESSFUL",
                "ROLLBACK_FAILED",
            ];
            if ends.contains(&status.as_str()) {
                return status;
            }
            assert!(started.elapsed() < ROLLOUT_LIMIT, "{status}");
            e2e::pause(Duration::from_millis(500));
        }
    }

    fn rollout(&self, definition: &Value) -> Ended {
        let started = Instant::now();
        let (deployment, definition) = self.update(definition);
        Ended {
            status: self.ended(&deployment),
            definition,
            took: started.elapsed(),
        }
    }

    /// Codes and reasons of the stopped tasks of a revision, or of all.
    fn stopped(&self, definition: Option<&str>) -> Vec<String> {
        let cluster = self.cluster();
        let input =
            json!({ "cluster": cluster, "serviceName": SERVICE, "desiredStatus": "STOPPED" });
        let arns = self.checkout.ecs("ListTasks", &input)["taskArns"].take();
        let tasks = self.checkout.ecs(
            "DescribeTasks",
            &json!({ "cluster": cluster, "tasks": arns }),
        );
        let tasks = tasks["tasks"].as_array().expect("tasks").iter();
        let of_it = tasks.filter(|it| definition.is_none_or(|of| it["taskDefinitionArn"] == of));
        let text = |task: &Value, name: &str| task[name].as_str().unwrap_or_default().to_owned();
        of_it
            .map(|it| format!("{}: {}", text(it, "stopCode"), text(it, "stoppedReason")))
            .collect()
    }

    fn traffic(&self) -> Traffic {
        let url = format!("{}/dispatch", self.base_url());
        Traffic::at_rate(DISPATCHES_PER_SECOND, "POST", &url)
    }

    fn base_url(&self) -> String {
        let outputs: Value =
            serde_json::from_str(&self.checkout.published_outputs()).expect("JSON");
        outputs["base_url"].as_str().expect("a base_url").to_owned()
    }

    /// Containers of axon's tasks that run.
    fn containers(&self) -> Vec<String> {
        let family = "label=com.amazonaws.ecs.task-definition-family=demo-axon";
        let ours = format!(":{}", self.checkout.port());
        let listed = docker(&[
            "ps",
            "--filter",
            family,
            "--format",
            "{{.ID}} {{.Label \"ministack.instance\"}}",
        ]);
        let of_us = listed.lines().filter(|line| line.ends_with(&ours));
        of_us
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect()
    }

    /// Waits until all tasks run and dispatches are answered, some times in a row.
    fn whole(&self) {
        let url = format!("{}/dispatch", self.base_url());
        let mut in_row = 0;
        eventually("the service is whole again", || {
            let service = self.described();
            let counted = service["runningCount"] == service["desiredCount"];
            let answered = request("POST", &url, &[], "").is_ok_and(|it| it.status == 200);
            in_row = if counted && answered { in_row + 1 } else { 0 };
            in_row == 10
        });
    }

    /// A definition that never works: nothing is lost, ECS goes back, and says why.
    fn fails(&self, scenario: &str, change: impl FnOnce(&mut Value), said: &[&str]) {
        let before = self.described()["taskDefinition"].take();
        let mut definition = self.definition();
        change(&mut definition["containerDefinitions"][0]);
        let traffic = self.traffic();
        let rollout = self.rollout(&definition);
        let served = traffic.stop();
        served.tell(scenario);
        assert_eq!(rollout.status, "ROLLBACK_SUCCESSFUL");
        let stopped = self.stopped(Some(&rollout.definition));
        assert!(
            stopped
                .iter()
                .any(|it| said.iter().all(|part| it.contains(part))),
            "{said:?} in {stopped:?}"
        );
        assert_nothing_lost(&served);
        assert_eq!(self.described()["taskDefinition"], before);
    }
}

#[track_caller]
fn assert_nothing_lost(served: &Served) {
    assert!(served.answered > 50, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

/// What is lost is lost while a sick task was not found yet.
#[track_caller]
fn assert_lost_at_most(served: &Served, share: f64, within: Duration) {
    let most = f64::from(DISPATCHES_PER_SECOND) * share * within.as_secs_f64();
    let lost = u32::try_from(served.lost.len()).expect("a count");
    assert!(
        f64::from(lost) <= most,
        "{lost} lost, at most {most}: {:?}",
        served.lost.first()
    );
}

/// Sets one variable of a container.
fn set(container: &mut Value, name: &str, value: &str) {
    let variables = container["environment"].as_array_mut().expect("variables");
    variables.retain(|it| it["name"] != name);
    variables.push(json!({ "name": name, "value": value }));
}

/// Releases the checkout as it is.
fn release_loses_nothing(local: &Local, name: &str) {
    let traffic = local.traffic();
    let ran = local.checkout.xtask(&["deploy"]);
    let served = traffic.stop();
    served.tell(name);
    ran.expect(0, &["answered 200"]);
    assert_nothing_lost(&served);
}

fn good_release(local: &Local, name: &str) {
    for service in ["axon", "orbit"] {
        local.checkout.set_in_template(service, "RUST_LOG", "info");
    }
    release_loses_nothing(local, name);
}

fn rollback(local: &Local, name: &str) {
    let traffic = local.traffic();
    let ran = local.checkout.xtask(&["rollback", "--no-hold"]);
    let served = traffic.stop();
    served.tell(name);
    ran.expect(0, &[]);
    assert_nothing_lost(&served);
}

fn never_listens(local: &Local, name: &str) {
    let said = ["ServiceSchedulerInitiated: Task failed ELB health checks in (target-group arn:"];
    local.fails(name, |container| set(container, "PORT", "8081"), &said);
    let events = local.described()["events"].to_string();
    assert!(
        events.contains("due to (reason Health checks failed)."),
        "{events}"
    );
}

const FAILED_ITS_CHECK: [&str; 1] =
    ["ServiceSchedulerInitiated: Task failed container health checks"];

fn health_check_fails(local: &Local, name: &str) {
    let change = |container: &mut Value| {
        container["healthCheck"]["command"] = json!(["CMD", "/axon", "wrong"]);
    };
    local.fails(name, change, &FAILED_ITS_CHECK);
}

fn health_check_not_in_image(local: &Local, name: &str) {
    let change = |container: &mut Value| {
        container["healthCheck"]["command"] = json!(["CMD", "/nope"]);
    };
    local.fails(name, change, &FAILED_ITS_CHECK);
}

fn crashes_at_once(local: &Local, name: &str) {
    let said = ["EssentialContainerExited: Essential container in task exited"];
    local.fails(name, |container| set(container, "PORT", "eighty"), &said);
}

fn secret_is_not_there(local: &Local, name: &str) {
    let change = |container: &mut Value| {
        let reference = &mut container["secrets"][0]["valueFrom"];
        let known = reference.as_str().expect("a reference");
        let fields: Vec<&str> = known.split(':').collect();
        *reference = format!("{}-not-there", fields[..7].join(":")).into();
    };
    let said = [
        "TaskFailedToStart: ResourceInitializationError: unable to pull secrets or registry auth:",
        "ResourceNotFoundException: Secrets Manager can't find the specified secret.",
    ];
    local.fails(name, change, &said);
}

fn image_is_not_there(local: &Local, name: &str) {
    let change = |container: &mut Value| {
        let image = container["image"].as_str().expect("an image");
        let (repository, _) = image.split_once('@').expect("a digest");
        container["image"] = format!("{repository}@sha256:{}", "0".repeat(64)).into();
    };
    let said = ["TaskFailedToStart: CannotPullContainerError:", "not found"];
    local.fails(name, change, &said);
}

/// Another container is healthy after 20 seconds, one asks it through the loopback interface that
/// they share, and only when that one has succeeded axon starts.
fn waits_for_others(local: &Local, name: &str) {
    let original = local.definition();
    let mut definition = original.clone();
    let axon = definition["containerDefinitions"][0].clone();
    let mut slow = axon.clone();
    slow["name"] = "slow".into();
    slow["portMappings"] = json!([]);
    slow["healthCheck"]["interval"] = 20.into();
    set(&mut slow, "PORT", "8081");
    let mut asking = slow.clone();
    asking["name"] = "asking".into();
    asking["essential"] = false.into();
    asking["command"] = json!(["healthcheck"]);
    asking["dependsOn"] = json!([{ "containerName": "slow", "condition": "HEALTHY" }]);
    asking
        .as_object_mut()
        .expect("a container")
        .remove("healthCheck");
    let mut waiting = axon;
    waiting["dependsOn"] = json!([{ "containerName": "asking", "condition": "SUCCESS" }]);
    definition["containerDefinitions"] = json!([waiting, asking, slow]);
    definition["memory"] = "1024".into();
    let traffic = local.traffic();
    let rollout = local.rollout(&definition);
    let back = local.rollout(&original);
    let served = traffic.stop();
    served.tell(name);
    assert_eq!(
        (rollout.status.as_str(), back.status.as_str()),
        ("SUCCESSFUL", "SUCCESSFUL")
    );
    assert!(rollout.took > Duration::from_secs(20), "{:?}", rollout.took);
    assert_nothing_lost(&served);
}

/// New tasks do not answer for their first 20 seconds, and the grace period is longer.
fn starts_slowly(local: &Local, name: &str) {
    let grace = |seconds: u32| {
        let input = json!({
            "cluster": local.cluster(),
            "service": SERVICE,
            "healthCheckGracePeriodSeconds": seconds,
        });
        local.checkout.ecs("UpdateService", &input);
    };
    grace(60);
    let traffic = local.traffic();
    let old = local.containers();
    let started = Instant::now();
    let (deployment, _) = local.update(&local.definition());
    let mut new = Vec::new();
    eventually("both new containers run", || {
        new = local.containers();
        new.retain(|it| !old.contains(it));
        new.len() == 2
    });
    let all = |verb: &str| {
        let mut arguments = vec![verb];
        arguments.extend(new.iter().map(String::as_str));
        docker(&arguments);
    };
    all("pause");
    e2e::pause(Duration::from_secs(20));
    all("unpause");
    let status = local.ended(&deployment);
    let took = started.elapsed();
    let served = traffic.stop();
    served.tell(name);
    grace(10);
    assert_eq!(status, "SUCCESSFUL");
    assert!(took > Duration::from_secs(20), "{took:?}");
    assert_nothing_lost(&served);
}

/// One of two tasks ends without a warning.
fn crashes_later(local: &Local, name: &str) {
    let traffic = local.traffic();
    e2e::pause(Duration::from_secs(2));
    docker(&["kill", &local.containers()[0]]);
    e2e::pause(Duration::from_secs(2));
    local.whole();
    let served = traffic.stop();
    served.tell(name);
    assert_lost_at_most(&served, 0.5, Duration::from_secs(2));
    let said = "EssentialContainerExited: Essential container in task exited";
    assert!(local.stopped(None).iter().any(|it| it == said));
}

/// Stops these containers from answering, and waits until they are replaced.
fn freeze(local: &Local, containers: &[String]) -> Served {
    let before = sick(local);
    let traffic = local.traffic();
    e2e::pause(Duration::from_secs(2));
    for container in containers {
        docker(&["pause", container]);
    }
    eventually("the frozen tasks are stopped", || {
        sick(local) == before + containers.len()
    });
    local.whole();
    traffic.stop()
}

/// How many tasks were stopped because the load balancer found them unhealthy.
fn sick(local: &Local) -> usize {
    let said = "ServiceSchedulerInitiated: Task failed ELB health checks in (target-group arn:";
    let stopped = local.stopped(None);
    stopped.iter().filter(|it| it.starts_with(said)).count()
}

/// One of two tasks does not answer any more, a minute after the rollout has succeeded.
fn gets_sick_later(local: &Local, name: &str) {
    local.whole();
    e2e::pause(Duration::from_mins(1));
    let served = freeze(local, &local.containers()[..1]);
    served.tell(name);
    assert_lost_at_most(&served, 0.5, FOUND_WITHIN);
}

/// No task is left that answers: requests are lost until the first replacement is healthy.
fn all_get_sick(local: &Local, name: &str) {
    let served = freeze(local, &local.containers());
    served.tell(name);
    assert_lost_at_most(&served, 1.0, FOUND_WITHIN + REPLACED_WITHIN);
}

/// The engine does not answer for ten seconds in the middle of a rollout.
fn docker_is_gone(local: &Local, name: &str) {
    let engine = EngineProxy::start(local.checkout.root());
    let host = engine.address();
    let through_it = [("DOCKER_HOST", host.as_str())];
    local.checkout.xtask(&["local", "down"]).expect(0, &[]);
    let up = local.checkout.xtask_with(&["local", "up"], &through_it);
    up.expect(0, &[]);
    local.whole();
    let traffic = local.traffic();
    let (deployment, _) = local.update(&local.definition());
    e2e::pause(Duration::from_secs(4));
    engine.refuse();
    e2e::pause(Duration::from_secs(10));
    engine.serve();
    let status = local.ended(&deployment);
    let served = traffic.stop();
    served.tell(name);
    local.checkout.xtask(&["local", "down"]).expect(0, &[]);
    local.checkout.xtask(&["local", "up"]).expect(0, &[]);
    local.whole();
    assert_eq!(status, "SUCCESSFUL");
    assert_nothing_lost(&served);
}

/// A clean stop in the middle of a rollout: it goes on after the next start.
fn emulator_is_stopped(local: &Local, _: &str) {
    let (deployment, _) = local.update(&local.definition());
    e2e::pause(Duration::from_secs(3));
    local.checkout.xtask(&["local", "down"]).expect(0, &[]);
    local.checkout.xtask(&["local", "up"]).expect(0, &[]);
    assert_eq!(local.ended(&deployment), "SUCCESSFUL");
    local.whole();
}

/// A crash in the middle of a rollout: what was saved last is known, and comes to its end.
fn emulator_is_killed(local: &Local, _: &str) {
    local.update(&local.definition());
    e2e::pause(Duration::from_secs(3));
    local.checkout.kill_local_aws();
    local.checkout.xtask(&["local", "up"]).expect(0, &[]);
    eventually("no rollout is left", || {
        local.described()["currentServiceDeployment"].is_null()
    });
    let deployments = local.described()["deployments"].take();
    assert_eq!(deployments[0]["rolloutState"], "COMPLETED", "{deployments}");
    local.whole();
}

/// After all of that one more release is a release as any other.
fn still_answers(local: &Local, name: &str) {
    local.checkout.set_in_template("axon", "RUST_LOG", "debug");
    release_loses_nothing(local, name);
}
