//! `secrets rotate`: a new signing pair for orbit and axon, without a dispatch that fails. Where it
//! stands is read from the secrets, so that a run that ended early is gone on with. Before each
//! step every task has said in its log that it has the version of the step before.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::Instant;

use super::super::confirm::confirm;
use super::random_pair;
use crate::catalog::Thing;
use crate::decide::rotation::{self, Stage};
use crate::failure::{Failure, Kind};
use crate::world::{Desk, SecretVersion, World};

/// The services' own default.
const REFRESH_DEFAULT: Duration = Duration::from_mins(5);
/// Above the jitter of a refresh, the time that it may take, and the way of a line into the log.
const REFRESH_SPREAD: f64 = 1.1;
const MARGIN: Duration = Duration::from_mins(1);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A request that orbit signed with the old key may be on its way; axon gives up on it by then.
const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(10);
/// Clocks of AWS and of what it runs: a line is looked for from this much before the version.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

pub async fn rotate(desk: &Desk<'_>, world: &World<'_>, yes: bool) -> Result<()> {
    let (axon, orbit) = (
        read(world, Thing::Axon).await?,
        read(world, Thing::Orbit).await?,
    );
    let stage = rotation::stage(&axon.document, &orbit.document).map_err(|fault| {
        let environment = &world.environment.name;
        Failure::not_ready(fault.to_string()).hint(format!(
            "cargo xtask secrets init --env {environment}    # for a secret without a value"
        ))
    })?;
    let begins = match stage {
        Stage::Settled => "axon gets a new key beside the old one",
        Stage::Offered => "going on: axon has a new key, orbit signs with the old one",
        Stage::Switched => "going on: orbit has the new key, axon knows the old one still",
    };
    world.report.line("rotation", begins);
    confirm(desk, yes, "rotate the signing key").await?;
    tokio::select! {
        rotated = carry_out(world, stage) => rotated?,
        () = world.interrupt.wait() => return Err(stopped("stopped watching").into()),
    }
    world.report.data(&json!({ "outcome": "rotated" }), "");
    world
        .report
        .line("rotation", "done: the old key is of no use any more");
    Ok(())
}

async fn carry_out(world: &World<'_>, stage: Stage) -> Result<()> {
    if stage == Stage::Settled {
        let axon = read(world, Thing::Axon).await?;
        put(
            world,
            Thing::Axon,
            &rotation::offered(&axon.document, &random_pair()?),
        )
        .await?;
    }
    if stage != Stage::Switched {
        let axon = everywhere(world, Thing::Axon).await?;
        let orbit = read(world, Thing::Orbit).await?;
        put(
            world,
            Thing::Orbit,
            &rotation::switched(&orbit.document, &axon.document),
        )
        .await?;
        world.report.line("orbit", "is to sign with the new key");
    }
    everywhere(world, Thing::Orbit).await?;
    tokio::time::sleep(IN_FLIGHT_LIMIT).await;
    let axon = read(world, Thing::Axon).await?;
    put(world, Thing::Axon, &rotation::retired(&axon.document)).await?;
    world.report.line("axon", "is to forget the old key");
    everywhere(world, Thing::Axon).await?;
    Ok(())
}

async fn read(world: &World<'_>, thing: Thing) -> Result<SecretVersion> {
    let found = world
        .secrets
        .read(&world.site.service(thing).secret_arn)
        .await?;
    let environment = &world.environment.name;
    Ok(found.ok_or_else(|| {
        Failure::not_ready(format!("the secret of {thing} has no value"))
            .hint(format!("cargo xtask secrets init --env {environment}"))
    })?)
}

async fn put(world: &World<'_>, thing: Thing, document: &serde_json::Value) -> Result<()> {
    let again = "nothing is broken, every dispatch goes on being answered: run it again";
    let arn = &world.site.service(thing).secret_arn;
    world.secrets.put(arn, document).await.context(again)
}

/// Waits until every running task has the secret's current version, and answers that version.
async fn everywhere(world: &World<'_>, thing: Thing) -> Result<SecretVersion> {
    let version = read(world, thing).await?;
    let limit = refresh_interval(world, thing)
        .await?
        .mul_f64(REFRESH_SPREAD)
        + MARGIN;
    let began = Instant::now();
    loop {
        let running = world.cluster.running_tasks(thing).await?;
        let missing = without(world, thing, &version, &running).await?;
        let count = running.len();
        if missing.is_empty() {
            let text = format!("all {count} tasks have the current version of their secret");
            world.report.line(thing.name(), &text);
            return Ok(version);
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            let message = format!(
                "{thing} did not take its secret up within {} s: {} have not logged version {}",
                limit.as_secs(),
                missing.join(", "),
                version.id
            );
            return Err(stopped(&message).into());
        }
        let have = count - missing.len();
        let left = left.as_secs();
        let text = format!("{have} of {count} tasks have their new secret; {left} s at most");
        world.report.live(thing.name(), &text);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The tasks whose log does not have the version.
async fn without(
    world: &World<'_>,
    thing: Thing,
    version: &SecretVersion,
    running: &[String],
) -> Result<Vec<String>> {
    let group = &world.site.service(thing).log_group;
    let from = version.created - CLOCK_SKEW;
    let lines = world.logs.mentions(group, from, &version.id).await?;
    let streams: BTreeSet<&str> = lines.iter().map(|line| &*line.stream).collect();
    let has = |task: &String| streams.iter().any(|stream| stream.ends_with(&**task));
    Ok(running.iter().filter(|task| !has(task)).cloned().collect())
}

/// As the definition has it that runs now.
async fn refresh_interval(world: &World<'_>, thing: Thing) -> Result<Duration> {
    let state = world.cluster.look(thing).await?;
    let Some(primary) = state.primary() else {
        return Ok(REFRESH_DEFAULT);
    };
    let registered = world.cluster.revision(&primary.revision).await?;
    let setting = registered.as_ref().and_then(|registered| {
        let environment = registered.definition.container()?.environment();
        environment.get("SECRET_REFRESH_MS")?.parse().ok()
    });
    Ok(setting.map_or(REFRESH_DEFAULT, Duration::from_millis))
}

/// Nothing has to be put back: axon has every key that orbit may sign with.
fn stopped(message: &str) -> Failure {
    Failure::new(Kind::StoppedWatching, message).hint(
        "every dispatch goes on being answered; `cargo xtask secrets rotate` goes on from here\n\
         cargo xtask logs axon    # why a secret cannot be read; RUST_LOG must let info through",
    )
}
