//! `plan`: what a deploy would change, and on top of what.

use anyhow::Result;
use serde_json::json;

use crate::catalog::Component;
use crate::decide::definition::diff;
use crate::decide::definition::lint::{self, Finding, Severity};
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{
    FunctionAction, FunctionStep, Plan, ServiceAction, ServiceStep, Step,
};
use crate::failure::{Failure, Kind};
use crate::planning;
use crate::ports::Context;
use crate::report::{ReleaseEvent, count, megabytes, short_digest};

/// With `exit_code` the exit code is 13 if a release would change something.
pub async fn plan(
    context: &Context<'_>,
    outputs: &Outputs,
    components: &[Component],
    exit_code: bool,
) -> Result<()> {
    let required = context.builder.require(outputs.architecture, components);
    required.await?;
    super::hold::tell(context).await?;
    let basis = planning::deploy::basis(context, outputs, components).await?;
    let planned = planning::deploy::plan(context, outputs, basis).await?;
    refuse_errors(context, &planned.findings).await?;
    let plan = planned.plan;
    let retired = outputs.to_retire(context.catalog);
    let is_empty = plan.is_empty() && retired.is_empty();
    let human = if is_empty {
        "nothing to do".to_owned()
    } else {
        describe(&plan, &retired)
    };
    context.report.data(&as_json(&plan, &retired), &human);
    let title = format!("Plan for {}", context.environment.name);
    context.report.summary(&title, &human);
    if exit_code && !is_empty {
        return Err(Failure::new(Kind::Changes, "a release would change something").into());
    }
    Ok(())
}

/// Prints lint's errors and warnings. An error ends the command.
pub(super) async fn refuse_errors(context: &Context<'_>, findings: &[Finding]) -> Result<()> {
    let shown = findings
        .iter()
        .filter(|finding| finding.severity != Severity::Advice);
    for finding in shown {
        super::lint::show(context.source, context.report, finding).await;
    }
    let errors = lint::errors(findings);
    if errors == 0 {
        return Ok(());
    }
    let message = format!("lint found {}", count(errors, "error"));
    Err(Failure::new(Kind::Findings, message).into())
}

/// Shows the plan of a release, and what is retired after it, before that is confirmed.
pub(super) fn show(context: &Context<'_>, plan: &Plan, retired: &[Component]) {
    context.report.emit(ReleaseEvent::Plan {
        plan: as_json(plan, retired),
        text: describe(plan, retired),
    });
}

/// The plan as text: one block, with a paragraph for each component.
fn describe(plan: &Plan, retired: &[Component]) -> String {
    let mut lines = Vec::new();
    for artifact in &plan.pushes {
        let size = megabytes(artifact.packed_bytes);
        lines.push(format!(
            "{:<11} push {size}, {}",
            artifact.component.name(),
            short_digest(artifact.digest.as_str())
        ));
    }
    if let Some(unfinished) = &plan.unfinished {
        lines.push(format!(
            "{:<11} end {unfinished}, if nobody works on it",
            "ledger"
        ));
    }
    for service in &plan.without_alarms {
        let name = service.name();
        lines.push(format!(
            "{name:<11} turn its alarms on, which an earlier release left off"
        ));
    }
    for step in &plan.steps {
        let name = step.component().name();
        lines.push(format!("{name:<11} {}", what(step)));
        for change in changes(plan, step) {
            lines.push(format!("{:<11}   {change}", ""));
        }
    }
    for component in retired {
        let what = match component {
            Component::Service(_) => {
                "retire: stop its tasks, then remove it; its repository, secret and log group stay"
            }
            Component::Function(_) => "retire: remove it; its log group stays",
        };
        lines.push(format!("{:<11} {what}", component.name()));
    }
    lines.join("\n")
}

fn what(step: &Step) -> String {
    match step {
        Step::Service(step) => what_of_service(step),
        Step::Function(step) => what_of_function(step),
    }
}

fn what_of_service(step: &ServiceStep) -> String {
    let from = match &step.previous {
        Some(_) => step.rollback_revision.as_str(),
        None => "nothing",
    };
    match &step.action {
        ServiceAction::Keep => format!("unchanged, {} runs", step.rollback_revision),
        ServiceAction::Follow => "is being rolled out already: follow it".to_owned(),
        ServiceAction::Register { definition, .. } => {
            let family = definition.family();
            format!("register {family} and roll it out (now: {from})")
        }
        ServiceAction::Deploy(revision) => format!("roll out {revision} (now: {from})"),
    }
}

fn what_of_function(step: &FunctionStep) -> String {
    let from = match &step.previous {
        Some(_) => step.rollback_version.as_str(),
        None => "nothing",
    };
    match &step.action {
        FunctionAction::Keep => format!("unchanged, {} runs", step.rollback_version),
        FunctionAction::Publish(artifact) => {
            let size = megabytes(artifact.packed_bytes);
            format!("publish a version, {size} (now: {from})")
        }
        FunctionAction::MoveAlias(running) => {
            format!("version {} (now: {from})", running.version)
        }
    }
}

fn changes(plan: &Plan, step: &Step) -> Vec<String> {
    let Step::Service(step) = step else {
        return Vec::new();
    };
    let ServiceAction::Register { definition, .. } = &step.action else {
        return Vec::new();
    };
    let found = plan.snapshot.services.get(&step.service);
    let before = found.and_then(|found| found.definition.as_ref());
    match before.filter(|_| step.previous.is_some()) {
        Some(before) => diff::diff(Some(before), definition)
            .iter()
            .map(ToString::to_string)
            .collect(),
        None => Vec::new(),
    }
}

fn as_json(plan: &Plan, retired: &[Component]) -> serde_json::Value {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "name": step.component(),
                "change": if step.changes_nothing() { "keep" } else { "change" },
                "what": what(step),
                "differences": changes(plan, step),
            })
        })
        .collect();
    json!({
        "nothing_to_do": plan.is_empty() && retired.is_empty(),
        "without_alarms": plan.without_alarms,
        "unfinished": plan.unfinished,
        "steps": steps,
        "retire": retired,
    })
}
