//! `secrets rotate`: a new signing pair for orbit and axon, without a dispatch that fails. Which
//! step comes next is read from the secrets before each, so that a run that ended early is gone on
//! with, and two runs at once do each step once: a secret is replaced only where it is still the
//! version that was read. Before a step every task has said in its log that it has the version of
//! the step before.

mod watch;

use anyhow::Result;
use serde_json::json;

use super::super::confirm::confirm;
use super::random_pair;
use crate::catalog::Component;
use crate::decide::release::rotation::{self, Step};
use crate::world::{Desk, World};
use watch::{Documents, Watch, stopped};

pub async fn rotate(desk: &Desk<'_>, world: &World<'_>, yes: bool) -> Result<()> {
    let begins = match Documents::read(world).await?.next_step(world, None)? {
        Step::Offer | Step::Finish => "axon gets a new key beside the old one",
        Step::Switch => "going on: axon has a new key, orbit does not sign with it yet",
        Step::Retire => "going on: orbit has the new key, axon knows the old one still",
        Step::Mend => "orbit signs with a key that axon does not have: axon gets it first",
    };
    world.report.line("rotation", begins);
    confirm(desk, yes, "rotate the signing key").await?;
    tokio::select! {
        rotated = carry_out(world) => rotated?,
        () = world.interrupt.wait() => return Err(stopped(world, "stopped watching").into()),
    }
    world.report.data(&json!({ "outcome": "rotated" }), "");
    world
        .report
        .line("rotation", "done: the old key is of no use any more");
    Ok(())
}

/// Whatever was read before the confirmation may have changed since.
async fn carry_out(world: &World<'_>) -> Result<()> {
    let mut watch = Watch::new(world).await?;
    let mut outgoing = None;
    loop {
        let (found, step) = watch.next_step(outgoing.as_ref()).await?;
        let (axon, orbit) = (&found.axon.document, &found.orbit.document);
        outgoing = outgoing.or_else(|| rotation::outgoing(axon, orbit));
        let (component, document, done) = match step {
            Step::Offer => {
                let new = rotation::offered(axon, &random_pair()?);
                (
                    Component::Axon,
                    new,
                    "is to know a new key beside the old one",
                )
            }
            Step::Switch => {
                let new = rotation::switched(orbit, axon);
                (Component::Orbit, new, "is to sign with the new key")
            }
            Step::Retire => (
                Component::Axon,
                rotation::retired(axon),
                "is to forget the old key",
            ),
            Step::Mend => {
                let new = rotation::mended(axon, orbit);
                (
                    Component::Axon,
                    new,
                    "is to know the key that orbit signs with",
                )
            }
            Step::Finish => return Ok(()),
        };
        if watch.replace(component, &found, &document).await? {
            world.report.line(component.name(), done);
        }
    }
}
