//! Rules about the health check of a container.

use super::{Input, LintFault, fault};
use crate::decide::artifact::types::ImageFacts;
use crate::decide::definition::container::ContainerDefinition;

/// The minimum and the maximum of each key: seconds, except for `retries`.
const RANGES: [(&str, i64, i64); 4] = [
    ("interval", 5, 300),
    ("timeout", 2, 60),
    ("retries", 1, 10),
    ("startPeriod", 0, 300),
];
const INTERVAL_DEFAULT_SECONDS: i64 = 30;
const RETRIES_DEFAULT: i64 = 3;

/// The folders of `PATH` in which a program is found by its name alone.
const PROGRAM_FOLDERS: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];
/// Programs that health checks commonly use and minimal images lack.
const USUAL_PROGRAMS: [&str; 4] = ["curl", "wget", "nc", "bash"];

/// T18
pub(super) fn program_missing(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for (container, image) in input.with_image() {
        let command = container.health_check_command();
        let programs: Vec<&str> = match command[..] {
            ["CMD", program, ..] => vec![program],
            ["CMD-SHELL", script, ..] => {
                let words = script.split(|letter: char| !letter.is_ascii_alphanumeric());
                let usual = words.filter(|word| USUAL_PROGRAMS.contains(word));
                std::iter::once("/bin/sh").chain(usual).collect()
            }
            _ => Vec::new(),
        };
        for program in programs.into_iter().filter(|it| !has_program(image, it)) {
            let json_path = format!("{}.healthCheck.command", container.0.json_path());
            let what = format!("the image has no {program}");
            let remedy = "set [\"CMD\", \"/PROGRAM\", \"healthcheck\"]";
            faults.push(fault(json_path, what, remedy));
        }
    }
    faults
}

/// Whether the image may have the program: one that was not read whole may have any.
pub(super) fn has_program(image: &ImageFacts, program: &str) -> bool {
    let mut paths = program_paths(program).into_iter();
    image.layers_unread > 0 || paths.any(|path| has_file(&image.files, &path))
}

/// Where a program is looked for, relative to the root.
pub(super) fn program_paths(program: &str) -> Vec<String> {
    match program.strip_prefix('/') {
        Some(path) => vec![path.to_owned()],
        None => PROGRAM_FOLDERS
            .iter()
            .map(|folder| format!("{folder}/{program}"))
            .collect(),
    }
}

pub(super) fn has_file(files: &[String], path: &str) -> bool {
    let mut files = files.iter().map(|file| file.trim_start_matches(['.', '/']));
    files.any(|file| file == path)
}

/// T19
pub(super) fn missing(input: &Input<'_>) -> Vec<LintFault> {
    let without = |container: &&ContainerDefinition<'_>| {
        container.essential() && container.health_check_command().is_empty()
    };
    let faults = input.containers.iter().filter(without).map(|container| {
        let json_path = container.0.path_of("healthCheck");
        fault(json_path, "not set", "add a healthCheck with a command")
    });
    faults.collect()
}

/// T20. A timeout may be longer than the interval: the next check starts after the last one ended.
pub(super) fn ranges(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for container in &input.containers {
        let Some(check) = container.0.get("healthCheck") else {
            continue;
        };
        match container.health_check_command()[..] {
            // Missing: the API model requires it.
            [] if check.get("command").is_none() => {}
            ["CMD", _, ..] | ["CMD-SHELL", _] => {}
            ["CMD-SHELL", _, ..] => {
                let what = "the shell runs the first text alone, with the others as its parameters";
                let remedy = "write one text after CMD-SHELL";
                faults.push(fault(check.path_of("command"), what, remedy));
            }
            _ => {
                let what = "not CMD or CMD-SHELL followed by a command";
                let remedy = "set [\"CMD\", \"/PROGRAM\", \"healthcheck\"]";
                faults.push(fault(check.path_of("command"), what, remedy));
            }
        }
        for (key, least, most) in RANGES {
            if let Some(value) = check
                .number(key)
                .filter(|value| !(least..=most).contains(value))
            {
                let remedy = format!("set {least} to {most}");
                faults.push(fault(check.path_of(key), format!("is {value}"), remedy));
            }
        }
    }
    faults
}

/// T21
pub(super) fn slower_than_the_deploy(input: &Input<'_>) -> Vec<LintFault> {
    let Some(most) = input.facts.rollout_seconds_max else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for container in &input.containers {
        let Some(check) = container.0.get("healthCheck") else {
            continue;
        };
        let interval = check.number("interval").unwrap_or(INTERVAL_DEFAULT_SECONDS);
        let retries = check.number("retries").unwrap_or(RETRIES_DEFAULT);
        let start = check.number("startPeriod").unwrap_or(0);
        let seconds = interval.saturating_mul(retries).saturating_add(start);
        if seconds > most {
            let what =
                format!("a failure takes {seconds} s to detect, and a deploy waits {most} s");
            let remedy = "use a shorter interval, fewer retries or a shorter startPeriod";
            faults.push(fault(check.json_path(), what, remedy));
        }
    }
    faults
}
