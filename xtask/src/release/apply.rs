//! The lock and the record of an apply of the infrastructure: no release goes on meanwhile, since
//! Terraform changes what it relies on.

use anyhow::Result;

use super::lock::{self, Opened};
use super::patience::Patience;
use super::{About, CLOSING_PATIENCE};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::failure::{Failure, Kind};
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
    let patience = Patience::of(CLOSING_PATIENCE);
    let (name, state) = (record.name(), record.state.text());
    match lock::close(context, &patience, record, None).await {
        Ok(true) => {
            context.report.emit(InfraEvent::ApplyClosed {
                number: record.number,
                outcome: state.to_owned(),
            });
            Ok(())
        }
        Ok(false) => Err(
            Failure::new(Kind::Superseded, format!("{name} was superseded"))
                .hint("another run took the lock: see `cargo xtask releases`")
                .into(),
        ),
        Err(error) => {
            let how = error.text();
            let text = format!("{name} {state}, but its record could not be closed: {how}");
            Err(Failure::new(Kind::StoppedWatching, text)
                .hint("the same command again: it finds that nobody works on it any more")
                .into())
        }
    }
}
