//! `secrets rotate`: a new signing pair for all services, without a call that fails. It holds the
//! environment's lock, so that no release starts tasks meanwhile and no other rotation takes steps.
//! A secret can still be changed by hand: which step comes next is read from the secrets before
//! each, and a secret is replaced only where it is still the version that was read. Before a step
//! the tasks that it could break have said in their log that they have their secret's version.

mod watch;

use anyhow::Result;

use super::{About, Confirmed, End, Release, ReleaseError, under_lock};
use crate::decide::outputs::Outputs;
use crate::decide::release::record::{Entries, Record, RecordKind};
use crate::decide::release::rotation::{RotationChange, RotationStep, SigningPair};
use crate::ports::Context;
use crate::report::{SecretChange, SecretsEvent};
use watch::{FoundSecrets, POLL_INTERVAL, RotationWatch};

/// Tells what a rotation would do first, as the secrets are now.
pub async fn announce_rotation(
    context: &Context<'_>,
    outputs: &Outputs,
    fresh: &SigningPair,
) -> Result<()> {
    let watch = RotationWatch::new(context, outputs, fresh.clone());
    let found = watch.read().await?;
    let rotation = watch.rotation(&found)?;
    for (caller, callee) in rotation.refused_calls() {
        context.report.emit(SecretsEvent::KeyRefused {
            component: caller.into(),
            callee: callee.into(),
        });
    }
    let (_, step) = watch.next_step(&found)?;
    if let Some(first) = step.replacement {
        context.report.emit(SecretsEvent::RotationStarted {
            component: first.service.into(),
            change: shown(first.change),
            resumed: rotation.in_progress().is_some(),
        });
    }
    Ok(())
}

/// `fresh` becomes the pair of all services, unless a rotation that ended early began with another.
pub async fn rotate(
    context: &Context<'_>,
    outputs: &Outputs,
    about: About,
    fresh: SigningPair,
    _: Confirmed,
) -> Result<Record> {
    let opening = (about, RecordKind::Rotation, Entries::default());
    under_lock(context, outputs, opening, async |release| {
        release.run_rotation(fresh).await
    })
    .await
}

impl Release<'_> {
    async fn run_rotation(&mut self, fresh: SigningPair) -> End {
        match self.take_steps(fresh).await {
            Ok(()) => End::succeeded(),
            Err(error) => self.ended_by(error),
        }
    }

    /// Whatever was read before the lock was taken may have changed since.
    async fn take_steps(&mut self, fresh: SigningPair) -> Result<(), ReleaseError> {
        let context = self.context;
        let mut watch = RotationWatch::new(&context, self.outputs, fresh);
        loop {
            let (found, step) = self.steady_step(&mut watch).await?;
            let Some(replacement) = step.replacement else {
                return Ok(());
            };
            // A second time replaces nothing: the version is another one then.
            if self
                .change(async || watch.replace(&found, &replacement).await)
                .await?
            {
                context.report.emit(SecretsEvent::SecretReplaced {
                    component: replacement.service.into(),
                    change: shown(replacement.change),
                });
            }
        }
    }

    /// The next step, once nothing speaks against it for a while.
    async fn steady_step(
        &mut self,
        watch: &mut RotationWatch<'_>,
    ) -> Result<(FoundSecrets, RotationStep), ReleaseError> {
        self.answered(async || watch.begin().await).await?;
        loop {
            if let Some(ready) = self.answered(async || watch.poll().await).await? {
                return Ok(ready);
            }
            self.ensure_lock_not_lost().await?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn shown(change: RotationChange) -> SecretChange {
    match change {
        RotationChange::NewBesideOld => SecretChange::NewKeyBesideOld,
        RotationChange::NewBesideCallers => SecretChange::NewKeyBesideCallers,
        RotationChange::NewToSignWith => SecretChange::SignsWithNewKey,
        RotationChange::OldRemoved => SecretChange::OldKeyRemoved,
    }
}
