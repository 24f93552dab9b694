//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

use anyhow::Result;
use serde_json::json;

use super::{hold, plan, secrets};
use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::Plan;
use crate::decide::release::record::Record;
use crate::planning;
use crate::planning::about::about;
use crate::planning::deploy::Basis;
use crate::planning::outputs::{self, ReadyOutputs};
use crate::ports::Context;
use crate::release::{self, StopPlan, confirm, warn_of_expiry};
use crate::report::{CommandEvent, ReleaseEvent};

#[derive(Debug, Clone)]
pub struct Options {
    /// In the order of a release.
    pub components: Vec<Component>,
    pub dry_run: bool,
    pub yes: bool,
    /// Lifts a hold of the environment, if there is one.
    pub lift_hold: bool,
}

pub async fn deploy(context: &Context<'_>, options: &Options) -> Result<()> {
    let components = &options.components;
    let required = context.builder.require(context.architecture, components);
    required.await?;
    if options.dry_run {
        hold::tell(context).await?;
        return dry_run(context, components).await;
    }
    if options.lift_hold {
        let _confirmed = confirm(context, options.yes, "let releases go on").await?;
        hold::lift(context).await?;
    }
    hold::refuse(context).await?;
    let Some(outputs) = outputs::before_retirement(context).await? else {
        let ReadyOutputs { outputs, applied } = outputs::ready(context, options.yes).await?;
        let Some(record) = release_components(context, options, &outputs).await? else {
            if applied {
                release::ensure_served(context, &outputs).await?;
            }
            nothing_to_do(context, &outputs);
            return Ok(());
        };
        succeeded(context, &outputs, Some(&record));
        deployed(context, &outputs);
        return Ok(());
    };
    // The new callers no longer call what goes, so they come first; Terraform removes it last.
    let released = release_components(context, options, &outputs).await?;
    if released.is_some() {
        deployed(context, &outputs);
    }
    let retired = retire(context, &outputs, options.yes).await?;
    let ReadyOutputs { outputs, applied } = outputs::ready(context, options.yes).await?;
    if applied {
        release::ensure_served(context, &outputs).await?;
    }
    succeeded(context, &outputs, released.or(retired).as_ref());
    Ok(())
}

fn nothing_to_do(context: &Context<'_>, outputs: &Outputs) {
    let done = json!({ "outcome": "nothing to do", "base_url": outputs.base_url });
    context.report.data(&done, "");
    context.report.emit(CommandEvent::NothingToDeploy);
}

/// The result. A retirement that only had to be removed has no record.
fn succeeded(context: &Context<'_>, outputs: &Outputs, record: Option<&Record>) {
    let number = record.map(|record| record.number);
    let base_url = &outputs.base_url;
    let done = json!({ "outcome": "succeeded", "release": number, "base_url": base_url });
    context.report.data(&done, "");
}

fn deployed(context: &Context<'_>, outputs: &Outputs) {
    context.report.emit(CommandEvent::Deployed {
        base_url: outputs.base_url.clone(),
    });
}

/// `None`: what is released is in the checkout already.
async fn release_components(
    context: &Context<'_>,
    options: &Options,
    outputs: &Outputs,
) -> Result<Option<Record>> {
    let components = &options.components;
    let basis = planning::deploy::basis(context, outputs, components).await?;
    if context.environment.emulated {
        // Whatever was applied now: an earlier run may have been interrupted after that.
        secrets::make_up(context, outputs, basis.snapshot()).await?;
    } else {
        secrets::require(context, outputs, basis.snapshot()).await?;
    }
    let plan = shown_plan(context, outputs, basis).await?;
    if plan.is_empty() {
        return Ok(None);
    }
    warn_of_expiry(context, release::time_limit(&plan));
    let confirmed = confirm(context, options.yes, "release this").await?;

    let about = about(context, "deploy").await?;
    let record = release::deploy(context, outputs, &plan, about, confirmed).await?;
    Ok(Some(record))
}

/// Takes what the catalog retires out of service. `None`: nothing of it runs.
async fn retire(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<Option<Record>> {
    let found = release::observe_with_retired(context, outputs).await?;
    let plan = StopPlan::retiring(context.catalog, found.snapshot);
    if plan.is_empty() {
        return Ok(None);
    }
    for component in outputs.to_retire(context.catalog) {
        let report = context.report;
        report.emit(ReleaseEvent::WillRetire { component });
    }
    warn_of_expiry(context, plan.time_limit());
    let confirmed = confirm(context, yes, "retire these components").await?;
    let about = about(context, "retire").await?;
    let record = release::stop(context, outputs, &plan, about, confirmed).await?;
    Ok(Some(record))
}

/// `--dry-run`: what a deploy would do, with the outputs of the last apply.
async fn dry_run(context: &Context<'_>, components: &[Component]) -> Result<()> {
    let Some(outputs) = outputs::as_last_applied(context).await? else {
        return Ok(());
    };
    let basis = planning::deploy::basis(context, &outputs, components).await?;
    secrets::require(context, &outputs, basis.snapshot()).await?;
    let plan = shown_plan(context, &outputs, basis).await?;
    if plan.is_empty() && outputs.to_retire(context.catalog).is_empty() {
        nothing_to_do(context, &outputs);
    } else {
        context.report.emit(CommandEvent::DryRunEnded);
    }
    Ok(())
}

/// The plan, which is printed unless there is nothing to do.
async fn shown_plan(context: &Context<'_>, outputs: &Outputs, basis: Basis) -> Result<Plan> {
    let planned = planning::deploy::plan(context, outputs, basis).await?;
    plan::refuse_errors(context, &planned.findings).await?;
    let retired = outputs.to_retire(context.catalog);
    if !planned.plan.is_empty() || !retired.is_empty() {
        plan::show(context, &planned.plan, &retired);
    }
    Ok(planned.plan)
}
