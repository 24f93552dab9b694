//! Rules about the log configuration of containers.

use super::{Input, LintFault, fault};
use crate::decide::definition::node::Node;

const FARGATE_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// The `logConfiguration` of every container that has one.
fn loggings<'a>(input: &Input<'a>) -> Vec<Node<'a>> {
    let containers = input.definition.containers();
    containers
        .iter()
        .filter_map(|container| container.0.get("logConfiguration"))
        .collect()
}

/// T13
pub(super) fn awslogs_options(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        if logging.text("logDriver") != Some("awslogs") {
            continue;
        }
        for (key, remedy) in [
            ("awslogs-group", "set the name of the log group"),
            ("awslogs-region", "set the Region of the log group"),
            ("awslogs-stream-prefix", "set ecs"),
        ] {
            if logging.at(["options", key]).is_none() {
                let json_path = format!("{}.{key}", logging.path_of("options"));
                faults.push(fault(json_path, "not set", remedy));
            }
        }
    }
    faults
}

/// T16
pub(super) fn driver(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        let driver = logging.text("logDriver").unwrap_or_default();
        if !FARGATE_DRIVERS.contains(&driver) {
            let what = format!("Fargate does not support the log driver {driver}");
            let remedy = "set awslogs, splunk or awsfirelens";
            faults.push(fault(logging.path_of("logDriver"), what, remedy));
        }
    }
    faults
}

/// T17
pub(super) fn mode(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        let is_awslogs = logging.text("logDriver") == Some("awslogs");
        if is_awslogs && logging.at(["options", "mode"]).is_none() {
            let json_path = format!("{}.mode", logging.path_of("options"));
            let remedy = "set non-blocking with a max-buffer-size, or blocking";
            faults.push(fault(json_path, "not set", remedy));
        }
    }
    faults
}
