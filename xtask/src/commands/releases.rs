//! `releases`: the ledger, newest first; `releases show`: one of its records.

use anyhow::Result;

use crate::catalog::Service;
use crate::decide::definition::diff;
use crate::decide::release::record::{Entry, Record};
use crate::decide::release::rollout::Outcome;
use crate::decide::release::snapshot::{FunctionRunning, ServiceRunning};
use crate::failure::Failure;
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

/// Who made it and why, what it changed, and why it failed.
pub async fn show(context: &Context<'_>, number: u64) -> Result<()> {
    let found = context.ledger.read(number).await?;
    let record = found.ok_or_else(|| {
        Failure::refused(format!("there is no release {number}"))
            .hint("cargo xtask releases     # the ledger")
    })?;
    let mut lines = head(&record);
    for (service, entry) in &record.entries.services {
        lines.push(of_service(*service, entry));
        lines.extend(differences(context, entry).await?);
    }
    for (function, entry) in &record.entries.functions {
        let text = |running: Option<&FunctionRunning>| {
            running.map_or("nothing".to_owned(), |it| format!("version {}", it.version))
        };
        let change = change(&text(entry.before.as_ref()), &text(entry.after.as_ref()));
        lines.push(format!(
            "{:<11} {change}{}",
            function.name(),
            ending(entry.outcome)
        ));
    }
    let phases = record.phase_lengths().into_iter();
    let phases: Vec<String> = phases
        .map(|(name, seconds)| format!("{name} {seconds} s"))
        .collect();
    if !phases.is_empty() {
        lines.push(format!("{:<11} {}", "phases", phases.join(", ")));
    }
    lines.extend(record.cause.iter().cloned());
    context.report.data(&record, &lines.join("\n"));
    Ok(())
}

fn head(record: &Record) -> Vec<String> {
    let at = |time: &jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let took = record.closed.map(|closed| {
        let seconds = closed.duration_since(record.opened).as_secs();
        format!("{}, {seconds} s", at(&closed))
    });
    let dirty = if record.dirty { ", with changes" } else { "" };
    let mut lines = vec![
        format!("{} {}", record.name(), record.state.text()),
        format!("{:<11} {}@{}", "who", record.who, record.host),
        format!("{:<11} {}", "why", record.why),
        format!("{:<11} {}", "opened", at(&record.opened)),
        format!("{:<11} {}", "closed", took.as_deref().unwrap_or("-")),
    ];
    if let Some(commit) = &record.commit {
        lines.push(format!("{:<11} {commit}{dirty}", "commit"));
    }
    if let Some(other) = record.took_over {
        lines.push(format!("{:<11} {other}", "took over"));
    }
    lines
}

fn of_service(service: Service, entry: &Entry<ServiceRunning>) -> String {
    let text = |running: Option<&ServiceRunning>| {
        running.map_or("nothing".to_owned(), |it| it.revision.to_string())
    };
    let change = change(&text(entry.before.as_ref()), &text(entry.after.as_ref()));
    format!("{:<11} {change}{}", service.name(), ending(entry.outcome))
}

fn change(before: &str, after: &str) -> String {
    if before == after {
        return after.to_owned();
    }
    format!("{before} -> {after}")
}

fn ending(outcome: Option<Outcome>) -> String {
    outcome.map_or(String::new(), |outcome| format!(", {}", outcome.text()))
}

/// What differs between the definitions of both revisions, where ECS still has them.
async fn differences(context: &Context<'_>, entry: &Entry<ServiceRunning>) -> Result<Vec<String>> {
    let (Some(before), Some(after)) = (&entry.before, &entry.after) else {
        return Ok(Vec::new());
    };
    if before.revision == after.revision {
        return Ok(Vec::new());
    }
    let cluster = context.cluster;
    let (before, after) = tokio::try_join!(
        cluster.describe_task_definition(&before.revision),
        cluster.describe_task_definition(&after.revision)
    )?;
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(Vec::new());
    };
    let changes = diff::diff(Some(&before.definition), &after.definition);
    let lines = changes
        .iter()
        .map(|change| format!("{:<11}   {change}", ""));
    Ok(lines.collect())
}
