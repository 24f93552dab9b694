//! Suites by others, against a running service. `cargo xtask test --long` names their programs by
//! variables; without one a suite is skipped by name.

use std::net::SocketAddr;
use std::process::Output;

use crate::process::command;

/// Below the folder of a service's crate.
const SCHEMATHESIS_SETTINGS: &str = "../../xtask/tools/schemathesis.toml";

/// Sends requests that the `openapi.json` of the crate in a folder describes, and some that it does
/// not, and holds the answers to it. Panics where one is otherwise. `scratch` is for its cache.
pub fn schemathesis(address: SocketAddr, examples: u32, folder: &str, scratch: &str) {
    let url = format!("http://{address}");
    let settings = format!("{folder}/{SCHEMATHESIS_SETTINGS}");
    let document = format!("{folder}/openapi.json");
    let examples = examples.to_string();
    // The same requests in each run.
    let arguments = [
        "--config-file",
        &settings,
        "run",
        &document,
        "--url",
        &url,
        "--checks",
        "all",
        "--phases",
        "coverage,fuzzing",
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--no-color",
        "--max-examples",
        &examples,
    ];
    let Some(output) = suite("SCHEMATHESIS", &arguments, scratch) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("No issues found"), "{said}");
}

/// 20,000 requests over 40 connections of HTTP/2 with 10 streams each. Panics unless all are
/// answered with 2xx.
pub fn h2load(address: SocketAddr, path: &str) {
    let url = format!("http://{address}{path}");
    let arguments = ["-n", "20000", "-c", "40", "-m", "10", &url];
    let Some(output) = suite("H2LOAD", &arguments, ".") else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let all = "20000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(all), "{said}");
    assert!(said.contains("status codes: 20000 2xx"), "{said}");
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "says where a suite is, and that it is skipped"
)]
fn suite(variable: &str, arguments: &[&str], folder: &str) -> Option<Output> {
    let Ok(program) = std::env::var(variable) else {
        println!("SKIP: {variable} does not name the program");
        return None;
    };
    let mut suite = command(&program, &[]);
    Some(suite.args(arguments).current_dir(folder).output().unwrap())
}
