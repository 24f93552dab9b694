//! The lock and the record of an apply of the infrastructure: no release goes on meanwhile, since
//! Terraform changes what it relies on.

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::lock::{self, Opened};
use super::{About, CLOSING_PATIENCE, PAUSES};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::failure::{self, Failure, Kind};
use crate::ports::Context;
use crate::report::InfraEvent;

/// Runs an apply under the lock. It ends in order by itself where the user wishes to stop.
///
/// # Errors
/// Where another run that lives holds the lock; those of the apply; and where another run has taken
/// the lock over meanwhile.
pub async fn under_apply_lock(
    context: &Context<'_>,
    about: About,
    apply: impl Future<Output = Result<()>>,
) -> Result<()> {
    let over = lock::available(context).await?;
    let newest = context.ledger.newest().await?;
    let entries = newest.map_or_else(Entries::default, |newest| newest.entries.untouched());
    let opened = lock::open(context, about, RecordKind::Infra, entries, over.as_ref());
    let Opened {
        lock, mut record, ..
    } = opened.await?;
    let number = record.number;
    context.report.emit(InfraEvent::ApplyOpened { number });
    let applied = tokio::select! {
        biased;
        applied = apply => applied,
        () = lock.keep() => unreachable!("a lock is kept until the apply has ended"),
    };
    record.state = match &applied {
        Ok(()) => ReleaseState::Succeeded,
        Err(_) => ReleaseState::Failed,
    };
    if let Err(error) = &applied {
        record.set_cause(&format!("{error:#}"));
    }
    record.closed = Some(context.clock.now());
    let closed = close(context, &record).await;
    applied.and(closed)
}

async fn close(context: &Context<'_>, record: &Record) -> Result<()> {
    let (ledger, number) = (context.ledger, record.number);
    let started = Instant::now();
    let closed = loop {
        match ledger.close(record, None).await {
            Err(error)
                if failure::is(&error, Kind::Unanswered)
                    && started.elapsed() < CLOSING_PATIENCE =>
            {
                sleep(PAUSES.1).await;
            }
            closed => break closed,
        }
    };
    let name = record.name();
    // An answer can be lost after the record was closed.
    let is_closed = match closed {
        Ok(true) => true,
        _ => matches!(ledger.read(number).await, Ok(Some(found)) if found == *record),
    };
    if is_closed {
        let outcome = record.state.text().to_owned();
        context
            .report
            .emit(InfraEvent::ApplyClosed { number, outcome });
        return Ok(());
    }
    let state = record.state.text();
    Err(match closed {
        Ok(_) => Failure::new(Kind::Superseded, format!("{name} was superseded"))
            .hint("another run took the lock: see `cargo xtask releases`"),
        Err(error) => {
            let text = format!("{name} {state}, but its record could not be closed: {error:#}");
            Failure::new(Kind::StoppedWatching, text)
                .hint("the same command again: it finds that nobody works on it any more")
        }
    }
    .into())
}
