//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

use anyhow::Result;
use serde_json::json;

use super::{plan, secrets};
use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::Plan;
use crate::planning::about::about;
use crate::planning::{self, chosen, outputs};
use crate::ports::Context;
use crate::release::{self, confirm, warn_of_expiry};
use crate::report::CommandEvent;

#[derive(Debug, Clone)]
pub struct Options {
    pub names: Vec<Component>,
    pub dry_run: bool,
    pub yes: bool,
}

pub async fn deploy(context: &Context<'_>, options: &Options) -> Result<()> {
    let components = chosen(&options.names);
    context
        .builder
        .require(context.architecture, &components)
        .await?;
    if options.dry_run {
        return dry_run(context, &options.names).await;
    }
    let outputs = outputs::ready(context, options.yes).await?;
    if context.environment.emulated {
        // On every run: an earlier one may have been interrupted after the apply.
        secrets::make_up(context, &outputs).await?;
    } else {
        secrets::require(context, &outputs).await?;
    }

    let Some(plan) = shown_plan(context, &outputs, &options.names).await? else {
        return Ok(());
    };
    warn_of_expiry(context, release::time_limit(&plan));
    let confirmed = confirm(context, options.yes, "release this").await?;

    let about = about(context, "deploy").await?;
    let record = release::deploy(context, &outputs, &plan, about, confirmed).await?;
    let base_url = &outputs.base_url;
    let done = json!({ "outcome": "succeeded", "release": record.number, "base_url": base_url });
    context.report.data(&done, "");
    context.report.emit(CommandEvent::Deployed {
        base_url: base_url.clone(),
    });
    Ok(())
}

/// `--dry-run`: what a deploy would do, with the outputs of the last apply.
async fn dry_run(context: &Context<'_>, names: &[Component]) -> Result<()> {
    let Some(outputs) = outputs::as_last_applied(context).await? else {
        return Ok(());
    };
    secrets::require(context, &outputs).await?;
    if shown_plan(context, &outputs, names).await?.is_some() {
        context.report.emit(CommandEvent::DryRunEnded);
    }
    Ok(())
}

/// Prints the plan and returns it. `None`: there is nothing to do, which was printed as the result.
async fn shown_plan(
    context: &Context<'_>,
    outputs: &Outputs,
    names: &[Component],
) -> Result<Option<Plan>> {
    let planned = planning::deploy::plan(context, outputs, names).await?;
    plan::refuse_errors(context, &planned.findings).await?;
    if planned.plan.is_empty() {
        let done = json!({ "outcome": "nothing to do", "base_url": outputs.base_url });
        context.report.data(&done, "");
        context.report.emit(CommandEvent::NothingToDeploy);
        return Ok(None);
    }
    plan::show(context, &planned.plan);
    Ok(Some(planned.plan))
}
