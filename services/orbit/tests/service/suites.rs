//! Suites by others. `cargo xtask test --long` names their programs; else they look at nothing.

use kit_testing::process::ServiceProcess;
use kit_testing::stub::StubServer;
use kit_testing::suites;

use crate::process::ORBIT;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// Governance allows everything, and axon answers.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let governance = StubServer::answering(200, r#"{"allowed":true}"#).await;
    let axon = StubServer::answering(200, r#"{"message":"Axon heartbeat OK"}"#).await;
    let variables = [
        ("PORT", "0"),
        ("GOVERNANCE_FUNCTION_URL", &governance.url("/")),
        ("AXON_SERVICE_URL", &axon.url("/reason")),
    ];
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    tokio::task::block_in_place(|| suites::schemathesis(orbit.address(), 300, FOLDER, SCRATCH));
}
