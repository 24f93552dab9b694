//! What a deploy refuses: each time one clear error that names the file, the place and the remedy,
//! and nothing is changed.

use e2e::Checkout;

use crate::releases;

pub(crate) fn bad_input(checkout: &Checkout) {
    let before = releases(checkout);
    let axon = checkout.read("task-definitions/axon.json");
    let orbit = checkout.read("task-definitions/orbit.json");

    checkout.set_in_template("axon", "WHAT", "${NOBODY_FILLS_THIS}");
    checkout.set_in_template("orbit", "WHAT", "${NOR_THIS}");
    checkout.xtask(&["deploy"]).expect(
        10,
        &[
            "task-definitions/axon.json",
            "NOBODY_FILLS_THIS",
            "task-definitions/orbit.json",
            "NOR_THIS",
        ],
    );
    checkout.write("task-definitions/orbit.json", &orbit);
    checkout.write(
        "task-definitions/axon.json",
        &axon.replacen("\"cpu\": \"256\",", "\"cpu\": 256\"", 1),
    );
    checkout
        .xtask(&["deploy"])
        .expect(10, &["task-definitions/axon.json:8:"]);
    checkout.write(
        "task-definitions/axon.json",
        &axon.replacen("\"512\"", "\"640\"", 1),
    );
    checkout.xtask(&["deploy"]).expect(10, &["T01", "640"]);
    checkout.write("task-definitions/axon.json", &axon);

    checkout
        .xtask(&["deploy", "--env", "moon"])
        .expect(2, &["moon", "local, production, staging"]);
    checkout
        .xtask(&["deploy", "neptune"])
        .expect(2, &["neptune", "governance, axon, orbit"]);

    let outputs = checkout.parameter("/demo/local/outputs");
    let other = outputs
        .replacen("\"version\":1", "\"version\":2", 1)
        .replacen("\"cluster\"", "\"klaster\"", 1);
    checkout.set_parameter("/demo/local/outputs", &other);
    checkout
        .xtask(&["deploy"])
        .expect(12, &["version 2", "missing: cluster"]);
    checkout.set_parameter("/demo/local/outputs", &outputs);

    assert_eq!(releases(checkout), before);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

/// The bundle that the workflows' steps have left, beside other sources and with other bytes.
pub(crate) fn a_bundle_of_something_else(checkout: &Checkout) {
    let before = releases(checkout);
    let deploy = ["deploy", "--artifacts", "target/bundle"];
    let plan = ["plan", "--artifacts", "target/bundle"];
    let source = checkout.read("services/axon/src/main.rs");
    checkout.write("services/axon/src/main.rs", &format!("{source}\n"));
    let refused = "target/bundle has no axon that was built of this checkout as it is";
    checkout.xtask(&deploy).expect(12, &[refused]);
    checkout.xtask(&plan).expect(12, &[refused]);
    checkout.write("services/axon/src/main.rs", &source);

    checkout.damage("target/bundle", "governance", "zip");
    checkout.damage("target/bundle", "orbit", "cdx.json");
    let refused = [
        "the bytes of governance in target/bundle are not those that were packed",
        "the bytes of orbit in target/bundle are not those that were packed",
        "cargo xtask build --out target/bundle",
    ];
    checkout.xtask(&deploy).expect(12, &refused);
    checkout
        .xtask(&["deploy", "--artifacts", "nowhere"])
        .expect(2, &["nowhere", "no such folder"]);
    assert_eq!(releases(checkout), before);

    checkout
        .xtask(&["build", "--out", "target/bundle"])
        .expect(0, &["nothing to compile"]);
    checkout.xtask(&deploy).expect(0, &["nothing to do"]);
}

pub(crate) fn a_state_that_somebody_holds(checkout: &Checkout) {
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
    // Without an answer it gives up, and the state is free.
    drop(holder.stdin.take());
    holder.wait().expect("terraform ends");
    assert_eq!(releases(checkout), before);
    checkout.write("infra/dashboard.tf", &dashboard);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
}

/// Credentials and endpoints of another place: nothing may reach it, nothing may change.
pub(crate) fn the_shell_of_another_account(checkout: &Checkout) {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    elsewhere
        .set_nonblocking(true)
        .expect("a listener that does not wait");
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
        "something reached the other place"
    );
}
