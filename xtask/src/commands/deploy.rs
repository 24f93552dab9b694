//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

use anyhow::Result;
use serde_json::json;

use super::{plan, secrets};
use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::Plan;
use crate::planning::about::about;
use crate::planning::{self, outputs};
use crate::ports::Context;
use crate::release::{self, StopPlan, confirm, warn_of_expiry};
use crate::report::{CommandEvent, ReleaseEvent};

#[derive(Debug, Clone)]
pub struct Options {
    /// In the order of a release.
    pub components: Vec<Component>,
    pub dry_run: bool,
    pub yes: bool,
}

pub async fn deploy(context: &Context<'_>, options: &Options) -> Result<()> {
    let components = &options.components;
    let required = context.builder.require(context.architecture, components);
    required.await?;
    if options.dry_run {
        return dry_run(context, components).await;
    }
    let Some(outputs) = outputs::before_retirement(context).await? else {
        let outputs = outputs::ready(context, options.yes).await?;
        return release_components(context, options, &outputs).await;
    };
    // The new callers no longer call what goes, so they come first; Terraform removes it last.
    release_components(context, options, &outputs).await?;
    retire(context, &outputs, options.yes).await?;
    outputs::ready(context, options.yes).await.map(drop)
}

async fn release_components(
    context: &Context<'_>,
    options: &Options,
    outputs: &Outputs,
) -> Result<()> {
    if context.environment.emulated {
        // On every run: an earlier one may have been interrupted after the apply.
        secrets::make_up(context, outputs).await?;
    } else {
        secrets::require(context, outputs).await?;
    }

    let components = &options.components;
    let Some(plan) = shown_plan(context, outputs, components).await? else {
        return Ok(());
    };
    warn_of_expiry(context, release::time_limit(&plan));
    let confirmed = confirm(context, options.yes, "release this").await?;

    let about = about(context, "deploy").await?;
    let record = release::deploy(context, outputs, &plan, about, confirmed).await?;
    let base_url = &outputs.base_url;
    let done = json!({ "outcome": "succeeded", "release": record.number, "base_url": base_url });
    context.report.data(&done, "");
    context.report.emit(CommandEvent::Deployed {
        base_url: base_url.clone(),
    });
    Ok(())
}

/// Takes what the catalog retires out of service.
async fn retire(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    let snapshot = release::observe_with_retired(context, outputs).await?;
    let plan = StopPlan::retiring(context.catalog, snapshot);
    if plan.is_empty() {
        return Ok(());
    }
    for component in outputs.to_retire(context.catalog) {
        let report = context.report;
        report.emit(ReleaseEvent::WillRetire { component });
    }
    warn_of_expiry(context, plan.time_limit());
    let confirmed = confirm(context, yes, "retire these components").await?;
    let about = about(context, "retire").await?;
    let record = release::stop(context, outputs, &plan, about, confirmed).await?;
    tracing::debug!(number = record.number, "retired");
    Ok(())
}

/// `--dry-run`: what a deploy would do, with the outputs of the last apply.
async fn dry_run(context: &Context<'_>, components: &[Component]) -> Result<()> {
    let Some(outputs) = outputs::as_last_applied(context).await? else {
        return Ok(());
    };
    secrets::require(context, &outputs).await?;
    if shown_plan(context, &outputs, components).await?.is_some() {
        context.report.emit(CommandEvent::DryRunEnded);
    }
    Ok(())
}

/// Prints the plan and returns it. `None`: there is nothing to do, which was printed as the result.
async fn shown_plan(
    context: &Context<'_>,
    outputs: &Outputs,
    components: &[Component],
) -> Result<Option<Plan>> {
    let planned = planning::deploy::plan(context, outputs, components).await?;
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
