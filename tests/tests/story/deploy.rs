//! Deploys that succeed, that have nothing to do, that fail and that are interrupted.

use e2e::{CheckoutCopy, Ran, Traffic, eventually, interrupt};
use serde_json::Value;

use crate::workflows::build_bundle;
use crate::{Story, base_url, dispatches_are_answered, releases, revision, status};

/// From nothing to an answered dispatch.
pub(crate) fn first_deploy(story: &Story) {
    let checkout = &*story.checkout;
    checkout
        .xtask(&["status"])
        .expect(12, &["the local AWS does not run", "cargo xtask deploy"]);
    let before = checkout.changed_files();
    let ran = checkout.xtask(&["deploy"]);
    assert_eq!(
        checkout.changed_files(),
        before,
        "a deploy keeps its files below target/"
    );
    assert!(
        !ran.all().contains("compiled in"),
        "the artifacts came with the copy"
    );
    let rolled_out = [
        "governance",
        "rolled out demo-axon:1",
        "rolled out demo-orbit:1",
        "answered 200",
    ];
    ran.expect(0, &rolled_out);
    let status = status(checkout);
    for service in ["axon", "orbit"] {
        let service = &status["services"][service];
        assert_eq!(
            (&service["desired"], &service["running"]),
            (&Value::from(2), &Value::from(2))
        );
        assert_eq!(service["release"], 1);
        let image = service["image"].as_str();
        assert!(image.is_some_and(|image| image.starts_with("sha256:")));
    }
    logs_are_json(checkout);
    dispatches_are_answered(checkout);
    // Loopback, and Docker's bridge for containers.
    let addresses = checkout.listening_addresses();
    assert!(addresses.contains(&"127.0.0.1".to_owned()), "{addresses:?}");
    assert!(
        addresses.len() == 2 && !addresses.contains(&"0.0.0.0".to_owned()),
        "{addresses:?}"
    );
}

fn logs_are_json(checkout: &CheckoutCopy) {
    let logs = || checkout.xtask(&["logs", "orbit"]).expect(0, &[]).stdout;
    // A line arrives a moment after the answer that it is about.
    eventually("the dispatch is in the logs", || {
        logs().contains("release-1")
    });
    for line in logs().lines() {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|it| it.is_object()),
            "{line}"
        );
    }
}

pub(crate) fn nothing_to_do(story: &Story) {
    let checkout = story.deployed();
    let before = releases(checkout);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
    checkout.xtask(&["plan"]).expect(0, &["nothing to do"]);
    assert_eq!(releases(checkout), before);
    let planned = checkout.terraform_plan();
    assert!(planned.contains("No changes."), "{planned}");
}

/// A release of both services loses no request.
pub(crate) fn change(story: &Story) {
    let checkout = story.deployed();
    let before = ["axon", "orbit"].map(|service| revision(checkout, service));
    checkout.set_in_template("axon", "RUST_LOG", "debug");
    checkout.set_in_template("orbit", "RUST_LOG", "debug");
    let traffic = Traffic::start("POST", &format!("{}/dispatch", base_url(checkout)));
    let ran = checkout.xtask(&["deploy"]);
    let served = traffic.stop();
    let after = ["axon", "orbit"].map(|service| revision(checkout, service));
    let rolled_out = after
        .clone()
        .map(|revision| format!("rolled out {revision}"));
    ran.expect(0, &["RUST_LOG", &rolled_out[0], &rolled_out[1]]);
    assert!(before[0] != after[0] && before[1] != after[1], "{after:?}");
    assert!(served.answered > 10, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

/// Orbit's tasks exit at once: ECS's circuit breaker rolls it back, and xtask rolls axon back.
pub(crate) fn broken_image(story: &Story) {
    let checkout = story.deployed();
    let [axon, orbit] = ["axon", "orbit"].map(|service| revision(checkout, service));
    checkout.set_in_template("axon", "RUST_LOG", "info,axon=debug");
    checkout.set_in_template("orbit", "METRICS_NAMESPACE", "AWS/demo");
    let explained = [
        "rolled out demo-axon:",
        "failed",
        "EssentialContainerExited",
        "exit code",
        "METRICS_NAMESPACE",
        &format!("orbit       rolled back to {orbit}"),
        &format!("axon        rolled back to {axon}"),
    ];
    checkout.xtask(&["deploy"]).expect(20, &explained);
    let status = status(checkout);
    assert_eq!(status["services"]["axon"]["revision"], axon);
    assert_eq!(status["services"]["orbit"]["revision"], orbit);
    assert_eq!(status["newest_release"]["state"], "rolled_back");
    dispatches_are_answered(checkout);

    build_bundle(checkout);
    let failed = status["newest_release"]["number"].to_string();
    checkout
        .run_step("rollback", "Roll back", &[("RELEASE", &failed)])
        .expect(11, &[&format!("release {failed} did not succeed")]);
    checkout.undo_edits();
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

/// A runner that cancels a job interrupts the shell of its step, which xtask has replaced. ECS
/// finishes the rollout, and the next deploy finds nothing to do.
pub(crate) fn interruption(story: &Story) {
    let checkout = story.deployed();
    build_bundle(checkout);
    checkout.set_in_template("orbit", "RUST_LOG", "info,orbit=debug");
    let child = checkout.start_step("deploy", "Deploy");
    let is_settled = || {
        let status = checkout.xtask(&["status", "--format", "json"]).stdout;
        let status: Value = serde_json::from_str(status.trim()).unwrap_or_default();
        status["services"]["orbit"]["settled"].as_bool()
    };
    eventually("a rollout is in progress", || is_settled() == Some(false));
    interrupt(&child);
    Ran::of_child(child).expect(22, &["stopped watching", "cargo xtask deploy"]);
    assert_eq!(status(checkout)["newest_release"]["state"], "detached");
    eventually("ECS finishes the rollout", || is_settled() == Some(true));
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}
