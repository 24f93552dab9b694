//! `bench`: what is measured. The figures depend on the machine, so nothing here ever fails a test.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::catalog::{SERVICES, Thing};
use crate::decide::compilation::Profile;
use crate::decide::site::Architecture;
use crate::report::Report;
use crate::world::{Builder, Load, Started, Stopwatch, Subject};

const STARTS: usize = 20;
const DEPLOYS: usize = 3;

const IMAGE_BYTES: u64 = 8_000_000;
const IDLE_BYTES: u64 = 9_000_000;
const LOADED_BYTES: u64 = 20_000_000;
const START: Duration = Duration::from_millis(10);
/// CPU of a request in microseconds, the same against the bare handler of the same run, and the
/// slowest hundredth in milliseconds. Microseconds are of a machine whose bare handler takes 4.5 of
/// them, so on another one the ratios tell more.
const LOADS: [(Subject, f64, f64, f64); 2] = [
    (Subject::Reason, 9.0, 2.0, 4.0),
    (Subject::Dispatch, 65.0, 65.0 / 4.5, 19.0),
];
const NOTHING_TO_DO: Duration = Duration::from_secs(2);

pub struct Parts<'a> {
    pub builder: &'a dyn Builder,
    pub stopwatch: &'a dyn Stopwatch,
    pub report: &'a Report,
    pub architecture: Architecture,
    /// Where cargo leaves what it built.
    pub target_folder: PathBuf,
    pub environment: &'a str,
    /// Whether the environment can be reached, so that a deploy to it can be measured.
    pub deploys: bool,
}

/// One figure beside what it should be at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figure {
    subject: String,
    what: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<f64>,
}

pub async fn bench(parts: &Parts<'_>) -> Result<()> {
    let keys = parts.builder.keys(parts.architecture).await?;
    // Cargo finds out by itself that nothing is to do; an artefact at hand says nothing about the
    // binary in cargo's own folder.
    let artefacts = parts.builder.build(parts.architecture, &keys).await?;
    let mut figures = Vec::new();
    for thing in SERVICES {
        let artefact = &artefacts[&thing];
        let packed = megabytes(artefact.packed_bytes);
        let unpacked = megabytes(artefact.unpacked_bytes);
        figures.push(figure(thing.name(), "image, packed", packed, "MB", None));
        let target = Some(megabytes(IMAGE_BYTES));
        figures.push(figure(
            thing.name(),
            "image, unpacked",
            unpacked,
            "MB",
            target,
        ));
        figures.extend(starts(parts, thing).await?);
    }
    figures.extend(loads(parts).await?);
    figures.extend(nothing_to_do(parts).await?);
    parts.report.data(&figures, &table(&figures));
    Ok(())
}

async fn starts(parts: &Parts<'_>, thing: Thing) -> Result<[Figure; 2]> {
    let folder = parts.target_folder.join(parts.architecture.target());
    let binary = folder.join(Profile::Release.name()).join(thing.name());
    let mut started = Vec::new();
    for round in 1..=STARTS {
        parts
            .report
            .live(thing.name(), &format!("start {round} of {STARTS}"));
        started.push(parts.stopwatch.start(&binary, thing).await?);
    }
    let times = started
        .iter()
        .map(|it: &Started| milliseconds(it.to_first_200));
    let resident = started.iter().map(|it| megabytes(it.resident_bytes));
    let (time, idle) = (median(times.collect()), median(resident.collect()));
    let name = thing.name();
    Ok([
        figure(
            name,
            "start to first 200",
            time,
            "ms",
            Some(milliseconds(START)),
        ),
        figure(name, "idle memory", idle, "MB", Some(megabytes(IDLE_BYTES))),
    ])
}

/// What a request costs, beside what it costs a handler that does nothing else. The machine is not
/// the same in each round, so the two of one round are compared.
async fn loads(parts: &Parts<'_>) -> Result<Vec<Figure>> {
    let mut watch = |line: &str| parts.report.live("load", line);
    let loads = parts.stopwatch.load(parts.architecture, &mut watch).await?;
    let median_of = |subject: Subject, what: fn(&Load) -> f64| {
        median(loads[&subject].iter().map(what).collect())
    };
    let microseconds = |load: &Load| load.cpu_per_request.as_secs_f64() * 1e6;
    let against_bare = |subject: Subject| {
        let rounds = loads[&subject].iter().zip(&loads[&Subject::Bare]);
        let ratios = rounds.map(|(load, bare)| microseconds(load) / microseconds(bare));
        median(ratios.collect())
    };
    let bare = median_of(Subject::Bare, microseconds);
    let mut figures = vec![figure("bare", "CPU a request", bare, "µs", None)];
    for (subject, cpu_max, ratio_max, p99_max) in LOADS {
        let name = subject.to_string();
        let cpu = median_of(subject, microseconds);
        figures.push(figure(&name, "CPU a request", cpu, "µs", Some(cpu_max)));
        let ratio = against_bare(subject);
        figures.push(figure(&name, "against bare", ratio, "x", Some(ratio_max)));
        let rate = median_of(subject, |load| load.requests_per_second);
        figures.push(figure(&name, "requests", rate, "/s", None));
        let p99 = median_of(subject, |load| milliseconds(load.p99));
        figures.push(figure(
            &name,
            "p99 at 64 connections",
            p99,
            "ms",
            Some(p99_max),
        ));
        let peak = median_of(subject, |load| megabytes(load.resident_peak_bytes));
        let peak_max = Some(megabytes(LOADED_BYTES));
        figures.push(figure(&name, "memory under load", peak, "MB", peak_max));
    }
    Ok(figures)
}

/// A deploy that finds nothing to do, as it is run by hand. It is a dry run, which ends at the
/// same place then, so that measuring never releases anything.
async fn nothing_to_do(parts: &Parts<'_>) -> Result<Option<Figure>> {
    let arguments = [
        "deploy",
        "--dry-run",
        "--format",
        "json",
        "--env",
        parts.environment,
    ];
    if !parts.deploys {
        parts
            .report
            .warn("deploy", "not measured: the local AWS does not run");
        return Ok(None);
    }
    let mut times = Vec::new();
    for round in 1..=DEPLOYS {
        parts
            .report
            .live("deploy", &format!("run {round} of {DEPLOYS}"));
        let (took, run) = parts.stopwatch.run_self(&arguments).await?;
        if !run.succeeded || !run.output.contains("nothing to do") {
            let text = "not measured: a deploy has something to do; run `cargo xtask deploy` first";
            parts.report.warn("deploy", text);
            return Ok(None);
        }
        times.push(milliseconds(took));
    }
    let target = Some(milliseconds(NOTHING_TO_DO));
    Ok(Some(figure(
        "deploy",
        "nothing to do",
        median(times),
        "ms",
        target,
    )))
}

fn figure(
    subject: &str,
    what: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<f64>,
) -> Figure {
    Figure {
        subject: subject.to_owned(),
        what,
        value,
        unit,
        target,
    }
}

fn table(figures: &[Figure]) -> String {
    let line = |figure: &Figure| {
        let Figure {
            subject,
            what,
            value,
            unit,
            target,
        } = figure;
        let target = target.map_or_else(String::new, |target| {
            let far = if *value > target { "  ABOVE" } else { "" };
            format!("   at most {target:.0} {unit}{far}")
        });
        format!("{subject:<8} {what:<22} {value:>8.1} {unit}{target}")
    };
    figures.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files and processes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_figure_stands_beside_its_target() {
        let figures = [
            figure("axon", "image, packed", 1.26, "MB", None),
            figure("orbit", "start to first 200", 51.0, "ms", Some(50.0)),
        ];
        assert_eq!(
            table(&figures),
            "axon     image, packed               1.3 MB\n\
             orbit    start to first 200         51.0 ms   at most 50 ms  ABOVE"
        );
    }
}
