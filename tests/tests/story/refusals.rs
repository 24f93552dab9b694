//! What a deploy refuses: one clear error with the file, the place and the remedy, and no change.

use crate::{Story, releases};

/// Templates, environments, names and outputs that are wrong.
pub(crate) fn input(story: &Story) {
    let checkout = story.deployed();
    let before = releases(checkout);
    let axon = checkout.read("task-definitions/axon.json");

    checkout.set_in_template("axon", "WHAT", "${UNKNOWN}");
    checkout.set_in_template("orbit", "WHAT", "${UNKNOWN_TOO}");
    checkout.xtask(&["deploy"]).expect(
        10,
        &[
            "task-definitions/axon.json",
            "UNKNOWN",
            "task-definitions/orbit.json",
            "UNKNOWN_TOO",
        ],
    );
    checkout.undo_edits();
    let unquoted = axon.replacen("\"cpu\": \"256\",", "\"cpu\": 256\"", 1);
    checkout.write("task-definitions/axon.json", &unquoted);
    checkout
        .xtask(&["deploy"])
        .expect(10, &["task-definitions/axon.json:8:"]);
    let memory = axon.replacen("\"512\"", "\"640\"", 1);
    checkout.write("task-definitions/axon.json", &memory);
    checkout.xtask(&["deploy"]).expect(10, &["T01", "640"]);
    checkout.undo_edits();

    checkout
        .xtask(&["deploy", "--env", "moon"])
        .expect(2, &["moon", "local, production, staging"]);
    checkout
        .xtask(&["deploy", "neptune"])
        .expect(2, &["neptune", "governance, axon or orbit"]);

    let outputs = checkout.published_outputs();
    let mut newer: serde_json::Value = serde_json::from_str(&outputs).expect("JSON");
    let version = newer["version"].as_u64().expect("a version") + 1;
    newer["version"] = version.into();
    newer.as_object_mut().expect("an object").remove("cluster");
    checkout.publish_outputs(&newer.to_string());
    let refused = [&format!("version {version}"), "missing: cluster"];
    checkout.xtask(&["deploy"]).expect(12, &refused);
    checkout.publish_outputs(&outputs);

    assert_eq!(releases(checkout), before);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

/// A bundle of other sources, and one with damaged files.
pub(crate) fn bundle(story: &Story) {
    let checkout = story.deployed();
    let before = releases(checkout);
    let build = ["build", "--out", "target/bundle"];
    let deploy = ["deploy", "--artifacts", "target/bundle"];
    let plan = ["plan", "--artifacts", "target/bundle"];
    checkout.xtask(&build).expect(0, &["nothing to compile"]);

    let source = checkout.read("services/axon/src/main.rs");
    checkout.write("services/axon/src/main.rs", &format!("{source}\n"));
    let refused = "target/bundle has no axon that was built from this checkout as it is";
    checkout.xtask(&deploy).expect(12, &[refused]);
    checkout.xtask(&plan).expect(12, &[refused]);
    checkout.undo_edits();

    checkout.damage("target/bundle", "governance", "zip");
    checkout.damage("target/bundle", "orbit", "cdx.json");
    let refused = [
        "governance in target/bundle is damaged",
        "orbit in target/bundle is damaged",
        "cargo xtask build --out target/bundle",
    ];
    checkout.xtask(&deploy).expect(12, &refused);
    checkout
        .xtask(&["deploy", "--artifacts", "nowhere"])
        .expect(2, &["nowhere", "no such folder"]);
    assert_eq!(releases(checkout), before);

    checkout.xtask(&build).expect(0, &["nothing to compile"]);
    checkout.xtask(&deploy).expect(0, &["nothing to do"]);
}

/// `infra/` has changed, and another Terraform holds the state's lock.
pub(crate) fn locked_state(story: &Story) {
    let checkout = story.deployed();
    let dashboard = checkout.read("infra/dashboard.tf");
    checkout.write("infra/dashboard.tf", &format!("{dashboard}# changed\n"));
    let before = releases(checkout);
    let mut holder = checkout.terraform_waiting();
    checkout.xtask(&["deploy"]).expect(
        11,
        &[
            "the state of local is locked by",
            "OperationTypeApply",
            "terraform force-unlock",
        ],
    );
    drop(holder.stdin.take());
    holder.wait().expect("terraform ends");
    assert_eq!(releases(checkout), before);
    checkout.undo_edits();
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

/// The shell has another account's credentials and endpoints: nothing is sent there.
pub(crate) fn another_account(story: &Story) {
    let checkout = story.deployed();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    elsewhere
        .set_nonblocking(true)
        .expect("a listener that does not block");
    let url = format!("http://{}", elsewhere.local_addr().expect("its address"));
    let shell = [
        ("AWS_ACCESS_KEY_ID", "AKIAOFANOTHERPLACE00"),
        ("AWS_SECRET_ACCESS_KEY", "of-another-place"),
        ("AWS_SESSION_TOKEN", "of-another-place"),
        ("AWS_PROFILE", "production"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ENDPOINT_URL_ECS", url.as_str()),
    ];
    checkout
        .xtask_with(&["deploy"], &shell)
        .expect(0, &["nothing to do"]);
    let staging = checkout.xtask_with(&["plan", "--env", "staging"], &shell);
    staging.expect(12, &["AWS_ENDPOINT_URL", "unset"]);
    assert!(
        elsewhere.accept().is_err(),
        "a request reached the other endpoint"
    );
}
