//! Rules about the image of a container and the program that it starts.

use std::collections::BTreeSet;

use super::health::{has_file, has_program, program_paths};
use super::{Facts, Input, LintFault, fault};
use crate::decide::artifact::types::ImageFacts;
use crate::decide::definition::container::ContainerDefinition;
use crate::decide::outputs::Architecture;

/// T25
pub(super) fn by_tag(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.containers.iter();
    let images =
        containers.filter_map(|container| Some((container.0.path_of("image"), container.image()?)));
    let by_tag = images.filter(|(json_path, image)| {
        let is_known = !input.unresolved.contains(json_path) || image.ends_with(":latest");
        is_known && !image.is_empty() && !image.contains('@')
    });
    by_tag
        .map(|(json_path, image)| {
            let what = format!("{image} has no digest");
            fault(json_path, what, "set REPOSITORY@sha256:DIGEST")
        })
        .collect()
}

/// T26
pub(super) fn inconsistent_version(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.containers.iter();
    let disabled =
        containers.filter(|container| container.0.text("versionConsistency") == Some("disabled"));
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
    let ending = awaited_to_end(input);
    let mut faults = Vec::new();
    for (index, container) in input.containers.iter().enumerate() {
        // What runs to its end before others start is not stopped by a signal.
        if container.name().is_some_and(|name| ending.contains(name)) {
            continue;
        }
        let entry_point = container.0.texts("entryPoint");
        let command = container.0.texts("command");
        let whole: Vec<&str> = entry_point.iter().chain(&command).copied().collect();
        let key = if is_shell_form(&entry_point) || is_shell_form(&whole) && !entry_point.is_empty()
        {
            Some("entryPoint")
        } else {
            is_shell_form(&command).then_some("command")
        };
        if let Some(key) = key {
            let what = "a shell runs the program";
            let remedy = "pass the program and its arguments as a list, or start it with exec";
            faults.push(fault(container.0.path_of(key), what, remedy));
        }
        let Some(image) = input.image(index) else {
            continue;
        };
        let of_image: Vec<&str> = image.entrypoint.iter().map(String::as_str).collect();
        if container.0.get("entryPoint").is_none() && is_shell_form(&of_image) {
            let what = "the image's entrypoint runs a shell, which runs the program";
            let remedy = "declare the entrypoint of the image as a list";
            faults.push(fault(container.0.path_of("image"), what, remedy));
        }
    }
    faults
}

/// T73. Docker drops the image's CMD where the definition has an entry point.
pub(super) fn entry_point(input: &Input<'_>) -> Vec<LintFault> {
    let known = input.with_image().into_iter();
    known
        .filter_map(|(container, image)| entry_point_of(container, image))
        .collect()
}

fn entry_point_of(container: &ContainerDefinition<'_>, image: &ImageFacts) -> Option<LintFault> {
    let owned = |key: &str| {
        let texts = container.0.texts(key).into_iter();
        texts.map(str::to_owned).collect::<Vec<String>>()
    };
    let (entry_point, command) = (owned("entryPoint"), owned("command"));
    let of_image = |own: &[String], default: &[String]| {
        let program = own.first().or(default.first());
        program.map(|program| (program.clone(), own.is_empty()))
    };
    let (key, found) = match of_image(&entry_point, &image.entrypoint) {
        Some(found) => ("entryPoint", Some(found)),
        None => ("command", of_image(&command, &image.command)),
    };
    let Some((program, is_of_image)) = found else {
        let what = "neither the definition nor the image says what to run";
        let json_path = container.0.path_of("command");
        return Some(fault(json_path, what, "set entryPoint or command"));
    };
    let key = if is_of_image { "image" } else { key };
    let is_relative = program.contains('/') && !program.starts_with('/');
    let what = if is_relative {
        return None;
    } else if !has_program(image, &program) {
        format!("the image has no {program}")
    } else {
        let paths = program_paths(&program);
        let found = paths.iter().find(|path| has_file(&image.files, path))?;
        if !has_file(&image.not_executable, found) {
            return None;
        }
        format!("nobody may run {program} of the image")
    };
    let remedy = "name a program of the image";
    Some(fault(container.0.path_of(key), what, remedy))
}

/// Which containers use the image of the facts.
pub(super) fn uses(containers: &[ContainerDefinition<'_>], facts: &Facts) -> Vec<bool> {
    let first = containers.first().and_then(ContainerDefinition::image);
    let name = facts.image_name.as_deref();
    let is_named = containers.iter().any(|it| it.image() == name) && name.is_some();
    let name = if is_named { name } else { first };
    let same = containers.iter().enumerate();
    same.map(|(index, it)| it.image() == name && (name.is_some() || index == 0))
        .collect()
}

/// The facts of the image, and the path of its name in the first container that uses it.
fn known_image<'a>(input: &Input<'a>) -> Option<(&'a ImageFacts, String)> {
    let (container, image) = *input.with_image().first()?;
    Some((image, container.0.path_of("image")))
}

/// T77
pub(super) fn unread(input: &Input<'_>) -> Vec<LintFault> {
    let unread = known_image(input).filter(|(image, _)| image.layers_unread > 0);
    unread
        .map(|(image, json_path)| {
            let what = format!("layers compressed by zstd: {}", image.layers_unread);
            fault(json_path, what, "check an image with layers of gzip")
        })
        .into_iter()
        .collect()
}

/// T74
pub(super) fn leaks(input: &Input<'_>) -> Vec<LintFault> {
    let Some((image, json_path)) = known_image(input) else {
        return Vec::new();
    };
    let leaks = image.leaks.iter();
    leaks
        .map(|leak| {
            let what = format!("the image holds {leak}");
            fault(
                &json_path,
                what,
                "build it without, and give it a new value",
            )
        })
        .collect()
}

/// T75
pub(super) fn setuid(input: &Input<'_>) -> Vec<LintFault> {
    const SHOWN_MAX: usize = 5;
    let Some((image, json_path)) = known_image(input).filter(|(image, _)| !image.setuid.is_empty())
    else {
        return Vec::new();
    };
    let shown = image.setuid.iter().map(String::as_str).take(SHOWN_MAX);
    let shown: Vec<&str> = shown.collect();
    let count = image.setuid.len();
    let what = format!(
        "{count} files run as their owner, such as {}",
        shown.join(", ")
    );
    vec![fault(json_path, what, "remove them, or their bits")]
}

/// T76
pub(super) fn size(input: &Input<'_>) -> Vec<LintFault> {
    const MEGABYTE: u64 = 1_000_000;
    const BYTES_MAX: u64 = 500 * MEGABYTE;
    let large = known_image(input).filter(|(image, _)| image.bytes > BYTES_MAX);
    large
        .map(|(image, json_path)| {
            let what = format!("the image has {} MB", image.bytes / MEGABYTE);
            fault(json_path, what, "leave out what the program does not need")
        })
        .into_iter()
        .collect()
}

/// Containers that others wait for until they have ended.
fn awaited_to_end<'a>(input: &Input<'a>) -> BTreeSet<&'a str> {
    let dependencies = input
        .containers
        .iter()
        .flat_map(|it| it.0.items("dependsOn"));
    let ended =
        dependencies.filter(|it| matches!(it.text("condition"), Some("COMPLETE" | "SUCCESS")));
    ended.filter_map(|it| it.text("containerName")).collect()
}

/// Whether a shell stays the parent of the program: a script that uses `exec` replaces the shell.
fn is_shell_form(command: &[&str]) -> bool {
    let [shell, flags, script, ..] = command else {
        return false;
    };
    let shell = shell.rsplit('/').next().unwrap_or_default();
    let runs_script = flags.starts_with('-') && !flags.starts_with("--") && flags.ends_with('c');
    let mut words = script.split(|letter: char| letter.is_whitespace() || letter == ';');
    let is_replaced = words.any(|word| word == "exec");
    matches!(shell, "sh" | "bash" | "ash" | "dash") && runs_script && !is_replaced
}
