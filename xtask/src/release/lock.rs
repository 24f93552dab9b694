//! The lock of an environment, which is the record of its release or rotation in the ledger:
//! opened, renewed while that goes on, closed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::{About, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::record::{Entries, LEASE, Record, RecordKind, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::failure::Failure;
use crate::ports::Context;
use crate::report::{ReleaseEvent, SecretsEvent};

const LEASE_RENEWAL: Duration = Duration::from_mins(1);
/// Other runs rely on the record, so a write that fails is tried again.
const WRITES_MAX: u32 = 3;
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Opens a record. Creating the next number takes the lock: only one run can create it.
pub(super) async fn open(
    context: &Context<'_>,
    about: About,
    kind: RecordKind,
    entries: Entries,
) -> Result<Record> {
    let newest = context.ledger.newest().await?;
    let now = context.clock.now();
    let mut why = about.why;
    let mut without_alarms = BTreeSet::new();
    if let Some(newest) = &newest {
        if newest.held(now) {
            return Err(held(newest).into());
        }
        if newest.abandoned(now) {
            why = format!("{why}, after {} was abandoned", newest.number);
        }
        without_alarms.clone_from(&newest.without_alarms);
    }
    let record = Record {
        number: newest.map_or(1, |newest| newest.number + 1),
        kind,
        state: ReleaseState::InProgress,
        until: now + LEASE,
        opened: now,
        closed: None,
        who: about.who,
        host: about.host,
        why,
        commit: about.commit,
        dirty: about.dirty,
        without_alarms,
        entries,
    };
    let created = context.ledger.create(&record).await;
    if matches!(created, Ok(true)) {
        return Ok(record);
    }
    // An answer can be lost after the record was made: then what the ledger holds is ours.
    let holder = context.ledger.read(record.number).await?;
    if holder.as_ref() == Some(&record) {
        return Ok(record);
    }
    created?;
    Err(holder.map_or_else(
        || Failure::refused(format!("another run opened record {}", record.number)),
        |holder| held(&holder),
    ))?
}

fn held(holder: &Record) -> Failure {
    Failure::refused(format!(
        "{} is in progress since {:.0}",
        holder.about(),
        holder.opened
    ))
    .hint(format!(
        "wait for it, or, if its run is gone, until its lease ends at {:.0}",
        holder.until
    ))
}

impl Release<'_> {
    /// Called before each change: no later release may have been opened.
    pub(super) async fn ensure_lock_held(&mut self) -> Result<(), ReleaseError> {
        let newest = self.context.ledger.newest().await?;
        match newest {
            Some(newest) if newest.number > self.record.number => Err(ReleaseError::Superseded {
                component: None,
                by: newest.about(),
            }),
            _ => Ok(()),
        }
    }

    /// Renews the lease, so that a release under way does not count as abandoned.
    pub(super) async fn renew(&mut self) -> Result<()> {
        if self.renewed.elapsed() > LEASE_RENEWAL {
            self.save().await?;
        }
        Ok(())
    }

    pub(super) async fn set_outcome(
        &mut self,
        component: Component,
        outcome: Outcome,
    ) -> Result<()> {
        self.record.entries.conclude(component, outcome);
        self.save().await
    }

    pub(super) async fn close(&mut self, state: ReleaseState) -> Result<()> {
        self.record.state = state;
        self.record.closed = Some(self.context.clock.now());
        self.save().await?;
        let report = self.context.report;
        let (number, outcome) = (self.record.number, state.text().to_owned());
        match self.record.kind {
            RecordKind::Rotation => report.emit(SecretsEvent::RotationClosed { number, outcome }),
            _ => report.emit(ReleaseEvent::ReleaseClosed { number, outcome }),
        }
        Ok(())
    }

    pub(super) async fn save(&mut self) -> Result<()> {
        self.renewed = Instant::now();
        if self.record.state == ReleaseState::InProgress {
            self.record.until = self.context.clock.now() + LEASE;
        }
        let name = self.record.name();
        let mut attempt = 1;
        loop {
            match self.context.ledger.overwrite(&self.record).await {
                Err(_) if attempt < WRITES_MAX => attempt += 1,
                saved => {
                    return saved.with_context(|| format!("write {name} into the ledger"));
                }
            }
            tokio::time::sleep(WRITE_INTERVAL).await;
        }
    }
}
