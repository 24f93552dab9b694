//! Rules about containers: privileges, limits and dependencies.

use std::collections::HashMap;

use super::arn::Arn;
use super::network::{is_root, user};
use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;

/// The default of Fargate.
const OPEN_FILES_DEFAULT: i64 = 65_535;

/// T24
pub(super) fn root_user(input: &Input<'_>) -> Vec<LintFault> {
    if input.platform.is_windows {
        return Vec::new();
    }
    let containers = input.containers.iter().enumerate();
    let rooted =
        containers.filter(|(index, container)| user(input, *index, container).is_none_or(is_root));
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
    let containers = &input.containers;
    let named = containers.iter().enumerate();
    let named = named.filter_map(|(index, it)| Some((it.name()?, index)));
    let by_name: HashMap<&str, usize> = named.collect();
    let mut faults = Vec::new();
    let has_list = input
        .definition
        .root()
        .get("containerDefinitions")
        .is_some();
    if has_list && !containers.iter().any(ContainerDefinition::essential) {
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
        let Some(name) = dependency.text("containerName") else {
            continue;
        };
        let condition = dependency.text("condition").unwrap_or_default();
        let json_path = dependency.path_of("condition");
        match by_name.get(name).map(|index| &containers[*index]) {
            None => {
                let what = format!("no container is named `{name}`");
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
    if let Some(names) = cycle(containers, &by_name) {
        let what = format!("{names} depend on each other");
        faults.push(fault(
            "containerDefinitions",
            what,
            "remove the cycle from dependsOn",
        ));
    }
    faults
}

/// The containers of dependency cycles, and those that wait for one: none of them can start.
fn cycle(containers: &[ContainerDefinition<'_>], by_name: &HashMap<&str, usize>) -> Option<String> {
    const NAMES_SHOWN: usize = 5;
    let mut awaited_by: Vec<Vec<usize>> = vec![Vec::new(); containers.len()];
    let mut waits_for = vec![0; containers.len()];
    for index in by_name.values() {
        for dependency in containers[*index].0.items("dependsOn") {
            let name = dependency.text("containerName");
            if let Some(other) = name.and_then(|name| by_name.get(name)) {
                awaited_by[*other].push(*index);
                waits_for[*index] += 1;
            }
        }
    }
    let mut started: Vec<usize> = by_name.values().copied().collect();
    started.retain(|index| waits_for[*index] == 0);
    while let Some(index) = started.pop() {
        for waiting in std::mem::take(&mut awaited_by[index]) {
            waits_for[waiting] -= 1;
            if waits_for[waiting] == 0 {
                started.push(waiting);
            }
        }
    }
    let blocked = by_name.iter().filter(|(_, index)| waits_for[**index] > 0);
    let mut blocked: Vec<&str> = blocked.map(|(name, _)| *name).collect();
    blocked.sort_unstable();
    match blocked.len() {
        0 => None,
        count if count > NAMES_SHOWN => {
            let shown = blocked[..NAMES_SHOWN].join(", ");
            Some(format!("{shown} and {} more", count - NAMES_SHOWN))
        }
        _ => Some(blocked.join(", ")),
    }
}

/// T29
pub(super) fn essential_by_default(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.containers.iter();
    let unset = containers
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
    if !input.platform.is_fargate {
        return faults;
    }
    for container in &input.containers {
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
    let containers = input.containers.iter();
    let writable =
        containers.filter(|container| !input.platform.is_windows && !container.read_only());
    writable
        .map(|container| {
            let json_path = container.0.path_of("readonlyRootFilesystem");
            fault(json_path, "not true", "set true")
        })
        .collect()
}

/// T37
pub(super) fn capabilities_kept(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input
        .containers
        .iter()
        .filter(|_| !input.platform.is_windows);
    let kept = containers.filter(|container| !container.capabilities_dropped().contains(&"ALL"));
    kept.map(|container| {
        let json_path = container.0.path_of("linuxParameters.capabilities.drop");
        fault(json_path, "ALL is not dropped", "set [\"ALL\"]")
    })
    .collect()
}

/// T38
pub(super) fn few_files(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input
        .containers
        .iter()
        .filter(|_| input.platform.is_fargate);
    let limits = containers.flat_map(|container| container.0.items("ulimits"));
    let files = limits.filter(|limit| limit.text("name") == Some("nofile"));
    files
        .filter_map(|limit| {
            let soft = limit
                .number("softLimit")
                .filter(|soft| (0..OPEN_FILES_DEFAULT).contains(soft))?;
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
    for container in &input.containers {
        let files = container.0.items("environmentFiles");
        if files.len() > FILES_MAX {
            let what = format!("there are {} files", files.len());
            let remedy = format!("set {FILES_MAX} at most");
            faults.push(fault(container.0.path_of("environmentFiles"), what, remedy));
        }
        for file in files {
            let Some(value) = file.text("value") else {
                continue;
            };
            let arn = Arn::parse(value);
            let is_object =
                arn.is_some_and(|arn| arn.service == "s3" && arn.resource.contains('/'));
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

/// T70
pub(super) fn variable_names(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for container in &input.containers {
        let settings = container.0.items("environment").into_iter();
        for setting in settings.chain(container.0.items("secrets")) {
            let Some(name) = setting.text("name") else {
                continue;
            };
            let what = if name.trim().is_empty() {
                "is empty"
            } else if name.contains('=') {
                "has a `=`, where the value would begin"
            } else if name.contains('\0') {
                "has a character that ends it"
            } else {
                continue;
            };
            let remedy = "write the name of the variable";
            faults.push(fault(setting.path_of("name"), what, remedy));
        }
    }
    faults
}
