//! Rules about containers: privileges, limits and dependencies.

use serde_json::Value;

use super::network::{is_root, user};
use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;

/// The default of Fargate.
const OPEN_FILES_DEFAULT: i64 = 65_535;

/// T24
pub(super) fn root_user(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let rooted = containers
        .iter()
        .enumerate()
        .filter(|(index, container)| user(input, *index, container).is_none_or(is_root));
    rooted
        .map(|(_, container)| {
            let what = match container.user() {
                Some(user) => format!("is {user}"),
                None => "not set".to_owned(),
            };
            fault(
                container.0.path_of("user"),
                what,
                "set UID:GID, such as 65532:65532",
            )
        })
        .collect()
}

/// T28
pub(super) fn dependencies(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let find = |name: &str| {
        containers
            .iter()
            .find(|container| container.name() == Some(name))
    };
    let mut faults = Vec::new();
    if !containers.iter().any(ContainerDefinition::essential) {
        let what = "no container is essential";
        faults.push(fault(
            "containerDefinitions",
            what,
            "set \"essential\": true in one",
        ));
    }
    for dependency in containers
        .iter()
        .flat_map(|container| container.0.items("dependsOn"))
    {
        let name = dependency.text("containerName").unwrap_or_default();
        let condition = dependency.text("condition").unwrap_or_default();
        let json_path = dependency.path_of("condition");
        match find(name) {
            None => {
                let what = format!("no container is named {name}");
                let remedy = "use the name of another container";
                faults.push(fault(dependency.path_of("containerName"), what, remedy));
            }
            Some(other) if other.essential() && matches!(condition, "COMPLETE" | "SUCCESS") => {
                let what = format!("{name} is essential, so the task stops when it exits");
                let remedy = format!("use START or HEALTHY, or set \"essential\": false in {name}");
                faults.push(fault(json_path, what, remedy));
            }
            Some(other) if condition == "HEALTHY" && other.health_check_command().is_empty() => {
                let what = format!("{name} has no healthCheck");
                faults.push(fault(
                    json_path,
                    what,
                    format!("add a healthCheck to {name}, or use START"),
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(names) = cycle(&containers) {
        let what = format!("{names} depend on each other");
        faults.push(fault(
            "containerDefinitions",
            what,
            "remove the cycle from dependsOn",
        ));
    }
    faults
}

/// The containers of a dependency cycle, none of which can start.
fn cycle(containers: &[ContainerDefinition<'_>]) -> Option<String> {
    let mut waiting: Vec<&ContainerDefinition<'_>> = containers.iter().collect();
    loop {
        let names: Vec<Option<&str>> = waiting.iter().map(|container| container.name()).collect();
        let is_blocked = |container: &&ContainerDefinition<'_>| {
            let dependencies = container.0.items("dependsOn");
            dependencies.iter().any(|dependency| {
                let name = dependency.text("containerName");
                name.is_some() && names.contains(&name)
            })
        };
        let blocked: Vec<&ContainerDefinition<'_>> =
            waiting.iter().copied().filter(is_blocked).collect();
        if blocked.is_empty() {
            return None;
        }
        if blocked.len() == waiting.len() {
            let names: Vec<&str> = blocked
                .iter()
                .filter_map(|container| container.name())
                .collect();
            return Some(names.join(", "));
        }
        waiting = blocked;
    }
}

/// T29
pub(super) fn essential_by_default(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let unset = containers
        .iter()
        .skip(1)
        .filter(|container| container.0.get("essential").is_none());
    unset
        .map(|container| {
            let json_path = container.0.path_of("essential");
            fault(
                json_path,
                "not set, so it defaults to true",
                "set true or false",
            )
        })
        .collect()
}

/// T30
pub(super) fn timeouts(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for container in input.definition.containers() {
        for key in ["startTimeout", "stopTimeout"] {
            let seconds = container.0.number(key);
            if let Some(seconds) = seconds.filter(|seconds| !(2..=120).contains(seconds)) {
                let what = format!("is {seconds} s");
                faults.push(fault(container.0.path_of(key), what, "set 2 to 120"));
            }
        }
    }
    faults
}

/// T34
pub(super) fn writable_root(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let writable = containers.iter().filter(|container| !container.read_only());
    writable
        .map(|container| {
            let json_path = container.0.path_of("readonlyRootFilesystem");
            fault(json_path, "not true", "set true")
        })
        .collect()
}

/// T36
pub(super) fn unsupported(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut faults = Vec::new();
    for (key, allowed) in [("pidMode", Some("task")), ("ipcMode", None)] {
        if let Some(mode) = root.text(key).filter(|mode| Some(*mode) != allowed) {
            faults.push(fault(key, format!("is {mode}"), "remove it"));
        }
    }
    for container in input.definition.containers() {
        let node = &container.0;
        let linux = node.get("linuxParameters");
        let refused = [
            "privileged",
            "links",
            "hostname",
            "extraHosts",
            "dockerSecurityOptions",
        ];
        let refused = refused.iter().filter_map(|key| node.get(key));
        let refused_linux = ["devices", "sharedMemorySize", "maxSwap", "swappiness"];
        let refused_linux = refused_linux
            .iter()
            .filter_map(|key| linux.as_ref()?.get(key));
        for member in refused
            .chain(refused_linux)
            .filter(|member| !is_no_op(member.value))
        {
            faults.push(fault(
                member.json_path,
                "not supported by Fargate",
                "remove it",
            ));
        }
        let capabilities = linux.and_then(|linux| linux.get("capabilities"));
        for added in capabilities
            .map(|node| node.items("add"))
            .unwrap_or_default()
        {
            if let Some(capability) = added.string().filter(|name| *name != "SYS_PTRACE") {
                let what = format!("Fargate does not allow {capability}");
                faults.push(fault(added.json_path.clone(), what, "remove it"));
            }
        }
    }
    faults
}

/// Whether the value has no effect: `false`, or an empty list.
fn is_no_op(value: &Value) -> bool {
    *value == Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty)
}

/// T37
pub(super) fn capabilities_kept(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let kept = containers
        .iter()
        .filter(|container| !container.capabilities_dropped().contains(&"ALL"));
    kept.map(|container| {
        let json_path = container.0.path_of("linuxParameters.capabilities.drop");
        fault(json_path, "ALL is not dropped", "set [\"ALL\"]")
    })
    .collect()
}

/// T38
pub(super) fn few_files(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let limits = containers
        .iter()
        .flat_map(|container| container.0.items("ulimits"));
    let files = limits.filter(|limit| limit.text("name") == Some("nofile"));
    files
        .filter_map(|limit| {
            let soft = limit
                .number("softLimit")
                .filter(|soft| *soft < OPEN_FILES_DEFAULT)?;
            let what = format!("{soft} files are fewer than the default of Fargate");
            let remedy = format!("remove it, or use at least {OPEN_FILES_DEFAULT}");
            Some(fault(limit.path_of("softLimit"), what, remedy))
        })
        .collect()
}

/// T58
pub(super) fn environment_files(input: &Input<'_>) -> Vec<LintFault> {
    const FILES_MAX: usize = 10;
    let mut faults = Vec::new();
    for container in input.definition.containers() {
        let files = container.0.items("environmentFiles");
        if files.len() > FILES_MAX {
            let what = format!("there are {} files", files.len());
            let remedy = format!("set {FILES_MAX} at most");
            faults.push(fault(container.0.path_of("environmentFiles"), what, remedy));
        }
        for file in files {
            let value = file.text("value").unwrap_or_default();
            let parts: Vec<&str> = value.split(':').collect();
            let is_object = matches!(parts[..], ["arn", _, "s3", "", "", key] if key.contains('/'));
            let is_env = value
                .rsplit_once('.')
                .is_some_and(|(_, extension)| extension == "env");
            if !is_object || !is_env {
                let what = format!("{value} is not the ARN of a .env file in S3");
                faults.push(fault(
                    file.path_of("value"),
                    what,
                    "set arn:aws:s3:::BUCKET/FILE.env",
                ));
            }
        }
    }
    faults
}
