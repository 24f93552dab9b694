//! Rules about the log configuration of containers.

use super::arn::is_region;
use super::{Input, LintFault, fault};
use crate::decide::definition::model;
use crate::decide::definition::node::Node;

const FARGATE_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// The `logConfiguration` of every container that has one.
fn loggings<'a>(input: &Input<'a>) -> Vec<Node<'a>> {
    let containers = input.containers.iter();
    containers
        .filter_map(|container| container.0.get("logConfiguration"))
        .collect()
}

/// T13. On instances Docker takes the Region of the instance and the container's id for the stream.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html>
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
            let is_needed = input.platform.is_fargate || key == "awslogs-group";
            if is_needed && logging.at(["options", key]).is_none() {
                let json_path = format!("{}.{key}", logging.path_of("options"));
                faults.push(fault(json_path, "not set", remedy));
            }
        }
        let region = logging.at(["options", "awslogs-region"]);
        if let Some((node, region)) = region.and_then(|it| Some((it, it.string()?)))
            && !is_region(region)
        {
            let what = format!("`{region}` is no Region");
            faults.push(fault(
                node.json_path(),
                what,
                "set a Region such as us-east-1",
            ));
        }
        for (key, known) in [
            ("mode", ["blocking", "non-blocking"]),
            ("awslogs-create-group", ["true", "false"]),
        ] {
            let option = logging.at(["options", key]);
            let other = option.filter(|it| it.string().is_some_and(|it| !known.contains(&it)));
            if let Some(node) = other {
                let what = format!("is neither {} nor {}", known[0], known[1]);
                let remedy = format!("set {} or {}", known[0], known[1]);
                faults.push(fault(node.json_path(), what, remedy));
            }
        }
    }
    faults
}

/// T16
pub(super) fn driver(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    if !input.platform.is_fargate {
        return faults;
    }
    let known = model::choices("LogDriver");
    for logging in loggings(input) {
        let Some(driver) = logging.text("logDriver") else {
            continue;
        };
        // Others are told as what the API does not know.
        let is_known = driver == "none" || known.iter().any(|name| name == driver);
        if is_known && !FARGATE_DRIVERS.contains(&driver) {
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

/// T65
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/firelens-taskdef.html>
pub(super) fn firelens_pair(input: &Input<'_>) -> Vec<LintFault> {
    let routers = input.containers.iter();
    let routers: Vec<Node<'_>> = routers
        .filter_map(|container| container.0.get("firelensConfiguration"))
        .collect();
    let loggings = loggings(input);
    let users: Vec<&Node<'_>> = loggings
        .iter()
        .filter(|logging| logging.text("logDriver") == Some("awsfirelens"))
        .collect();
    let mut faults = Vec::new();
    for router in &routers {
        if users.is_empty() {
            let what = "no container has the log driver awsfirelens";
            let remedy = "set it where logs are to be routed, or remove this";
            faults.push(fault(router.json_path(), what, remedy));
        }
        let source = router.at(["options", "config-file-type"]);
        let is_known = |node: &Node<'_>| matches!(node.string(), Some("file" | "s3"));
        if let Some(node) = source.filter(|node| !is_known(node)) {
            faults.push(fault(
                node.json_path(),
                "is neither file nor s3",
                "set file or s3",
            ));
        }
    }
    for user in users.iter().filter(|_| routers.is_empty()) {
        let what = "no container has a firelensConfiguration";
        let remedy = "add the container of the log router, or use another driver";
        faults.push(fault(user.path_of("logDriver"), what, remedy));
    }
    faults
}
