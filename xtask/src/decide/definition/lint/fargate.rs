//! What Fargate does not have: of any task, and of one that runs Windows. ECS refuses to register
//! the definition where FARGATE is among its `requiresCompatibilities`.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>

use serde_json::Value;

use super::platform::Network;
use super::{Input, LintFault, fault};
use crate::decide::definition::node::Node;

const OF_CONTAINERS: [&str; 7] = [
    "disableNetworking",
    "dnsSearchDomains",
    "dnsServers",
    "dockerSecurityOptions",
    "extraHosts",
    "links",
    "privileged",
];
/// `tmpfs` is on AWS's list too, but ECS takes it.
const OF_LINUX: [&str; 4] = ["devices", "maxSwap", "sharedMemorySize", "swappiness"];
const OF_VOLUMES: [[&str; 2]; 3] = [
    ["host", "sourcePath"],
    ["dockerVolumeConfiguration", ""],
    ["fsxWindowsFileServerVolumeConfiguration", ""],
];
/// What a task has its own network interface for, so that Docker cannot set it.
const OF_AWSVPC: [&str; 3] = ["extraHosts", "hostname", "links"];

/// T36
pub(super) fn unsupported(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    let mut refuse = |node: Option<Node<'_>>, by: &str| {
        if let Some(node) = node.filter(|node| !is_no_op(node.value)) {
            let what = format!("not supported by {by}");
            faults.push(fault(node.json_path(), what, "remove it"));
        }
    };
    let is_awsvpc = input.platform.network == Network::Awsvpc;
    let is_fargate = input.platform.is_fargate;
    if is_fargate {
        of_the_task(input, &mut refuse);
    }
    for container in &input.containers {
        let node = &container.0;
        if is_fargate {
            for key in OF_CONTAINERS {
                refuse(node.get(key), "Fargate");
            }
            if let Some(linux) = node.get("linuxParameters") {
                for key in OF_LINUX {
                    refuse(linux.get(key), "Fargate");
                }
            }
            of_the_container(node, &mut refuse);
        }
        for key in OF_AWSVPC {
            let is_told = is_fargate && OF_CONTAINERS.contains(&key);
            if is_awsvpc && !is_told {
                refuse(node.get(key), "the network mode awsvpc");
            }
        }
        if !is_fargate && matches!(input.platform.network, Network::Host | Network::None) {
            refuse(node.get("links"), "any network mode but bridge");
        }
    }
    faults
}

fn of_the_task(input: &Input<'_>, refuse: &mut impl FnMut(Option<Node<'_>>, &str)) {
    let root = input.definition.root();
    refuse(root.get("placementConstraints"), "Fargate");
    refuse(root.get("ipcMode"), "Fargate");
    refuse(root.get("inferenceAccelerators"), "Fargate");
    refuse(
        root.get("pidMode")
            .filter(|mode| mode.string() != Some("task")),
        "Fargate",
    );
    for volume in root.items("volumes") {
        for [key, member] in OF_VOLUMES {
            let found = volume.get(key);
            let found = if member.is_empty() {
                found
            } else {
                volume.at([key, member])
            };
            refuse(found, "Fargate");
        }
    }
}

fn of_the_container(node: &Node<'_>, refuse: &mut impl FnMut(Option<Node<'_>>, &str)) {
    for resource in node.items("resourceRequirements") {
        refuse(resource.get("type"), "Fargate");
    }
    let capabilities = node.at(["linuxParameters", "capabilities"]);
    for added in capabilities
        .map(|node| node.items("add"))
        .unwrap_or_default()
    {
        let is_allowed = matches!(added.string(), Some("SYS_PTRACE" | "CAP_SYS_PTRACE"));
        refuse(Some(added).filter(|_| !is_allowed), "Fargate");
    }
    let source = node.at(["firelensConfiguration", "options", "config-file-type"]);
    refuse(
        source.filter(|source| source.string() == Some("s3")),
        "Fargate",
    );
}

/// T68
pub(super) fn windows(input: &Input<'_>) -> Vec<LintFault> {
    const OF_TASK: [&str; 3] = ["ephemeralStorage", "pidMode", "proxyConfiguration"];
    const OF_CONTAINER: [&str; 6] = [
        "firelensConfiguration",
        "linuxParameters",
        "readonlyRootFilesystem",
        "systemControls",
        "ulimits",
        "user",
    ];
    if !input.platform.is_windows || !input.platform.is_fargate {
        return Vec::new();
    }
    let root = input.definition.root();
    let volumes = root.items("volumes").into_iter();
    let efs = volumes.filter_map(|volume| volume.get("efsVolumeConfiguration"));
    let of_task = OF_TASK.iter().filter_map(|key| root.get(key));
    // T36 has told what no task of Fargate may have.
    let of_task = of_task.filter(|node| node.string() != Some("host"));
    let of_containers = input
        .containers
        .iter()
        .flat_map(|container| OF_CONTAINER.iter().filter_map(|key| container.0.get(key)));
    let found = of_task.chain(efs).chain(of_containers);
    let mut faults: Vec<LintFault> = found
        .filter(|node| !is_no_op(node.value))
        .map(|node| {
            let what = "not supported by Windows on Fargate";
            fault(node.json_path(), what, "remove it")
        })
        .collect();
    let architecture = root.at(["runtimePlatform", "cpuArchitecture"]);
    if let Some(node) = architecture.filter(|node| node.string() == Some("ARM64")) {
        faults.push(fault(
            node.json_path(),
            "Windows runs on X86_64 only",
            "set X86_64",
        ));
    }
    faults
}

/// Whether the value has no effect: `false`, an empty text or list, or an object of such.
fn is_no_op(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_no_op),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
