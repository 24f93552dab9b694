//! `cleanup`: removes what neither runs nor is needed for a rollback to one of the last releases.

use anyhow::Result;
use serde_json::{json, to_value};

use crate::decide::outputs::Outputs;
use crate::planning::about::about;
use crate::ports::Context;
use crate::release::{self, CleanupPlan, confirm};
use crate::report::CleanupEvent;

#[derive(Debug, Clone, Copy)]
pub struct CleanupOptions {
    /// How many releases a rollback can go to afterwards.
    pub keep: usize,
    pub dry_run: bool,
    pub yes: bool,
}

pub async fn cleanup(
    context: &Context<'_>,
    outputs: &Outputs,
    options: &CleanupOptions,
) -> Result<()> {
    let report = context.report;
    let plan = CleanupPlan::new(context, outputs, options.keep).await?;
    let removal = &plan.removal;
    let lines: Vec<String> = removal
        .remove
        .iter()
        .map(|batch| format!("{:<11} {}", batch.subject(), batch.names().join(", ")))
        .collect();
    let text = lines.join("\n");
    if options.dry_run {
        report.data(removal, &text);
        return Ok(());
    }
    if removal.is_empty() {
        report.data(&json!({ "removed": 0 }), "");
        report.emit(CleanupEvent::NothingToRemove);
        return Ok(());
    }
    let plan_document = to_value(removal)?;
    report.emit(CleanupEvent::CleanupPlan {
        plan: plan_document,
        text,
    });
    let confirmed = confirm(context, options.yes, "remove these").await?;

    let about = about(context, &format!("cleanup, keep {}", options.keep)).await?;
    let record = release::clean_up(context, outputs, &plan, about, confirmed).await?;
    let done = json!({ "removed": removal.names(), "record": record.number });
    report.data(&done, "");
    Ok(())
}
