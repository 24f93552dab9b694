//! `rollback`: to the newest release that succeeded and is not what runs now. Itself a release, with
//! a record. `--stop` takes the services down.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::time::Instant;

use super::confirm::{confirm, warn_of_expiry};
use super::deploy::about;
use super::plan;
use crate::catalog::{Component, SERVICES};
use crate::decide::artifact::image::Digest;
use crate::decide::release::plan::{Plan, Snapshot, Wanted};
use crate::decide::release::record::{Entry, Record, ReleaseState, Running};
use crate::decide::release::rollout::Outcome;
use crate::failure::Failure;
use crate::release::{self, Direction};
use crate::world::{Desk, ServiceUpdate, World};

/// Tasks get `stopTimeout` to end; after this something is wrong. Two services in a row must end
/// before the record's lease does.
const STOP_LIMIT: Duration = Duration::from_mins(4);
const STOP_INTERVAL: Duration = Duration::from_millis(500);

pub async fn rollback(
    desk: &Desk<'_>,
    world: &World<'_>,
    to: Option<u64>,
    yes: bool,
) -> Result<()> {
    let snapshot = release::observe(world).await?;
    let target = target(world, &snapshot, to).await?;
    let wanted = wanted(world, &target).await?;
    let desired = SERVICES
        .map(|component| (component, world.outputs.service(component).desired_count))
        .into();
    let succeeded = plan::succeeded_if_moving(world, &snapshot).await?;
    let without_alarms = release::left_without_alarms(world, &snapshot).await?;
    let plan = Plan {
        without_alarms,
        ..crate::decide::release::plan::make(
            &wanted,
            snapshot,
            succeeded.as_ref(),
            &desired,
            Vec::new(),
        )
    };
    if plan.is_empty() {
        world.report.line(
            "rollback",
            &format!("release {} is what runs now", target.number),
        );
        return Ok(());
    }
    world
        .report
        .line("rollback", &format!("to {}", target.about()));
    plan::tell(world, &plan);
    warn_of_expiry(desk, release::time_limit(&plan));
    confirm(desk, yes, "roll back").await?;
    let why = format!("rollback to {}", target.number);
    let about = about(world, &why).await?;
    let record = release::carry_out(world, &plan, about, Direction::Back).await?;
    let done = json!({ "outcome": "succeeded", "release": record.number, "to": target.number });
    world.report.data(&done, "");
    world.report.line(
        "rollback",
        &format!("done: release {} runs again", target.number),
    );
    Ok(())
}

async fn target(world: &World<'_>, snapshot: &Snapshot, to: Option<u64>) -> Result<Record> {
    let see = "cargo xtask releases     # the ledger";
    let Some(number) = to else {
        let found = plan::rollback_target(world, snapshot).await?;
        return Ok(found.ok_or_else(|| {
            Failure::refused("no release succeeded that is not what runs now").hint(see)
        })?);
    };
    let found = world.ledger.read(number).await?;
    let record =
        found.ok_or_else(|| Failure::refused(format!("there is no release {number}")).hint(see))?;
    if record.state == ReleaseState::Succeeded
        && record.components.values().all(|it| it.after.is_some())
    {
        return Ok(record);
    }
    let message = format!(
        "release {number} did not land with everything running ({})",
        record.state.text()
    );
    Err(Failure::refused(message).hint(see).into())
}

/// What ran after a release, as far as AWS still has it: all that is missing is named at once.
async fn wanted(world: &World<'_>, target: &Record) -> Result<BTreeMap<Component, Wanted>> {
    let mut wanted = BTreeMap::new();
    let mut missing = Vec::new();
    for (component, entry) in &target.components {
        let Some(after) = &entry.after else { continue };
        if !component.is_service() {
            let (version, content) = (after.revision.clone(), after.content.clone());
            wanted.insert(*component, Wanted::Version { version, content });
            continue;
        }
        let digest = after.image.as_deref().and_then(Digest::parse);
        if let Some(digest) = digest
            && !world.registry.has(*component, &digest).await?
        {
            missing.push(format!("the image {digest} of {component}"));
        }
        match known(world, after).await? {
            Some(known) => drop(wanted.insert(*component, known)),
            None => missing.push(format!("the revision {}", after.revision)),
        }
    }
    if missing.is_empty() {
        return Ok(wanted);
    }
    let message = format!("AWS does not have {} any more", missing.join(", "));
    Err(Failure::refused(message)
        .hint("choose another release with --to, or check out its commit and deploy that")
        .into())
}

/// A deregistered revision can't be deployed: its content is registered anew.
async fn known(world: &World<'_>, after: &Running) -> Result<Option<Wanted>> {
    let Some(registered) = world
        .cluster
        .describe_task_definition(&after.revision)
        .await?
    else {
        return Ok(None);
    };
    let content = after.content.clone();
    if registered.active {
        return Ok(Some(Wanted::Revision {
            revision: after.revision.clone(),
            content,
        }));
    }
    let definition = registered.definition.registrable();
    Ok(Some(Wanted::Definition {
        definition,
        content,
    }))
}

/// The source document's procedure: none desired, wait, deregister what ran. Orbit goes first, so
/// that no dispatch meets an axon that is gone.
pub async fn stop(desk: &Desk<'_>, world: &World<'_>, yes: bool) -> Result<()> {
    let snapshot = release::observe(world).await?;
    let is_up = |component: &Component| snapshot.services[component].state.desired > 0;
    let up: Vec<Component> = SERVICES.into_iter().rev().filter(is_up).collect();
    if up.is_empty() {
        world.report.line("stop", "nothing runs");
        return Ok(());
    }
    for component in &up {
        let revision = &snapshot.services[component].revision;
        world.report.line(
            component.name(),
            &format!("will be stopped, and {revision} deregistered"),
        );
    }
    warn_of_expiry(desk, STOP_LIMIT * u32::try_from(up.len())?);
    confirm(desk, yes, "stop these services").await?;
    let entries = stopped_entries(&snapshot, &up);
    let mut record = release::open_record(world, about(world, "stop").await?, entries).await?;
    let stopped = tokio::select! {
        stopped = stop_all(world, &snapshot, &up) => stopped,
        () = world.interrupt.wait() => Err(Failure::new(
            crate::failure::Kind::StoppedWatching,
            "stopped watching; tasks go on ending",
        )
        .hint("cargo xtask rollback --stop    # go on to the end").into()),
    };
    let (state, outcome) = match &stopped {
        Ok(()) => (ReleaseState::Succeeded, Outcome::Succeeded),
        Err(_) => (ReleaseState::Detached, Outcome::Detached),
    };
    for component in &up {
        if let Some(entry) = record.components.get_mut(component) {
            entry.outcome = Some(outcome);
        }
    }
    record.state = state;
    record.closed = Some(world.clock.now());
    let closed = world.ledger.overwrite(&record).await;
    stopped?;
    closed.context("close the record")?;
    world.report.data(
        &json!({ "outcome": "stopped", "release": record.number }),
        "",
    );
    world.report.line(
        "stop",
        "done: `cargo xtask deploy` or `rollback` starts the services again",
    );
    Ok(())
}

/// What a record says of a stop: nothing runs of these components after it.
fn stopped_entries(snapshot: &Snapshot, up: &[Component]) -> BTreeMap<Component, Entry> {
    let entry = |(component, before): (Component, Option<Running>)| {
        let after = before.clone().filter(|_| !up.contains(&component));
        let outcome = None;
        (
            component,
            Entry {
                before,
                after,
                outcome,
            },
        )
    };
    snapshot.running().into_iter().map(entry).collect()
}

async fn stop_all(world: &World<'_>, snapshot: &Snapshot, components: &[Component]) -> Result<()> {
    for component in components {
        let revision = &snapshot.services[component].revision;
        // No deployment comes of another count alone: alarms watch nothing here.
        let none = ServiceUpdate {
            revision: Some(revision.clone()),
            desired: Some(0),
            ..ServiceUpdate::default()
        };
        world.cluster.update_service(*component, &none).await?;
        let started = Instant::now();
        loop {
            let state = world.cluster.describe_service(*component).await?;
            if state.running == 0 && state.pending == 0 {
                break;
            }
            if started.elapsed() > STOP_LIMIT {
                bail!(
                    "{component} has {} tasks after {} s",
                    state.running,
                    STOP_LIMIT.as_secs()
                );
            }
            world.report.live(
                component.name(),
                &format!("stopping: {} left", state.running),
            );
            tokio::time::sleep(STOP_INTERVAL).await;
        }
        world.cluster.deregister_task_definition(revision).await?;
        world.report.line(
            component.name(),
            &format!("stopped; {revision} is deregistered"),
        );
    }
    Ok(())
}
