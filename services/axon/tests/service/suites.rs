//! Suites by others. `cargo xtask test --long` runs them.

use kit_testing::process::ServiceProcess;
use kit_testing::suites;

use crate::process::AXON;

#[test]
#[ignore = "needs schemathesis"]
fn schemathesis_finds_nothing() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0")]);
    suites::schemathesis(axon.address(), 300);
}

#[test]
#[ignore = "needs h2load"]
fn h2load_loses_no_request() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("RUST_LOG", "warn")]);
    suites::h2load(axon.address(), "/reason");
}
