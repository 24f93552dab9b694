//! Two environments of one account, on one local AWS.

use e2e::{CheckoutCopy, request};
use serde_json::{Value, json};

use crate::{Story, base_url, dispatches_are_answered, releases, status};

const LOCAL: &str = "infra/environments/local.tfvars.json";
const SECOND: &str = "infra/environments/second.tfvars.json";

/// A second environment is deployed, answers and is stopped, and the first has the same releases,
/// revisions and infrastructure as before. With the same prefix it is refused.
pub(crate) fn second_environment(story: &Story) {
    let checkout = story.deployed();
    let before = state_of_local(checkout);

    let mut file: Value = serde_json::from_str(&checkout.read(LOCAL)).expect("JSON");
    file["environment"] = json!("second");
    checkout.write(SECOND, &file.to_string());
    checkout
        .xtask(&["deploy", "--env", "second"])
        .expect(12, &["their names begin with `demo`", "name_prefix"]);

    file["name_prefix"] = json!("second");
    checkout.write(SECOND, &file.to_string());
    checkout
        .xtask(&["deploy", "--env", "second"])
        .expect(0, &["answered 200"]);
    assert_eq!(dispatched(&of_second(checkout, "status")), 200);
    dispatches_are_answered(checkout);
    assert_eq!(state_of_local(checkout), before);

    checkout
        .xtask(&["rollback", "--stop", "--env", "second"])
        .expect(0, &[]);
    let stopped = of_second(checkout, "status");
    assert_eq!(stopped["services"]["axon"]["running"], 0);
    let states = of_second(checkout, "releases");
    assert_eq!(states.as_array().map(Vec::len), Some(2));
    dispatches_are_answered(checkout);
    assert_eq!(state_of_local(checkout), before);
    let planned = checkout.terraform_plan();
    assert!(planned.contains("No changes."), "{planned}");
}

fn state_of_local(checkout: &CheckoutCopy) -> (Value, Vec<Value>, String) {
    (status(checkout), releases(checkout), base_url(checkout))
}

fn of_second(checkout: &CheckoutCopy, command: &str) -> Value {
    checkout.json(&[command, "--env", "second"])
}

/// The status of a dispatch through the load balancer of an environment.
fn dispatched(status: &Value) -> u16 {
    let url = status["base_url"].as_str().expect("a base_url");
    let answer = request("POST", &format!("{url}/dispatch"), &[], "");
    answer.expect("an answer").status
}
