//! `secrets rotate`: a new signing pair for orbit and axon, without a dispatch that fails. Which
//! step comes next is read from the secrets before each, so that a run that ended early is gone on
//! with, and two runs at once do each step once: a secret is replaced only where it is still the
//! version that was read. Before a step every task has said in its log that it has the version of
//! the step before.

mod watch;

use anyhow::Result;

use super::Confirmed;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::rotation::{self, RotationStep, SigningPair};
use crate::ports::Context;
use crate::report::{SecretChange, SecretsEvent};
use watch::{Documents, Watch, stopped};

/// What a rotation would do first, as the secrets are now.
pub async fn next_rotation_step(context: &Context<'_>, outputs: &Outputs) -> Result<RotationStep> {
    let found = Documents::read(context, outputs).await?;
    found.next_step(context, outputs, None)
}

/// `random_pair` makes the new pair when a step needs one.
pub async fn rotate(
    context: &Context<'_>,
    outputs: &Outputs,
    random_pair: impl Fn() -> Result<SigningPair>,
    _: Confirmed,
) -> Result<()> {
    tokio::select! {
        rotated = carry_out(context, outputs, random_pair) => rotated,
        () = context.interrupt.wait() => Err(stopped(context, "stopped watching").into()),
    }
}

/// Whatever was read before the confirmation may have changed since.
async fn carry_out(
    context: &Context<'_>,
    outputs: &Outputs,
    random_pair: impl Fn() -> Result<SigningPair>,
) -> Result<()> {
    let mut watch = Watch::new(context, outputs).await?;
    let mut outgoing = None;
    loop {
        let (found, step) = watch.next_step(outgoing.as_ref()).await?;
        let (axon, orbit) = (&found.axon.document, &found.orbit.document);
        outgoing = outgoing.or_else(|| rotation::outgoing(axon, orbit));
        let (service, document, change) = match step {
            RotationStep::Offer => {
                let new = rotation::offered(axon, &random_pair()?);
                (Service::Axon, new, SecretChange::NewKeyBesideOld)
            }
            RotationStep::Switch => {
                let new = rotation::switched(orbit, axon);
                (Service::Orbit, new, SecretChange::SignsWithNewKey)
            }
            RotationStep::Retire => {
                let new = rotation::retired(axon);
                (Service::Axon, new, SecretChange::OldKeyRemoved)
            }
            RotationStep::Repair => {
                let new = rotation::repaired(axon, orbit);
                (Service::Axon, new, SecretChange::SignersKeyAdded)
            }
            RotationStep::Finish => return Ok(()),
        };
        if watch.replace(service, &found, &document).await? {
            let component = service.into();
            let report = context.report;
            report.emit(SecretsEvent::SecretReplaced { component, change });
        }
    }
}
