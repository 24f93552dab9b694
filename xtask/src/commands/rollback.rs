//! `rollback`: to the newest release that succeeded and is not what runs now. Itself a release,
//! with a record. `--stop` takes the services down.

use anyhow::Result;
use serde_json::json;

use super::plan;
use crate::decide::outputs::Outputs;
use crate::planning;
use crate::planning::about::about;
use crate::ports::Context;
use crate::release::{self, StopPlan, confirm, warn_of_expiry};

pub async fn rollback(
    context: &Context<'_>,
    outputs: &Outputs,
    to: Option<u64>,
    yes: bool,
) -> Result<()> {
    let report = context.report;
    let (target, plan) = planning::rollback::plan(context, outputs, to).await?;
    if plan.is_empty() {
        let text = format!("release {} is what runs now", target.number);
        report.line("rollback", &text);
        return Ok(());
    }
    report.line("rollback", &format!("to {}", target.about()));
    plan::show(context, &plan);
    warn_of_expiry(context, release::time_limit(&plan));
    let confirmed = confirm(context, yes, "roll back").await?;

    let about = about(context, &format!("rollback to {}", target.number)).await?;
    let record = release::roll_back(context, outputs, &plan, about, confirmed).await?;
    let done = json!({ "outcome": "succeeded", "release": record.number, "to": target.number });
    report.data(&done, "");
    let text = format!("done: release {} runs again", target.number);
    report.line("rollback", &text);
    Ok(())
}

/// The source document's procedure: none desired, wait, deregister what ran.
pub async fn stop(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    let report = context.report;
    let plan = StopPlan::new(release::observe(context, outputs).await?);
    if plan.services.is_empty() {
        report.line("stop", "nothing runs");
        return Ok(());
    }
    for (service, revision) in &plan.services {
        let text = format!("will be stopped, and {revision} deregistered");
        report.line(service.name(), &text);
    }
    warn_of_expiry(context, plan.time_limit());
    let confirmed = confirm(context, yes, "stop these services").await?;

    let about = about(context, "stop").await?;
    let record = release::stop(context, outputs, &plan, about, confirmed).await?;
    let done = json!({ "outcome": "stopped", "release": record.number });
    report.data(&done, "");
    let text = "done: `cargo xtask deploy` or `rollback` starts the services again";
    report.line("stop", text);
    Ok(())
}
