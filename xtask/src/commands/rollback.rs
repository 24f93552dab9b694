//! `rollback`: to the newest release that succeeded and is not what runs now. A rollback has a
//! record of its own. `--stop` stops all tasks.

use anyhow::Result;
use serde_json::json;

use super::{hold, plan};
use crate::decide::outputs::Outputs;
use crate::planning;
use crate::planning::about::about;
use crate::ports::Context;
use crate::release::{self, StopPlan, confirm, warn_of_expiry};
use crate::report::{CommandEvent, LockEvent, ReleaseEvent};

#[derive(Debug, Clone, Copy, Default)]
pub struct RollbackOptions {
    /// `None`: the newest release that succeeded and does not run.
    pub to: Option<u64>,
    pub yes: bool,
    /// Whether the environment takes no release afterwards, until somebody lifts that.
    pub holds: bool,
}

pub async fn rollback(
    context: &Context<'_>,
    outputs: &Outputs,
    options: &RollbackOptions,
) -> Result<()> {
    let RollbackOptions { to, yes, holds } = *options;
    let report = context.report;
    let (target, plan) = planning::rollback::plan(context, outputs, to).await?;
    if plan.is_empty() {
        let release = target.number;
        report.emit(CommandEvent::NothingToRollBack { release });
        return Ok(());
    }
    report.emit(CommandEvent::RollbackTarget {
        release: target.number,
        about: target.about(),
    });
    plan::show(context, &plan, &[]);
    warn_of_expiry(context, release::time_limit(&plan));
    let confirmed = confirm(context, yes, "roll back").await?;

    let about = about(context, &format!("rollback to {}", target.number)).await?;
    let why = format!("rolled back to release {}", target.number);
    let hold = holds.then(|| hold::of_user(context, &why));
    let ending = (about, hold.clone());
    let record = release::roll_back(context, outputs, &plan, ending, confirmed).await?;
    let done = json!({ "outcome": "succeeded", "release": record.number, "to": target.number });
    report.data(&done, "");
    report.emit(CommandEvent::RollbackDone {
        release: target.number,
    });
    if let Some(hold) = hold {
        let hold = hold.about();
        report.emit(LockEvent::Held { hold });
    }
    Ok(())
}

/// As the source document has it: set the desired counts to 0, wait, deregister the revisions.
pub async fn stop(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    let report = context.report;
    let found = release::observe(context, outputs).await?;
    let plan = StopPlan::new(context.catalog, found.snapshot);
    if plan.services.is_empty() {
        report.emit(CommandEvent::NothingRuns);
        return Ok(());
    }
    for (service, revision) in &plan.services {
        report.emit(ReleaseEvent::WillStop {
            component: (*service).into(),
            revision: revision.to_string(),
        });
    }
    warn_of_expiry(context, plan.time_limit());
    let confirmed = confirm(context, yes, "stop these services").await?;

    let about = about(context, "stop").await?;
    let record = release::stop(context, outputs, &plan, about, confirmed).await?;
    let done = json!({ "outcome": "stopped", "release": record.number });
    report.data(&done, "");
    report.emit(CommandEvent::ServicesStopped);
    Ok(())
}
