//! A release whose run is killed, that loses its network, or that meets a hotfix by hand. Requests
//! are answered all the time.

use std::process::Child;

use e2e::{CheckoutCopy, Ran, Traffic, eventually};

use crate::{Story, base_url, releases, revision};

/// A release of both services; returns once axon's rollout is in progress.
fn release_under_way(checkout: &CheckoutCopy, arguments: &[&str], setting: &str) -> Child {
    for service in ["axon", "orbit"] {
        checkout.set_in_template(service, "RUST_LOG", setting);
    }
    let before = revision(checkout, "axon");
    let child = checkout.start(arguments);
    eventually("the rollout of axon has begun", || {
        revision(checkout, "axon") != before
    });
    child
}

fn lost_nothing(traffic: Traffic) {
    let served = traffic.stop();
    assert!(served.answered > 100, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

/// The next run sees that nobody works on it any more, and goes on.
pub(crate) fn killed(story: &Story) {
    let checkout = story.deployed();
    let traffic = Traffic::start("POST", &format!("{}/dispatch", base_url(checkout)));
    let mut child = release_under_way(checkout, &["deploy"], "info,killed=debug");
    child.kill().expect("kill xtask");
    child.wait().expect("wait for xtask");
    let said = ["nobody works on release", "answered 200"];
    checkout.xtask(&["deploy"]).expect(0, &said);
    lost_nothing(traffic);
    let releases = releases(checkout);
    assert_eq!(releases[0]["state"], "succeeded");
    assert_eq!(releases[1]["state"], "abandoned");
    assert_eq!(releases[0]["took_over"], releases[1]["number"]);
}

/// 45 seconds without a network in the middle, and a tenth of the calls spoiled besides.
pub(crate) fn blackout(story: &Story) {
    let checkout = story.deployed();
    let traffic = Traffic::start("POST", &format!("{}/dispatch", base_url(checkout)));
    for service in ["axon", "orbit"] {
        checkout.set_in_template(service, "RUST_LOG", "info,blackout=debug");
    }
    let faults = ["--seed=7", "--rate=0.1", "--stale=0.1", "--blackout=45s"];
    let rehearsal = [&["local", "rehearse"], &faults[..], &["--", "deploy"]].concat();
    let said = [
        "CALLS FAIL ON PURPOSE",
        "no answer",
        "no network",
        "answered 200",
    ];
    checkout.xtask(&rehearsal).expect(0, &said);
    lost_nothing(traffic);
    assert_eq!(releases(checkout)[0]["state"], "succeeded");
}

/// Somebody updates orbit by hand while axon is rolled out: that is left, and axon goes back.
pub(crate) fn hotfix(story: &Story) {
    let checkout = story.deployed();
    let (axon, hotfix) = (revision(checkout, "axon"), revision(checkout, "orbit"));
    checkout.set_in_template("orbit", "RUST_LOG", "info,before=debug");
    checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
    let traffic = Traffic::start("POST", &format!("{}/dispatch", base_url(checkout)));
    let child = release_under_way(checkout, &["deploy"], "info,hotfix=debug");
    checkout.update_service("demo-orbit", &hotfix);
    let said = [
        format!("superseded: orbit runs {hotfix}"),
        format!("axon        rolled back to {axon}"),
    ];
    Ran::of_child(child).expect(23, &said.each_ref().map(String::as_str));
    lost_nothing(traffic);
    assert_eq!(revision(checkout, "axon"), axon);
    assert_eq!(revision(checkout, "orbit"), hotfix);
    checkout.undo_edits();
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}
