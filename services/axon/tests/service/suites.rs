//! Suites by others. `cargo xtask test --long` names their programs; else they look at nothing.

use kit_testing::process::ServiceProcess;
use kit_testing::suites;

use crate::process::AXON;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn schemathesis_finds_nothing() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0")]);
    suites::schemathesis(axon.address(), 300, FOLDER, SCRATCH);
}

#[test]
fn h2load_loses_no_request() {
    // Its address is in a line of the program; 20,000 lines of requests are not read.
    let levels = "warn,service_kit::program=info";
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("RUST_LOG", levels)]);
    suites::h2load(axon.address(), "/reason");
}
