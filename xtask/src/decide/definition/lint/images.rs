//! Rules about a container's image and about what it starts.

use super::{Fault, Input, fault};
use crate::decide::outputs::Architecture;

/// T25
pub(super) fn by_tag(input: &Input<'_>) -> Vec<Fault> {
    let containers = input.definition.containers();
    let images = containers
        .iter()
        .filter_map(|container| Some((container.0.place_of("image"), container.image()?)));
    let by_tag = images.filter(|(_, image)| !image.contains('@'));
    by_tag
        .map(|(place, image)| {
            let what = format!("{image} is not named by its digest");
            fault(place, what, "write REPOSITORY@sha256:DIGEST")
        })
        .collect()
}

/// T26
pub(super) fn inconsistent_version(input: &Input<'_>) -> Vec<Fault> {
    let containers = input.definition.containers();
    let disabled = containers
        .iter()
        .filter(|container| container.0.text("versionConsistency") == Some("disabled"));
    disabled
        .map(|container| {
            let place = container.0.place_of("versionConsistency");
            fault(place, "it is disabled", "write enabled, or leave it out")
        })
        .collect()
}

/// T27
pub(super) fn other_architecture(input: &Input<'_>) -> Vec<Fault> {
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
    let what = format!("it is {asked}, and the image is for {has}");
    vec![fault(
        "runtimePlatform.cpuArchitecture",
        what,
        format!("write {has}, or build for {asked}"),
    )]
}

/// T33
pub(super) fn shell_form(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, container) in input.definition.containers().iter().enumerate() {
        for key in ["entryPoint", "command"] {
            if is_shell_form(&container.0.texts(key)) {
                let what = "it runs a shell, which runs the program";
                let remedy = "write the program and its arguments as a list, or exec before it";
                faults.push(fault(container.0.place_of(key), what, remedy));
            }
        }
        let Some(image) = input.facts.image.as_ref().filter(|_| index == 0) else {
            continue;
        };
        let entrypoint: Vec<&str> = image.entrypoint.iter().map(String::as_str).collect();
        if container.0.get("entryPoint").is_none() && is_shell_form(&entrypoint) {
            let what = "the image's entrypoint runs a shell, which runs the program";
            let remedy = "write the entrypoint of the image as a list";
            faults.push(fault(container.0.place_of("image"), what, remedy));
        }
    }
    faults
}

/// A script that ends with `exec` leaves no shell behind.
fn is_shell_form(command: &[&str]) -> bool {
    let [shell, "-c", script, ..] = command else {
        return false;
    };
    let shell = shell.rsplit('/').next().unwrap_or_default();
    matches!(shell, "sh" | "bash" | "ash" | "dash") && !script.contains("exec ")
}
