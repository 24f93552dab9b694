//! The main job from its beginning to its end, as a user lives it: one local AWS, one story.

mod refusals;

use std::net::TcpStream;

use e2e::{Checkout, Ran, Traffic, eventually, interrupt, request, workflow};
use serde_json::Value;

#[test]
fn from_a_fresh_checkout_to_a_rollback_and_down() {
    let checkout = Checkout::fresh("story");
    nothing_runs_yet(&checkout);
    first_deploy(&checkout);
    a_dispatch_is_answered(&checkout);
    verify_finds_nothing_wrong(&checkout);
    it_listens_where_it_must_and_nowhere_else(&checkout);
    a_second_deploy_changes_nothing(&checkout);
    the_workflows_steps_do_what_they_say(&checkout);
    terraform_has_nothing_to_change(&checkout);
    refusals::bad_input(&checkout);
    refusals::a_bundle_of_something_else(&checkout);
    refusals::a_state_that_somebody_holds(&checkout);
    refusals::the_shell_of_another_account(&checkout);
    a_good_release_loses_no_request(&checkout);
    a_release_that_fails_goes_back(&checkout);
    rollback_goes_to_what_succeeded(&checkout);
    of_two_deploys_one_wins(&checkout);
    an_interrupted_rollout_is_gone_on_with(&checkout);
    stopped_services_are_started_again(&checkout);
    a_crash_of_the_local_aws_is_mended(&checkout);
    checkout.make_secrets_stale();
    what_was_taken_down_comes_back(&checkout);
    a_rotation_of_the_key_loses_no_request(&checkout);
    down_leaves_nothing(&checkout);
}

fn nothing_runs_yet(checkout: &Checkout) {
    checkout
        .xtask(&["status"])
        .expect(12, &["the local AWS does not run", "cargo xtask deploy"]);
}

fn first_deploy(checkout: &Checkout) {
    let before = checkout.changed_files();
    let ran = checkout.xtask(&["deploy"]);
    assert_eq!(
        checkout.changed_files(),
        before,
        "a run leaves its files below target/"
    );
    assert!(
        !ran.all().contains("compiled in"),
        "the copy has the keys of what was built"
    );
    ran.expect(
        0,
        &[
            "governance",
            "rolled out demo-axon:1",
            "rolled out demo-orbit:1",
            "answered 200",
        ],
    );
    let status = checkout.json(&["status"]);
    for service in ["axon", "orbit"] {
        let service = &status["services"][service];
        assert_eq!(
            (&service["desired"], &service["running"]),
            (&Value::from(2), &Value::from(2))
        );
        assert_eq!(service["release"], 1);
        assert!(
            service["image"]
                .as_str()
                .is_some_and(|image| image.starts_with("sha256:"))
        );
    }
    let logs = checkout.xtask(&["logs", "orbit"]).expect(0, &["release-1"]);
    for line in logs.stdout.lines() {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|it| it.is_object()),
            "{line}"
        );
    }
}

fn base_url(checkout: &Checkout) -> String {
    let status = checkout.json(&["status"]);
    status["base_url"].as_str().expect("a base_url").to_owned()
}

fn a_dispatch_is_answered(checkout: &Checkout) {
    let url = format!("{}/dispatch", base_url(checkout));
    let id = [("X-Correlation-ID", "story-1")];
    let answer = request("POST", &url, &id, "").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.headers.get("x-correlation-id").map(String::as_str),
        Some("story-1")
    );
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (&body["status"], &body["message"]),
        (&"success".into(), &"Axon heartbeat OK".into())
    );

    let json = [("Content-Type", "application/json")];
    let denied = request("POST", &url, &json, r#"{"intent":"shutdown"}"#).expect("an answer");
    assert_eq!(denied.status, 403, "{denied:?}");
    let body: Value = serde_json::from_str(&denied.body).expect("JSON");
    assert_eq!(body["status"], "denied");

    let reason = format!("{}/reason", base_url(checkout));
    let unsigned = request("GET", &reason, &[], "").expect("an answer");
    assert_eq!(unsigned.status, 401, "{unsigned:?}");

    // The same id stands in axon's log: it went the whole way.
    eventually("the correlation id is in axon's log", || {
        checkout.xtask(&["logs", "axon"]).stdout.contains("story-1")
    });
}

/// All of it, with nothing prepared. The local AWS runs no health checks, and a machine without
/// LLVM's tools measures no coverage: both are output, and neither fails.
fn verify_finds_nothing_wrong(checkout: &Checkout) {
    let before = checkout.changed_files();
    let checks = checkout.json(&["verify"]);
    assert_eq!(checkout.changed_files(), before);
    let coverage = &checks[8];
    let unknown = coverage["status"] == "SKIP";
    assert!(
        !unknown || coverage["seen"].to_string().contains("llvm-cov"),
        "{coverage:#}"
    );
    let coverage = if unknown { "SKIP" } else { "PASS" };
    let expected = format!("PASS PASS PASS PASS PASS PASS PASS PASS {coverage} PASS PASS SKIP");
    assert_eq!(statuses(&checks), expected, "{checks:#}");

    let checks = checkout.json(&["verify", "--deployed"]);
    let expected = "PASS PASS PASS SKIP PASS PASS PASS SKIP SKIP SKIP PASS SKIP";
    assert_eq!(statuses(&checks), expected, "{checks:#}");
}

/// Of each criterion, in their order.
fn statuses(checks: &Value) -> String {
    let checks = checks.as_array().expect("a list").iter();
    let statuses: Vec<_> = checks
        .map(|check| check["status"].as_str().unwrap_or_default())
        .collect();
    statuses.join(" ")
}

/// Loopback, and Docker's bridge, by which containers find it.
fn it_listens_where_it_must_and_nowhere_else(checkout: &Checkout) {
    let addresses = checkout.listening_addresses();
    assert!(addresses.contains(&"127.0.0.1".to_owned()), "{addresses:?}");
    assert!(
        addresses.len() == 2 && !addresses.contains(&"0.0.0.0".to_owned()),
        "{addresses:?}"
    );
}

fn terraform_has_nothing_to_change(checkout: &Checkout) {
    let planned = checkout.terraform_plan();
    assert!(planned.contains("No changes."), "{planned}");
}

fn releases(checkout: &Checkout) -> Vec<Value> {
    checkout
        .json(&["releases"])
        .as_array()
        .expect("a list")
        .clone()
}

fn a_second_deploy_changes_nothing(checkout: &Checkout) {
    let before = releases(checkout);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
    checkout.xtask(&["plan"]).expect(0, &["nothing to do"]);
    assert_eq!(releases(checkout), before);
}

/// What is in the files is what is run here, in its order. The step of `check` is this very run:
/// to run it again would never end, so it is compared with what CI starts.
fn the_workflows_steps_do_what_they_say(checkout: &Checkout) {
    let names = |workflow: &str| -> Vec<String> {
        let text = checkout.read(&format!(".github/workflows/{workflow}.yml"));
        let steps = workflow::steps(&text).into_iter();
        steps.map(|step| step.name).collect()
    };
    let said = |workflow: &str, name: &str, expected: &[&str]| {
        checkout.run_step(workflow, name, &[]).expect(0, expected);
    };
    assert_eq!(names("check"), ["Test"]);
    let ci = checkout.read(".ci/run");
    let test = ci.lines().next_back().expect("a command");
    let check = checkout.read(".github/workflows/check.yml");
    assert_eq!(
        workflow::steps(&check)[0].script,
        format!("exec {test} --format github")
    );

    let before = releases(checkout);
    assert_eq!(names("build"), ["Build"]);
    let environments = [("ENVIRONMENTS", "local")];
    let built = checkout.run_step("build", "Build", &environments);
    let kept = "kept governance, axon, orbit in target/bundle";
    built.expect(0, &["nothing to compile", "axon demo/axon@", kept]);

    assert_eq!(names("deploy"), ["Prepare", "Deploy", "Verify"]);
    checkout.lose_modes("target/bundle");
    said("deploy", "Prepare", &[]);
    assert_eq!(checkout.read("target/step.output"), "region=us-east-1\n");
    said("deploy", "Deploy", &["nothing to do"]);
    said("deploy", "Verify", &["PASS  Services deploy to ECS"]);
    let of_rollback = ["Find", "Prepare", "Roll back", "Verify"];
    assert_eq!(names("rollback"), of_rollback);

    assert_eq!(names("plan"), ["Refuse a fork", "Prepare", "Plan"]);
    let page = checkout.page();
    let on_page = [("GITHUB_STEP_SUMMARY", page.as_str())];
    let fork = checkout.run_step("plan", "Refuse a fork", &on_page);
    fork.expect(12, &["::error title=plan::a pull request from a fork"]);
    let plan = checkout.run_step("plan", "Plan", &on_page);
    plan.expect(0, &["nothing to do"]);
    let shown = checkout.read("target/page.md");
    let (refused, planned) = shown.split_once("### Plan for local").expect("a plan");
    assert!(refused.contains("a fork gets no credentials"), "{shown}");
    assert!(planned.contains("nothing to do"), "{shown}");
    assert_eq!(releases(checkout), before);
}

fn a_good_release_loses_no_request(checkout: &Checkout) {
    checkout.set_in_template("axon", "RUST_LOG", "debug");
    checkout.set_in_template("orbit", "RUST_LOG", "debug");
    let traffic = Traffic::start("POST", format!("{}/dispatch", base_url(checkout)));
    let ran = checkout.xtask(&["deploy"]);
    let served = traffic.stop();
    ran.expect(
        0,
        &[
            "RUST_LOG",
            "rolled out demo-axon:2",
            "rolled out demo-orbit:2",
        ],
    );
    assert!(served.answered > 10, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

fn a_release_that_fails_goes_back(checkout: &Checkout) {
    let axon = checkout.read("task-definitions/axon.json");
    let orbit = checkout.read("task-definitions/orbit.json");
    checkout.set_in_template("axon", "RUST_LOG", "info,axon=debug");
    checkout.set_in_template("orbit", "PORT", "eighty");
    let ran = checkout.xtask(&["deploy"]);
    ran.expect(
        20,
        &[
            "rolled out demo-axon:3",
            "failed",
            "EssentialContainerExited",
            "exit code",
            "PORT",
            "rolled back orbit to demo-orbit:2",
            "rolled back axon to demo-axon:2",
        ],
    );
    let status = checkout.json(&["status"]);
    assert_eq!(status["services"]["axon"]["revision"], "demo-axon:2");
    assert_eq!(status["services"]["orbit"]["revision"], "demo-orbit:2");
    assert_eq!(status["newest_release"]["state"], "back");
    a_dispatch_is_answered(checkout);
    checkout.write("task-definitions/axon.json", &axon);
    checkout.write("task-definitions/orbit.json", &orbit);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

fn rollback_goes_to_what_succeeded(checkout: &Checkout) {
    checkout
        .run_step("rollback", "Roll back", &[("RELEASE", "")])
        .expect(0, &["release 1", "rolled out demo-orbit:1"]);
    let status = checkout.json(&["status"]);
    assert_eq!(status["services"]["axon"]["revision"], "demo-axon:1");
    assert_eq!(status["newest_release"]["why"], "rollback to 1");
    a_dispatch_is_answered(checkout);
    checkout
        .run_step("rollback", "Roll back", &[("RELEASE", "3")])
        .expect(11, &["release 3 did not land"]);
}

fn of_two_deploys_one_wins(checkout: &Checkout) {
    let children = [checkout.start(&["deploy"]), checkout.start(&["deploy"])];
    let mut ran = children.map(Ran::of_child);
    ran.sort_by_key(|ran| ran.code);
    let [winner, loser] = ran;
    winner.expect(0, &["rolled out demo-orbit"]);
    loser.expect(11, &["in progress"]);
}

/// A runner that cancels a job interrupts the shell of its step: that has become xtask by then.
fn an_interrupted_rollout_is_gone_on_with(checkout: &Checkout) {
    checkout.set_in_template("orbit", "RUST_LOG", "info");
    let child = checkout.start_step("deploy", "Deploy");
    eventually("a rollout is under way", || {
        let status = checkout.xtask(&["status", "--format", "json"]).stdout;
        let status: Value = serde_json::from_str(status.trim()).unwrap_or_default();
        status["services"]["orbit"]["settled"] == false
    });
    interrupt(&child);
    Ran::of_child(child).expect(22, &["stopped watching", "cargo xtask deploy"]);
    let newest = checkout.json(&["status"])["newest_release"].clone();
    assert_eq!(newest["state"], "left");
    eventually("the rollout went on without us", || {
        checkout.json(&["status"])["services"]["orbit"]["settled"] == true
    });
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

fn stopped_services_are_started_again(checkout: &Checkout) {
    checkout
        .xtask(&["rollback", "--stop"])
        .expect(0, &["orbit", "deregistered"]);
    let status = checkout.json(&["status"]);
    assert_eq!(status["services"]["axon"]["running"], 0);
    checkout
        .xtask(&["verify", "--deployed"])
        .expect(30, &["FAIL  Services deploy to ECS successfully"]);
    checkout
        .xtask(&["rollback"])
        .expect(0, &["rolled out demo-axon"]);
    a_dispatch_is_answered(checkout);
}

/// Killed, it forgets everything that was not saved, while Terraform's state remembers it: the
/// next release is the first one again, and one that fails goes back to nothing.
fn a_crash_of_the_local_aws_is_mended(checkout: &Checkout) {
    checkout.kill_local_aws();
    let orbit = checkout.read("task-definitions/orbit.json");
    checkout.set_in_template("orbit", "PORT", "eighty");
    checkout.xtask(&["deploy"]).expect(
        20,
        &[
            "rolled back orbit to none desired",
            "rolled back axon to none desired",
        ],
    );
    let status = checkout.json(&["status"]);
    assert_eq!(status["services"]["axon"]["desired"], 0);
    checkout.write("task-definitions/orbit.json", &orbit);
    checkout
        .xtask(&["deploy"])
        .expect(0, &["rolled out demo-orbit", "answered 200"]);
    a_dispatch_is_answered(checkout);
}

/// A clean stop keeps the state: what ran before runs again, and nothing is released.
fn what_was_taken_down_comes_back(checkout: &Checkout) {
    let before = releases(checkout);
    checkout.xtask(&["local", "down"]).expect(0, &[]);
    assert_eq!(checkout.containers(), Vec::<String>::new());
    checkout.xtask(&["local", "up"]).expect(0, &[]);
    checkout.xtask(&["local", "up"]).expect(0, &[]);
    a_dispatch_is_answered(checkout);
    assert_eq!(releases(checkout), before);
}

/// Beside a Secrets Manager whose answers are stale for longer than tasks take to ask again: they go
/// back to the former key and forth.
fn a_rotation_of_the_key_loses_no_request(checkout: &Checkout) {
    let traffic = Traffic::start("POST", format!("{}/dispatch", base_url(checkout)));
    let ran = checkout.xtask(&["secrets", "rotate"]);
    let served = traffic.stop();
    let steps = [
        "is to know a new key beside the old one",
        "is to sign with the new key",
        "is to forget the old key",
    ];
    ran.expect(0, &steps);
    assert!(served.answered > 100, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

fn down_leaves_nothing(checkout: &Checkout) {
    checkout.xtask(&["local", "down"]).expect(0, &[]);
    assert_eq!(checkout.containers(), Vec::<String>::new());
    assert!(
        TcpStream::connect(("127.0.0.1", checkout.port())).is_err(),
        "the port is taken still"
    );
    checkout.xtask(&["local", "down"]).expect(0, &[]);
}
