//! The record of a release: opened, kept up while the release goes on, closed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::{About, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::record::{Entry, LEASE, Record, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::failure::Failure;
use crate::world::World;

const LEASE_RENEWAL: Duration = Duration::from_mins(1);
/// Others go by the record: one failed write must not make it wrong.
const WRITES_MAX: u32 = 3;
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Opens a record: whoever creates the next number holds the environment.
pub async fn open(
    world: &World<'_>,
    about: About,
    components: BTreeMap<Component, Entry>,
) -> Result<Record> {
    let newest = world.ledger.newest().await?;
    let now = world.clock.now();
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
        components,
    };
    let created = world.ledger.create(&record).await;
    if matches!(created, Ok(true)) {
        return Ok(record);
    }
    // An answer can be lost after the record was made: then what the ledger holds is ours.
    let holder = world.ledger.read(record.number).await?;
    if holder.as_ref() == Some(&record) {
        return Ok(record);
    }
    created?;
    Err(holder.map_or_else(
        || {
            Failure::refused(format!(
                "release {} was opened by somebody else",
                record.number
            ))
        },
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
        "wait for it, or, if nobody is at work on it, until its time is over at {:.0}",
        holder.until
    ))
}

impl Release<'_> {
    /// Before each change: nobody has opened a later release.
    pub(super) async fn guard(&mut self) -> Result<(), ReleaseError> {
        let newest = self.world.ledger.newest().await?;
        match newest {
            Some(newest) if newest.number > self.record.number => Err(ReleaseError::Superseded {
                component: None,
                by: newest.about(),
            }),
            _ => Ok(()),
        }
    }

    /// A holder that works renews its time, so that it is not taken for dead.
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
        if let Some(entry) = self.record.components.get_mut(&component) {
            entry.outcome = Some(outcome);
            if outcome == Outcome::RolledBack {
                entry.after.clone_from(&entry.before);
            }
        }
        self.save().await
    }

    pub(super) async fn close(&mut self, state: ReleaseState) -> Result<()> {
        self.record.state = state;
        self.record.closed = Some(self.world.clock.now());
        self.save().await?;
        let text = format!("{} closed: {}", self.record.number, state.text());
        self.world.report.line("release", &text);
        Ok(())
    }

    pub(super) async fn save(&mut self) -> Result<()> {
        self.renewed = Instant::now();
        if self.record.state == ReleaseState::InProgress {
            self.record.until = self.world.clock.now() + LEASE;
        }
        let number = self.record.number;
        let mut attempt = 1;
        loop {
            match self.world.ledger.overwrite(&self.record).await {
                Err(_) if attempt < WRITES_MAX => attempt += 1,
                saved => {
                    return saved
                        .with_context(|| format!("write release {number} into the ledger"));
                }
            }
            tokio::time::sleep(WRITE_INTERVAL).await;
        }
    }
}
