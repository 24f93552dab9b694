//! `secrets rotate`: a new signing pair for orbit and axon, without a dispatch that fails. It holds
//! the environment's lock, so that no release starts tasks meanwhile and no other rotation takes
//! steps. A secret can still be changed by hand: which step comes next is read from the secrets
//! before each, and a secret is replaced only where it is still the version that was read. Before a
//! step every task has said in its log that it has the version of the step before.

mod watch;

use anyhow::Result;
use serde_json::Value;

use super::{About, Confirmed, End, Release, ReleaseError};
use crate::catalog::Service;
use crate::decide::acceptance::{AXON, ORBIT};
use crate::decide::outputs::Outputs;
use crate::decide::release::record::{Entries, Record, RecordKind};
use crate::decide::release::rotation::{self, RotationStep, SigningPair};
use crate::ports::Context;
use crate::report::{SecretChange, SecretsEvent};
use watch::{POLL_INTERVAL, RotationWatch, SecretPair};

/// What a rotation would do first, as the secrets are now.
pub async fn next_rotation_step(context: &Context<'_>, outputs: &Outputs) -> Result<RotationStep> {
    let watch = RotationWatch::new(context, outputs);
    watch.step(&watch.read().await?, None)
}

/// `random_pair` makes the new pair when a step needs one.
pub async fn rotate(
    context: &Context<'_>,
    outputs: &Outputs,
    about: About,
    random_pair: impl Fn() -> Result<SigningPair>,
    _: Confirmed,
) -> Result<Record> {
    let kind = RecordKind::Rotation;
    let mut release = Release::open(context, outputs, about, kind, Entries::default()).await?;
    let end = tokio::select! {
        end = release.run_rotation(random_pair) => end,
        () = context.interrupt.wait() => release.detach(),
    };
    release.finish(end).await
}

impl Release<'_> {
    async fn run_rotation(&mut self, random_pair: impl Fn() -> Result<SigningPair>) -> End {
        match self.take_steps(random_pair).await {
            Ok(()) => End::succeeded(),
            Err(error) => self.ended_by(error),
        }
    }

    /// Whatever was read before the lock was taken may have changed since.
    async fn take_steps(
        &mut self,
        random_pair: impl Fn() -> Result<SigningPair>,
    ) -> Result<(), ReleaseError> {
        let context = self.context;
        let mut watch = RotationWatch::new(&context, self.outputs);
        let mut outgoing = None;
        loop {
            let (found, step) = self.steady_step(&mut watch, outgoing.as_ref()).await?;
            let (axon, orbit) = (&found.axon.document, &found.orbit.document);
            outgoing = outgoing.or_else(|| rotation::outgoing(axon, orbit));
            let Some((service, document, change)) = change(step, axon, orbit, &random_pair)? else {
                return Ok(());
            };
            self.ensure_lock_held().await?;
            if watch.replace(service, &found, &document).await? {
                let component = service.into();
                context
                    .report
                    .emit(SecretsEvent::SecretReplaced { component, change });
            }
        }
    }

    /// The next step, once nothing speaks against it for a while.
    async fn steady_step(
        &mut self,
        watch: &mut RotationWatch<'_>,
        outgoing: Option<&SigningPair>,
    ) -> Result<(SecretPair, RotationStep)> {
        watch.begin().await?;
        loop {
            if let Some(ready) = watch.look(outgoing).await? {
                return Ok(ready);
            }
            self.renew().await?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Whose secret a step replaces, and by what; `None` where the rotation is at its end.
fn change(
    step: RotationStep,
    axon: &Value,
    orbit: &Value,
    random_pair: impl Fn() -> Result<SigningPair>,
) -> Result<Option<(Service, Value, SecretChange)>> {
    Ok(Some(match step {
        RotationStep::Offer => {
            let new = rotation::offered(axon, &random_pair()?);
            (AXON, new, SecretChange::NewKeyBesideOld)
        }
        RotationStep::Switch => {
            let new = rotation::switched(orbit, axon);
            (ORBIT, new, SecretChange::SignsWithNewKey)
        }
        RotationStep::Retire => {
            let new = rotation::retired(axon);
            (AXON, new, SecretChange::OldKeyRemoved)
        }
        RotationStep::Repair => {
            let new = rotation::repaired(axon, orbit);
            (AXON, new, SecretChange::SignersKeyAdded)
        }
        RotationStep::Finish => return Ok(None),
    }))
}
