//! Earlier releases, as far as a plan needs them.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::catalog::Service;
use crate::decide::release::history;
use crate::decide::release::record::Record;
use crate::decide::release::snapshot::Snapshot;
use crate::ports::Context;

/// How far back the ledger is searched for a release that succeeded.
const RECORDS_MAX: u64 = 100;

/// The newest record for which something holds.
pub async fn newest_where(
    context: &Context<'_>,
    mut holds: impl FnMut(&Record) -> bool,
) -> Result<Option<Record>> {
    let mut next = context.ledger.newest().await?;
    for _ in 0..RECORDS_MAX {
        let Some(record) = next else { return Ok(None) };
        if holds(&record) {
            return Ok(Some(record));
        }
        next = match record.number {
            0 | 1 => None,
            number => context.ledger.read(number - 1).await?,
        };
    }
    Ok(None)
}

/// The services that a release has started: only these may be scaled. Without autoscaling
/// the ledger is not read.
pub async fn released(context: &Context<'_>) -> Result<Vec<Service>> {
    if !context.environment.is_scaled() {
        return Ok(Vec::new());
    }
    let succeeded = newest_where(context, Record::is_succeeded_release).await?;
    let services = succeeded.map_or_else(BTreeMap::new, |record| record.entries.services);
    let started = services
        .into_iter()
        .filter(|(_, entry)| entry.after.is_some());
    Ok(started.map(|(service, _)| service).collect())
}

/// Where a service is in the middle of a rollout, what it goes back to is what succeeded last.
pub async fn succeeded_if_moving(
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Record>> {
    if snapshot.settled() {
        return Ok(None);
    }
    newest_where(context, Record::is_succeeded_release).await
}

/// The release that a rollback chooses by itself.
pub async fn rollback_target(context: &Context<'_>, snapshot: &Snapshot) -> Result<Option<Record>> {
    newest_where(context, |record| history::is_target(record, snapshot)).await
}
