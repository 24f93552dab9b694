//! `rollback`: to the newest release that landed and is not what runs now. Itself a release, with
//! a record. `--stop` takes the services down.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::time::Instant;

use super::confirm::{confirm, warn_of_expiry};
use super::deploy::about;
use super::plan;
use crate::catalog::{SERVICES, Thing};
use crate::decide::image::Digest;
use crate::decide::plan::{Look, Plan, Wanted};
use crate::decide::release::{Entry, Record, Running, State};
use crate::decide::rollout::Outcome;
use crate::drive::{self, Way};
use crate::failure::Failure;
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
    let look = drive::look(world).await?;
    let target = target(world, &look, to).await?;
    let wanted = wanted(world, &target).await?;
    let desired = SERVICES
        .map(|thing| (thing, world.site.service(thing).desired_count))
        .into();
    let landed = plan::landed_if_moving(world, &look).await?;
    let without_alarms = drive::left_without_alarms(world, &look).await?;
    let plan = Plan {
        without_alarms,
        ..crate::decide::plan::make(&wanted, look, landed.as_ref(), &desired, Vec::new())
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
    warn_of_expiry(desk, drive::time_limit(&plan));
    confirm(desk, yes, "roll back").await?;
    let why = format!("rollback to {}", target.number);
    let about = about(world, &why).await?;
    let record = drive::carry_out(world, &plan, about, Way::Back).await?;
    let done = json!({ "outcome": "landed", "release": record.number, "to": target.number });
    world.report.data(&done, "");
    world.report.line(
        "rollback",
        &format!("done: release {} runs again", target.number),
    );
    Ok(())
}

async fn target(world: &World<'_>, look: &Look, to: Option<u64>) -> Result<Record> {
    let see = "cargo xtask releases     # the ledger";
    let Some(number) = to else {
        let found = plan::rollback_target(world, look).await?;
        return Ok(found.ok_or_else(|| {
            Failure::refused("no release landed that is not what runs now").hint(see)
        })?);
    };
    let found = world.ledger.read(number).await?;
    let record =
        found.ok_or_else(|| Failure::refused(format!("there is no release {number}")).hint(see))?;
    if record.state == State::Landed && record.things.values().all(|it| it.after.is_some()) {
        return Ok(record);
    }
    let message = format!(
        "release {number} did not land with everything running ({})",
        record.state.text()
    );
    Err(Failure::refused(message).hint(see).into())
}

/// What ran after a release, as far as AWS still has it: all that is missing is named at once.
async fn wanted(world: &World<'_>, target: &Record) -> Result<BTreeMap<Thing, Wanted>> {
    let mut wanted = BTreeMap::new();
    let mut missing = Vec::new();
    for (thing, entry) in &target.things {
        let Some(after) = &entry.after else { continue };
        if !thing.is_service() {
            let (version, content) = (after.revision.clone(), after.content.clone());
            wanted.insert(*thing, Wanted::Version { version, content });
            continue;
        }
        let digest = after.image.as_deref().and_then(Digest::parse);
        if let Some(digest) = digest
            && !world.registry.has(*thing, &digest).await?
        {
            missing.push(format!("the image {digest} of {thing}"));
        }
        match known(world, after).await? {
            Some(known) => drop(wanted.insert(*thing, known)),
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
    let Some(registered) = world.cluster.revision(&after.revision).await? else {
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
    let look = drive::look(world).await?;
    let is_up = |thing: &Thing| look.services[thing].state.desired > 0;
    let up: Vec<Thing> = SERVICES.into_iter().rev().filter(is_up).collect();
    if up.is_empty() {
        world.report.line("stop", "nothing runs");
        return Ok(());
    }
    for thing in &up {
        let revision = &look.services[thing].revision;
        world.report.line(
            thing.name(),
            &format!("will be stopped, and {revision} deregistered"),
        );
    }
    warn_of_expiry(desk, STOP_LIMIT * u32::try_from(up.len())?);
    confirm(desk, yes, "stop these services").await?;
    let entries = stopped_entries(&look, &up);
    let mut record = drive::open_record(world, about(world, "stop").await?, entries).await?;
    let stopped = tokio::select! {
        stopped = stop_all(world, &look, &up) => stopped,
        () = world.interrupt.wait() => Err(Failure::new(
            crate::failure::Kind::StoppedWatching,
            "stopped watching; tasks go on ending",
        )
        .hint("cargo xtask rollback --stop    # go on to the end").into()),
    };
    let (state, outcome) = match &stopped {
        Ok(()) => (State::Landed, Outcome::Landed),
        Err(_) => (State::Left, Outcome::LeftRunning),
    };
    for thing in &up {
        if let Some(entry) = record.things.get_mut(thing) {
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

/// What a record says of a stop: nothing runs of these things after it.
fn stopped_entries(look: &Look, up: &[Thing]) -> BTreeMap<Thing, Entry> {
    let entry = |(thing, before): (Thing, Option<Running>)| {
        let after = before.clone().filter(|_| !up.contains(&thing));
        let outcome = None;
        (
            thing,
            Entry {
                before,
                after,
                outcome,
            },
        )
    };
    look.running().into_iter().map(entry).collect()
}

async fn stop_all(world: &World<'_>, look: &Look, things: &[Thing]) -> Result<()> {
    for thing in things {
        let revision = &look.services[thing].revision;
        // No deployment comes of another count alone: alarms watch nothing here.
        let none = ServiceUpdate {
            revision: Some(revision.clone()),
            desired: Some(0),
            ..ServiceUpdate::default()
        };
        world.cluster.update(*thing, &none).await?;
        let started = Instant::now();
        loop {
            let state = world.cluster.look(*thing).await?;
            if state.running == 0 && state.pending == 0 {
                break;
            }
            if started.elapsed() > STOP_LIMIT {
                bail!(
                    "{thing} has {} tasks after {} s",
                    state.running,
                    STOP_LIMIT.as_secs()
                );
            }
            world
                .report
                .live(thing.name(), &format!("stopping: {} left", state.running));
            tokio::time::sleep(STOP_INTERVAL).await;
        }
        world.cluster.deregister(revision).await?;
        world.report.line(
            thing.name(),
            &format!("stopped; {revision} is deregistered"),
        );
    }
    Ok(())
}
