//! Back to an earlier release, or to no running task.

use e2e::Ran;
use serde_json::json;

use crate::verify::statuses;
use crate::workflows::build_bundle;
use crate::{Story, dispatches_are_answered, releases, revision, status};

/// To the newest release that succeeded and does not run; then two deploys at once, of which one
/// goes forward again.
pub(crate) fn rollback(story: &Story) {
    let checkout = story.deployed();
    build_bundle(checkout);
    let before = revision(checkout, "orbit");
    let succeeded = releases(checkout)
        .into_iter()
        .find(|release| release["state"] == "succeeded");
    let target = succeeded.expect("a release that succeeded")["number"].clone();
    checkout.set_in_template("orbit", "RUST_LOG", "info");
    checkout
        .xtask(&["deploy"])
        .expect(0, &["rolled out demo-orbit:"]);
    assert_ne!(revision(checkout, "orbit"), before);

    let rolled_out = format!("rolled out {before}");
    checkout
        .run_step("rollback", "Roll back", &[("RELEASE", "")])
        .expect(0, &[&format!("release {target}"), &rolled_out]);
    let status = status(checkout);
    assert_eq!(status["services"]["orbit"]["revision"], before);
    assert_eq!(
        status["newest_release"]["why"],
        format!("rollback to {target}")
    );
    dispatches_are_answered(checkout);

    let held = format!("rolled back to release {target}");
    checkout.xtask(&["deploy"]).expect(11, &[&held, "unhold"]);
    checkout
        .run_step("rollback", "Let releases go on", &[])
        .expect(0, &["lifted"]);
    let children = [checkout.start(&["deploy"]), checkout.start(&["deploy"])];
    let mut ran = children.map(Ran::of_child);
    ran.sort_by_key(|ran| ran.code);
    let [winner, loser] = ran;
    winner.expect(0, &["rolled out demo-orbit"]);
    loser.expect(11, &["in progress"]);
}

/// Nothing runs, `verify` says so for each criterion of what is deployed, and a rollback starts it
/// again.
pub(crate) fn stop(story: &Story) {
    let checkout = story.deployed();
    checkout
        .xtask(&["rollback", "--stop"])
        .expect(0, &["orbit", "deregistered"]);
    for service in ["axon", "orbit"] {
        assert_eq!(status(checkout)["services"][service]["running"], 0);
    }
    let verify = ["verify", "--deployed", "--format", "json"];
    let statuses = statuses(&checkout.xtask(&verify).expect(30, &[]));
    let mut statuses: Vec<&str> = statuses.split(' ').collect();
    // Criterion 7 reads the logs of the last seconds, in which the tasks may still have written.
    statuses.remove(6);
    let failed = "FAIL FAIL FAIL FAIL FAIL FAIL SKIP SKIP SKIP FAIL FAIL";
    assert_eq!(statuses.join(" "), failed);
    checkout
        .xtask(&["rollback", "--no-hold"])
        .expect(0, &["rolled out demo-axon"]);
    dispatches_are_answered(checkout);
}

/// What no rollback needs is gone, and the last two releases can still be gone back to.
pub(crate) fn cleanup(story: &Story) {
    let checkout = story.deployed();
    let cleanup = ["cleanup", "--keep", "2"];
    let revisions = || {
        let of_axon = json!({ "familyPrefix": "demo-axon", "status": "ACTIVE" });
        let listed = checkout.ecs("ListTaskDefinitions", &of_axon);
        listed["taskDefinitionArns"].as_array().map_or(0, Vec::len)
    };
    let before = revisions();
    let dry_run = [&cleanup[..], &["--dry-run"]].concat();
    checkout
        .xtask(&dry_run)
        .expect(0, &["demo-axon:1", "record 1"]);
    assert_eq!(revisions(), before);
    checkout
        .xtask(&cleanup)
        .expect(0, &["removed demo-axon:1", "closed: succeeded"]);
    let left = revisions();
    assert!(
        (1..=3).contains(&left) && left < before,
        "{left} of {before}"
    );
    checkout.xtask(&cleanup).expect(0, &["nothing to remove"]);
    for _ in 0..2 {
        let back = ["rollback", "--no-hold"];
        checkout.xtask(&back).expect(0, &["answered 200"]);
    }
    dispatches_are_answered(checkout);
}
