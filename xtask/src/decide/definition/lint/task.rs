//! Rules about the task as a whole: its size, its roles, the requirements of Fargate. Every service
//! of this repository runs on Fargate.

use super::{Input, LintFault, fault};
use crate::decide::definition::node::Node;

/// CPU units, and the minimum, the maximum and the step of the memory in MiB.
const FARGATE_SIZES: [(i64, i64, i64, i64); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

/// T01
pub(super) fn fargate_pair(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let (Some(cpu_text), Some(memory_text)) = (root.text("cpu"), root.text("memory")) else {
        return Vec::new();
    };
    let size =
        cpu(cpu_text).and_then(|cpu| FARGATE_SIZES.into_iter().find(|(known, ..)| *known == cpu));
    let Some((_, least, most, step)) = size else {
        let what = format!("Fargate has no cpu size {cpu_text}");
        return vec![fault(
            "cpu",
            what,
            "set 256, 512, 1024, 2048, 4096, 8192 or 16384",
        )];
    };
    let fits = memory(memory_text).is_some_and(|memory| {
        // 256 CPU units go with 512, 1024 and 2048 MiB only.
        let is_gap = least == 512 && memory == 1536;
        (least..=most).contains(&memory) && (memory - least) % step == 0 && !is_gap
    });
    if fits {
        return Vec::new();
    }
    let what = format!("Fargate has no memory size {memory_text} for cpu {cpu_text}");
    let remedy = if least == 512 {
        "set 512, 1024 or 2048".to_owned()
    } else {
        format!("set {least} to {most} in steps of {step}")
    };
    vec![fault("memory", what, remedy)]
}

/// T02
pub(super) fn fargate_shape(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut faults = Vec::new();
    if !root.texts("requiresCompatibilities").contains(&"FARGATE") {
        let remedy = "set [\"FARGATE\"]";
        faults.push(fault(
            "requiresCompatibilities",
            "FARGATE is missing",
            remedy,
        ));
    }
    if root.text("networkMode") != Some("awsvpc") {
        let what = format!("is {}", root.text("networkMode").unwrap_or("missing"));
        faults.push(fault("networkMode", what, "set awsvpc"));
    }
    for key in ["cpu", "memory"] {
        if root.get(key).is_none() {
            let what = "not set for the task";
            faults.push(fault(key, what, "set it beside containerDefinitions"));
        }
    }
    faults
}

/// T04
pub(super) fn execution_role_missing(input: &Input<'_>) -> Vec<LintFault> {
    if input.definition.root().get("executionRoleArn").is_some() {
        return Vec::new();
    }
    let mut needed_for = Vec::new();
    for container in input.definition.containers() {
        let node = &container.0;
        if !node.items("secrets").is_empty() {
            needed_for.push("secrets");
        }
        if container
            .image()
            .is_some_and(|image| image.contains(".dkr.ecr."))
        {
            needed_for.push("an ECR image");
        }
        let logging = node.get("logConfiguration");
        if logging.is_some_and(|logging| logging.text("logDriver") == Some("awslogs")) {
            needed_for.push("awslogs");
        }
    }
    needed_for.dedup();
    if needed_for.is_empty() {
        return Vec::new();
    }
    let what = format!("not set, and the task uses {}", needed_for.join(" and "));
    vec![fault(
        "executionRoleArn",
        what,
        "set the ARN of the execution role",
    )]
}

/// T39
pub(super) fn ephemeral_storage(input: &Input<'_>) -> Vec<LintFault> {
    let storage = input
        .definition
        .root()
        .at(["ephemeralStorage", "sizeInGiB"]);
    let size = storage.and_then(|storage| storage.value.as_i64());
    match size.filter(|size| !(21..=200).contains(size)) {
        Some(size) => {
            let remedy = "use 21 to 200, or remove it for the default of 20";
            vec![fault(
                "ephemeralStorage.sizeInGiB",
                format!("is {size}"),
                remedy,
            )]
        }
        None => Vec::new(),
    }
}

/// T40
pub(super) fn sums(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let containers = input.definition.containers();
    let sum = |of: fn(&Node<'_>) -> Option<i64>| -> i64 {
        containers
            .iter()
            .filter_map(|container| of(&container.0))
            .sum()
    };
    let cpu_sum = sum(|node| node.number("cpu"));
    let memory_sum = sum(|node| {
        node.number("memory")
            .or_else(|| node.number("memoryReservation"))
    });
    let mut faults = Vec::new();
    for (key, limit, total) in [
        ("cpu", root.text("cpu").and_then(cpu), cpu_sum),
        ("memory", root.text("memory").and_then(memory), memory_sum),
    ] {
        if let Some(limit) = limit.filter(|limit| total > *limit) {
            let what = format!("the containers reserve {total}, the task has {limit}");
            faults.push(fault(
                key,
                what,
                format!("use at least {total}, or reserve less in a container"),
            ));
        }
    }
    for container in &containers {
        let node = &container.0;
        let (Some(hard), Some(soft)) = (node.number("memory"), node.number("memoryReservation"))
        else {
            continue;
        };
        if hard <= soft {
            let what = format!("{hard} is not more than the memoryReservation of {soft}");
            let remedy = format!("use more than {soft}, or remove memoryReservation");
            faults.push(fault(node.path_of("memory"), what, remedy));
        }
    }
    faults
}

/// T53
pub(super) fn roles(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut faults = Vec::new();
    for key in ["executionRoleArn", "taskRoleArn"] {
        let Some(arn) = root.text(key) else { continue };
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "iam", "", account, resource] = parts[..] else {
            let remedy = "set arn:aws:iam::ACCOUNT:role/NAME";
            faults.push(fault(
                key,
                format!("{arn} is not the ARN of a role"),
                remedy,
            ));
            continue;
        };
        if !resource.starts_with("role/") {
            let remedy = "set arn:aws:iam::ACCOUNT:role/NAME";
            faults.push(fault(key, format!("{resource} is not a role"), remedy));
        }
        if let Some(target) = input
            .facts
            .target
            .as_ref()
            .filter(|target| target.account_id != account)
        {
            let what = format!("belongs to account {account}");
            faults.push(fault(
                key,
                what,
                format!("use a role of {}", target.account_id),
            ));
        }
    }
    let task_role = root.text("taskRoleArn");
    if task_role.is_some() && task_role == root.text("executionRoleArn") {
        let what = "the same as the execution role, which may read every secret";
        faults.push(fault(
            "taskRoleArn",
            what,
            "use a role of the service's own",
        ));
    }
    faults
}

/// CPU units of `256`, `.25 vCPU` or `1 vCPU`.
fn cpu(text: &str) -> Option<i64> {
    with_unit(
        text,
        "vcpu",
        &[(".25", 256), ("0.25", 256), (".5", 512), ("0.5", 512)],
    )
}

/// MiB of `512`, `0.5 GB` or `1GB`.
fn memory(text: &str) -> Option<i64> {
    with_unit(text, "gb", &[(".5", 512), ("0.5", 512)])
}

fn with_unit(text: &str, unit: &str, fractions: &[(&str, i64)]) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let Some(amount) = text.strip_suffix(unit).map(str::trim) else {
        return text.parse().ok();
    };
    let fraction = fractions
        .iter()
        .find(|(known, _)| *known == amount)
        .map(|(_, value)| *value);
    fraction.or_else(|| Some(amount.parse::<i64>().ok()? * 1024))
}
