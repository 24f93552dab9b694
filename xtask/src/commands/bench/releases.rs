//! A release of all services, against what ECS itself needs for it and against the same by hand. It
//! is a rollback to a release before and one back, so that nothing has to be built or edited.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BenchParts, Figure, figure, measuring, not_measured};
use crate::decide::release::record::{Record, ReleaseState};
use crate::planning::outputs;

pub(super) async fn releases(parts: &BenchParts<'_>) -> Result<Vec<Figure>> {
    let refuse = |why| {
        not_measured(parts.report, "release", why);
        Ok(Vec::new())
    };
    if !parts.environment.emulated || !parts.deploys {
        return refuse("it is measured on the local AWS, which does not run");
    }
    let records: Vec<Record> = run(parts, &["releases", "--last", "50"]).await?;
    let Some((newest, before)) = two_that_differ(&records) else {
        return refuse("two releases that differ in all services are needed");
    };
    measuring(parts.report, "release", "one back and one forth");
    for to in [before, newest] {
        let to = to.number.to_string();
        let rollback = ["rollback", "--to", &to, "--no-hold", "--yes"];
        drop::<Value>(run(parts, &rollback).await?);
    }
    let last: Vec<Record> = run(parts, &["releases", "--last", "1"]).await?;
    let took = seconds(last.first()).context("no release that is closed")?;
    measuring(parts.report, "release", "the same by hand");
    let outputs = outputs::invented(parts.catalog, parts.environment);
    let others = parts.stopwatch.release_by_hand(&outputs).await?;
    Ok(vec![
        figure("release", "opened to closed", took, "s"),
        figure("release", "against ECS alone", took / others.ecs, "x"),
        figure("release", "against by hand", took / others.by_hand, "x"),
    ])
}

/// The newest release that succeeded, and the newest before it of which every service runs another
/// revision.
fn two_that_differ(records: &[Record]) -> Option<(&Record, &Record)> {
    let mut succeeded = records
        .iter()
        .filter(|it| it.kind.changes_components() && it.state == ReleaseState::Succeeded);
    let newest = succeeded.next()?;
    let before = succeeded.find(|before| {
        let mut services = newest.entries.services.iter();
        services.all(|(service, entry)| {
            let other = before.entries.services.get(service);
            let other = other.and_then(|it| it.after.as_ref());
            let (Some(now), Some(other)) = (&entry.after, other) else {
                return false;
            };
            now.revision != other.revision
        })
    })?;
    Some((newest, before))
}

fn seconds(release: Option<&Record>) -> Option<f64> {
    let release = release?;
    Some(release.closed?.duration_since(release.opened).as_secs_f64())
}

/// What this program prints when it is run like this.
async fn run<T: serde::de::DeserializeOwned>(
    parts: &BenchParts<'_>,
    arguments: &[&str],
) -> Result<T> {
    let environment = ["--env", &parts.environment.name, "--format", "json"];
    let (_, run) = parts
        .stopwatch
        .run_self(&[arguments, &environment].concat())
        .await?;
    let command = arguments.join(" ");
    ensure!(run.succeeded, "`{command}` failed: {}", run.output);
    serde_json::from_str(&run.output).with_context(|| format!("read what `{command}` prints"))
}
