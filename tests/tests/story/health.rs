//! Tasks that run and are not healthy, and who may call the local AWS.

use e2e::{Traffic, request};

use crate::{Story, base_url, dispatches_are_answered, revision};

/// A container that listens on another port gets no request: it fails the check of the load
/// balancer, ECS goes back, and those of before answer all the time.
pub(crate) fn never_listens(story: &Story) {
    let checkout = story.deployed();
    let before = revision(checkout, "axon");
    checkout.set_in_template("axon", "PORT", "8081");
    let traffic = Traffic::start("POST", &format!("{}/dispatch", base_url(checkout)));
    let ran = checkout.xtask(&["deploy"]);
    let served = traffic.stop();
    let told = [
        "why         Task failed ELB health checks in (target-group demo-axon)",
        "targets     Health checks failed",
        "event       (port 80) is unhealthy in (target-group demo-axon)",
        "ServiceSchedulerInitiated: Task failed ELB health checks",
        "axon        rolled back to demo-axon:",
    ];
    ran.expect(20, &told);
    assert!(served.answered > 100, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
    assert_eq!(revision(checkout, "axon"), before);
    checkout.undo_edits();
}

/// Nobody is served without the key, from a web page or by another host's name, and what is
/// addressed to the load balancer reaches nothing else.
pub(crate) fn door(story: &Story) {
    let checkout = story.deployed();
    let key = checkout.access_key("access_key_id");
    let signed = |key: &str| {
        format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/ecs/aws4_request")
    };
    let clusters = [(
        "X-Amz-Target",
        "AmazonEC2ContainerServiceV20141113.ListClusters",
    )];
    let ask = |method, path: &str, others: &[(&str, &str)]| {
        let headers = [&clusters, others].concat();
        let answer = request(method, &checkout.url(path), &headers, "{}");
        answer.expect("an answer of the local AWS").status
    };
    let (ours, other) = (signed(&key), signed("test"));
    let authorized = ("Authorization", ours.as_str());
    assert_eq!(ask("POST", "/", &[authorized]), 200);
    assert_eq!(ask("POST", "/", &[]), 403);
    assert_eq!(ask("POST", "/", &[("Authorization", &other)]), 403);
    let origin = ("Origin", "http://example.com");
    assert_eq!(ask("POST", "/", &[authorized, origin]), 403);
    assert_eq!(ask("GET", "/v2/credentials/1", &[authorized]), 403);
    assert_eq!(ask("GET", "/v2/", &[]), 401);
    let reset = "/_alb/demo-lb/_ministack/reset";
    assert_eq!(ask("POST", reset, &[]), 404, "orbit has no such route");
    assert_eq!(ask("POST", "/_ministack/reset", &[authorized]), 403);
    dispatches_are_answered(checkout);
}

/// The tests of the overlay, by the Python that runs it.
pub(crate) fn overlay(story: &Story) {
    let (succeeded, said) = story.deployed().run_overlay_tests();
    assert!(succeeded, "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}

/// The load balancer asks for what no task serves: the tasks of before fail too, and that is told at
/// once and not when the time of a rollout is over.
pub(crate) fn wrong_health_check(story: &Story) {
    let checkout = story.deployed();
    checkout.edit(
        "infra/modules/cluster/balancer.tf",
        "path                = \"/health\"",
        "path                = \"/nothing\"",
    );
    for service in ["axon", "orbit"] {
        checkout.set_in_template(service, "RUST_LOG", "info,path=debug");
    }
    let said = [
        "target health check fails: Health checks failed with these codes: [404]",
        "did not come back: target health check fails",
        "the cause is outside of this release",
    ];
    checkout.xtask(&["deploy"]).expect(21, &said);
    checkout.undo_edits();
    let said = ["applied", "answered 200"];
    checkout.xtask(&["deploy"]).expect(0, &said);
}
