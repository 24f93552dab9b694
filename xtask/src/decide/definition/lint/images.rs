//! Rules about the image of a container and the program that it starts.

use super::{Input, LintFault, fault};
use crate::decide::outputs::Architecture;

/// T25
pub(super) fn by_tag(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let images = containers
        .iter()
        .filter_map(|container| Some((container.0.path_of("image"), container.image()?)));
    let by_tag = images.filter(|(_, image)| !image.contains('@'));
    by_tag
        .map(|(json_path, image)| {
            let what = format!("{image} has no digest");
            fault(json_path, what, "set REPOSITORY@sha256:DIGEST")
        })
        .collect()
}

/// T26
pub(super) fn inconsistent_version(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.definition.containers();
    let disabled = containers
        .iter()
        .filter(|container| container.0.text("versionConsistency") == Some("disabled"));
    disabled
        .map(|container| {
            let json_path = container.0.path_of("versionConsistency");
            fault(json_path, "disabled", "set it to enabled, or remove it")
        })
        .collect()
}

/// T27
pub(super) fn other_architecture(input: &Input<'_>) -> Vec<LintFault> {
    let Some(image) = &input.facts.image else {
        return Vec::new();
    };
    let root = input.definition.root();
    let asked = root
        .get("runtimePlatform")
        .and_then(|platform| platform.text("cpuArchitecture"));
    let asked = asked.unwrap_or(Architecture::X86.ecs());
    let has = image.architecture.ecs();
    if asked == has {
        return Vec::new();
    }
    let what = format!("{asked}, but the image is for {has}");
    vec![fault(
        "runtimePlatform.cpuArchitecture",
        what,
        format!("set {has}, or build for {asked}"),
    )]
}

/// T33
pub(super) fn shell_form(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for (index, container) in input.definition.containers().iter().enumerate() {
        for key in ["entryPoint", "command"] {
            if is_shell_form(&container.0.texts(key)) {
                let what = "a shell runs the program";
                let remedy = "pass the program and its arguments as a list, or start it with exec";
                faults.push(fault(container.0.path_of(key), what, remedy));
            }
        }
        let Some(image) = input.facts.image.as_ref().filter(|_| index == 0) else {
            continue;
        };
        let entrypoint: Vec<&str> = image.entrypoint.iter().map(String::as_str).collect();
        if container.0.get("entryPoint").is_none() && is_shell_form(&entrypoint) {
            let what = "the image's entrypoint runs a shell, which runs the program";
            let remedy = "declare the entrypoint of the image as a list";
            faults.push(fault(container.0.path_of("image"), what, remedy));
        }
    }
    faults
}

/// Whether a shell stays the parent of the program: a script that uses `exec` replaces the shell.
fn is_shell_form(command: &[&str]) -> bool {
    let [shell, "-c", script, ..] = command else {
        return false;
    };
    let shell = shell.rsplit('/').next().unwrap_or_default();
    matches!(shell, "sh" | "bash" | "ash" | "dash") && !script.contains("exec ")
}
