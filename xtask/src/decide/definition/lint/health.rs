//! Rules about the health check of a container.

use super::{Fault, ImageFacts, Input, fault};
use crate::decide::definition::container::Container;

/// What a value may be, and what ECS takes where there is none. In seconds, but for retries.
const RANGES: [(&str, i64, i64); 4] = [
    ("interval", 5, 300),
    ("timeout", 2, 60),
    ("retries", 1, 10),
    ("startPeriod", 0, 300),
];
const INTERVAL_DEFAULT_SECONDS: i64 = 30;
const TIMEOUT_DEFAULT_SECONDS: i64 = 5;
const RETRIES_DEFAULT: i64 = 3;

/// Where a shell or ECS finds a program by its name alone.
const PROGRAM_FOLDERS: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];
/// What health checks are written with, and small images do not have.
const USUAL_PROGRAMS: [&str; 4] = ["curl", "wget", "nc", "bash"];

/// T18
pub(super) fn program_missing(input: &Input<'_>) -> Vec<Fault> {
    let containers = input.definition.containers();
    let (Some(image), Some(container)) = (&input.facts.image, containers.first()) else {
        return Vec::new();
    };
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
    let place = format!("{}.healthCheck.command", container.0.place);
    let missing = programs
        .into_iter()
        .filter(|program| !has_program(image, program));
    missing
        .map(|program| {
            let what = format!("the image has no {program}");
            fault(
                place.clone(),
                what,
                "write [\"CMD\", \"/PROGRAM\", \"healthcheck\"]",
            )
        })
        .collect()
}

fn has_program(image: &ImageFacts, program: &str) -> bool {
    let has = |path: &str| {
        let mut files = image
            .files
            .iter()
            .map(|file| file.trim_start_matches(['.', '/']));
        files.any(|file| file == path)
    };
    match program.strip_prefix('/') {
        Some(path) => has(path),
        None => PROGRAM_FOLDERS
            .iter()
            .any(|folder| has(&format!("{folder}/{program}"))),
    }
}

/// T19
pub(super) fn missing(input: &Input<'_>) -> Vec<Fault> {
    let containers = input.definition.containers();
    let without = |container: &&Container<'_>| {
        container.essential() && container.health_check_command().is_empty()
    };
    let faults = containers.iter().filter(without).map(|container| {
        let place = container.0.place_of("healthCheck");
        fault(place, "there is none", "write a healthCheck with a command")
    });
    faults.collect()
}

/// T20
pub(super) fn ranges(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for container in input.definition.containers() {
        let Some(check) = container.0.get("healthCheck") else {
            continue;
        };
        let command = container.health_check_command();
        if command.len() < 2 || !matches!(command[0], "CMD" | "CMD-SHELL") {
            let what = "it is not CMD or CMD-SHELL and what to run";
            let remedy = "write [\"CMD\", \"/PROGRAM\", \"healthcheck\"]";
            faults.push(fault(check.place_of("command"), what, remedy));
        }
        for (key, least, most) in RANGES {
            if let Some(value) = check
                .number(key)
                .filter(|value| !(least..=most).contains(value))
            {
                let remedy = format!("write {least} to {most}");
                faults.push(fault(check.place_of(key), format!("it is {value}"), remedy));
            }
        }
        let interval = check.number("interval").unwrap_or(INTERVAL_DEFAULT_SECONDS);
        let timeout = check.number("timeout").unwrap_or(TIMEOUT_DEFAULT_SECONDS);
        if timeout >= interval {
            let what = format!("{timeout} s is not below the interval of {interval} s");
            let remedy = format!("write less than {interval}");
            faults.push(fault(check.place_of("timeout"), what, remedy));
        }
    }
    faults
}

/// T21
pub(super) fn slower_than_the_deploy(input: &Input<'_>) -> Vec<Fault> {
    let Some(most) = input.facts.rollout_seconds_max else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for container in input.definition.containers() {
        let Some(check) = container.0.get("healthCheck") else {
            continue;
        };
        let interval = check.number("interval").unwrap_or(INTERVAL_DEFAULT_SECONDS);
        let retries = check.number("retries").unwrap_or(RETRIES_DEFAULT);
        let seconds = interval * retries + check.number("startPeriod").unwrap_or(0);
        if seconds > most {
            let what = format!("it takes {seconds} s to notice, and a deploy waits {most} s");
            let remedy = "write a shorter interval, fewer retries or a shorter startPeriod";
            faults.push(fault(check.place, what, remedy));
        }
    }
    faults
}
