//! `releases`: the ledger, newest first.

use anyhow::Result;

use crate::decide::release::record::Record;
use crate::ports::Context;

pub async fn releases(context: &Context<'_>, last: u64) -> Result<()> {
    let Some(newest) = context.ledger.newest().await? else {
        context.report.data(&Vec::<Record>::new(), "no release yet");
        return Ok(());
    };
    let first = newest.number.saturating_sub(last.saturating_sub(1)).max(1);
    let mut records = Vec::new();
    for number in (first..newest.number).rev() {
        records.extend(context.ledger.read(number).await?);
    }
    records.insert(0, newest);
    let lines: Vec<_> = records.iter().map(line).collect();
    context.report.data(&records, &lines.join("\n"));
    Ok(())
}

fn line(record: &Record) -> String {
    let state = record.state.text();
    let commit = record
        .commit
        .as_deref()
        .map_or("-", |commit| commit.get(..9).unwrap_or(commit));
    let dirty = if record.dirty { "+" } else { "" };
    let opened = record.opened.strftime("%Y-%m-%d %H:%M:%SZ");
    format!(
        "{:>5}  {:<8}  {state:<15}  {opened}  {:<20}  {commit}{dirty}  {}",
        record.number,
        record.kind.text(),
        format!("{}@{}", record.who, record.host),
        record.why
    )
}
