//! Rules about where a container's output goes.

use super::{Fault, Input, fault};
use crate::decide::definition::node::Node;

const FARGATE_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// The logging of every container that has some.
fn loggings<'a>(input: &Input<'a>) -> Vec<Node<'a>> {
    let containers = input.definition.containers();
    containers
        .iter()
        .filter_map(|container| container.0.get("logConfiguration"))
        .collect()
}

/// T13
pub(super) fn awslogs_options(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        if logging.text("logDriver") != Some("awslogs") {
            continue;
        }
        for (key, remedy) in [
            ("awslogs-group", "write the name of the log group"),
            ("awslogs-region", "write the Region of the log group"),
            ("awslogs-stream-prefix", "write ecs"),
        ] {
            if logging.at(["options", key]).is_none() {
                let place = format!("{}.{key}", logging.place_of("options"));
                faults.push(fault(place, "there is none", remedy));
            }
        }
    }
    faults
}

/// T16
pub(super) fn driver(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        let driver = logging.text("logDriver").unwrap_or_default();
        if !FARGATE_DRIVERS.contains(&driver) {
            let what = format!("Fargate has no driver {driver}");
            let remedy = "write awslogs, splunk or awsfirelens";
            faults.push(fault(logging.place_of("logDriver"), what, remedy));
        }
    }
    faults
}

/// T17
pub(super) fn mode(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for logging in loggings(input) {
        let is_awslogs = logging.text("logDriver") == Some("awslogs");
        if is_awslogs && logging.at(["options", "mode"]).is_none() {
            let place = format!("{}.mode", logging.place_of("options"));
            let remedy = "write non-blocking with a max-buffer-size, or blocking";
            faults.push(fault(place, "it is not said", remedy));
        }
    }
    faults
}
