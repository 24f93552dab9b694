//! `bench`: measures sizes, starts, requests, admission and releases. The figures depend on the machine,
//! but for those of admission, so none has a limit: what can be compared is measured in the same run. To
//! see what a change costs, run `bench` before and after it on one machine.

mod releases;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use serde::Serialize;

use crate::catalog::{Catalog, Component, Service};
use crate::decide::definition::run_options::run_options;
use crate::decide::environment::Environment;
use crate::decide::outputs::Architecture;
use crate::planning::definitions::rendered_with;
use crate::planning::outputs;
use crate::ports::{Builder, Load, Source, Started, Stopwatch, Subject};
use crate::report::{CommandEvent, Report};

const DEPLOYS: usize = 3;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchPart {
    /// The sizes of the images
    Images,
    /// From a start to the first answer, and idle memory
    Starts,
    /// The cost of a request, beside that of a bare handler
    Requests,
    /// How many requests are answered in time where a target is slow
    Admission,
    /// A deploy that changes nothing
    Deploy,
    /// A release of all services, beside ECS alone and the same by hand
    Release,
}

pub struct BenchParts<'a> {
    /// All, if empty.
    pub wanted: Vec<BenchPart>,
    pub catalog: &'a Catalog,
    pub source: &'a dyn Source,
    pub builder: &'a dyn Builder,
    pub stopwatch: &'a dyn Stopwatch,
    pub report: &'a Report,
    pub architecture: Architecture,
    pub environment: &'a Environment,
    /// Whether deploys are measured: only if the environment can be reached.
    pub deploys: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figure {
    subject: String,
    what: &'static str,
    value: f64,
    unit: Cow<'static, str>,
}

pub async fn bench(parts: &BenchParts<'_>) -> Result<()> {
    let mut figures = Vec::new();
    for part in BenchPart::value_variants() {
        if !parts.wanted.is_empty() && !parts.wanted.contains(part) {
            continue;
        }
        figures.extend(match part {
            BenchPart::Images => images(parts).await?,
            BenchPart::Starts => starts(parts).await?,
            BenchPart::Requests => loads(parts).await?,
            BenchPart::Admission => admission(parts).await?,
            BenchPart::Deploy => nothing_to_do(parts).await?,
            BenchPart::Release => releases::releases(parts).await?,
        });
    }
    parts.report.data(&figures, &table(&figures));
    Ok(())
}

async fn images(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    let keys = parts.builder.keys(parts.architecture).await?;
    let artifacts = match parts.builder.all_cached(&keys).await? {
        Some(artifacts) => artifacts,
        None => parts.builder.build(parts.architecture, &keys).await?,
    };
    let mut figures = Vec::new();
    for service in parts.catalog.services() {
        let artifact = &artifacts[&service.into()];
        let sizes = [
            ("image, packed", artifact.packed_bytes),
            ("image, unpacked", artifact.unpacked_bytes),
        ];
        figures.extend(
            sizes.map(|(what, bytes)| figure(service.name(), what, megabytes(bytes), "MB")),
        );
    }
    Ok(figures)
}

async fn starts(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    let mut watch = |line: &str| measuring(parts.report, "start", line);
    let settings = settings(parts).await?;
    let starts = parts
        .stopwatch
        .starts(parts.architecture, &settings, &mut watch)
        .await?;
    let time = |it: &Started| milliseconds(it.to_first_200);
    let mut figures = Vec::new();
    for (subject, started) in &starts {
        let name = subject.to_string();
        let took = median(started.iter().map(time));
        figures.push(figure(&name, "start to first 200", took, "ms"));
        if *subject == Subject::Bare {
            continue;
        }
        let ratio = against(started, &starts[&Subject::Bare], time);
        figures.push(figure(&name, "start against bare", ratio, "x"));
        let idle = median(started.iter().map(|it| megabytes(it.resident_bytes)));
        figures.push(figure(&name, "idle memory", idle, "MB"));
    }
    Ok(figures)
}

/// The variables of each service's definition, but for those by which it would need AWS to start,
/// or time to end.
async fn settings(parts: &BenchParts<'_>) -> Result<BTreeMap<Service, BTreeMap<String, String>>> {
    let outputs = outputs::invented(parts.catalog, parts.environment);
    let mut all = BTreeMap::new();
    let services = parts.catalog.services().into_iter();
    for entry in services.filter_map(|it| parts.catalog.service(it)) {
        let service = entry.service;
        let image = outputs.image_name(service);
        let definition = rendered_with(parts.source, &outputs, entry, &image).await?;
        let mut settings = run_options(&definition, &image)
            .with_context(|| format!("the definition of {service} has no container"))?
            .environment;
        settings.remove(&format!("{}_SECRET_ARN", Component::from(service).prefix()));
        for (name, value) in [
            ("SIGNATURES", "off"),
            ("DRAIN_MS", "0"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        all.insert(service, settings);
    }
    Ok(all)
}

/// The cost of a request, and its ratio to that of a handler that does nothing else.
async fn loads(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    let mut watch = |line: &str| measuring(parts.report, "load", line);
    let loads = parts.stopwatch.load(parts.architecture, &mut watch).await?;
    let cpu = |load: &Load| load.cpu_per_request.as_secs_f64() * 1e6;
    let p99 = |load: &Load| milliseconds(load.p99);
    let Some(bare) = loads.get(&Subject::Bare) else {
        let why = "the services with a request for it are not in the catalog";
        not_measured(parts.report, "load", why);
        return Ok(Vec::new());
    };
    let name = Subject::Bare.to_string();
    let mut figures = vec![
        figure(&name, "CPU a request", median(bare.iter().map(cpu)), "µs"),
        figure(&name, "p99", median(bare.iter().map(p99)), "ms"),
    ];
    for (subject, load) in loads.iter().filter(|(it, _)| **it != Subject::Bare) {
        let name = subject.to_string();
        let median_of = |what: &dyn Fn(&Load) -> f64| median(load.iter().map(what));
        let rate = median_of(&|load| load.requests_per_second);
        let peak = median_of(&|load| megabytes(load.resident_peak_bytes));
        figures.extend([
            figure(&name, "CPU a request", median_of(&cpu), "µs"),
            figure(&name, "CPU against bare", against(load, bare, cpu), "x"),
            figure(&name, "requests", rate, "/s"),
            figure(&name, "p99", median_of(&p99), "ms"),
            figure(&name, "p99 against bare", against(load, bare, p99), "x"),
            figure(&name, "memory under load", peak, "MB"),
        ]);
    }
    Ok(figures)
}

/// The load of the machine differs between rounds, so figures of the same round are compared.
fn against<T>(measured: &[T], bare: &[T], what: impl Fn(&T) -> f64) -> f64 {
    let rounds = measured.iter().zip(bare);
    median(rounds.map(|(measured, bare)| what(measured) / what(bare)))
}

/// How many requests are answered in time where a target cannot keep up, with each kind of limit.
async fn admission(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    measuring(parts.report, "admission", "in simulated time");
    let mut figures = Vec::new();
    for row in parts.stopwatch.admission().await? {
        let counts = [
            ("in time, fixed", row.fixed),
            ("in time, adaptive", row.adaptive),
        ];
        figures.extend(counts.map(|(what, count)| {
            let unit = format!("of {}", row.asked);
            figure(&row.target, what, f64::from(count), unit)
        }));
    }
    Ok(figures)
}

/// The time of a deploy that finds nothing to do. It is a dry run, which does the same work in that
/// case and can never release anything.
async fn nothing_to_do(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    let arguments = [
        "deploy",
        "--dry-run",
        "--format",
        "json",
        "--env",
        &parts.environment.name,
    ];
    if !parts.deploys {
        not_measured(parts.report, "deploy", "the local AWS does not run");
        return Ok(Vec::new());
    }
    let mut times = Vec::new();
    for round in 1..=DEPLOYS {
        let what = format!("run {round} of {DEPLOYS}");
        measuring(parts.report, "deploy", &what);
        let (took, run) = parts.stopwatch.run_self(&arguments).await?;
        if !run.succeeded || !run.output.contains("nothing to do") {
            let why = "a deploy has something to do; run `cargo xtask deploy` first";
            not_measured(parts.report, "deploy", why);
            return Ok(Vec::new());
        }
        times.push(milliseconds(took));
    }
    let took = median(times.into_iter());
    Ok(vec![figure("deploy", "nothing to do", took, "ms")])
}

fn measuring(report: &Report, subject: &str, what: &str) {
    report.emit(CommandEvent::Measuring {
        subject: subject.to_owned(),
        what: what.to_owned(),
    });
}

fn not_measured(report: &Report, subject: &str, why: &str) {
    report.emit(CommandEvent::NotMeasured {
        subject: subject.to_owned(),
        why: why.to_owned(),
    });
}

fn figure(
    subject: &str,
    what: &'static str,
    value: f64,
    unit: impl Into<Cow<'static, str>>,
) -> Figure {
    Figure {
        subject: subject.to_owned(),
        what,
        value,
        unit: unit.into(),
    }
}

fn table(figures: &[Figure]) -> String {
    let line = |figure: &Figure| {
        let Figure {
            subject,
            what,
            value,
            unit,
        } = figure;
        format!("{subject:<15} {what:<18} {value:>8.1} {unit}")
    };
    figures.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
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
        assert!((median([9.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
    }
}
