//! The plan of a rollback: to what ran after an earlier release.

use anyhow::Result;

use super::deploy::desired_counts;
use super::{ledger, plan_of};
use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{Desired, DesiredFunction, DesiredService, Plan};
use crate::decide::release::record::{Record, RecordKind};
use crate::decide::release::snapshot::{ServiceRunning, Snapshot};
use crate::failure::Failure;
use crate::ports::Context;
use crate::release;
use crate::report::RollbackEvent;

/// The release that is gone back to, and what that changes.
pub async fn plan(
    context: &Context<'_>,
    outputs: &Outputs,
    to: Option<u64>,
) -> Result<(Record, Plan)> {
    let found = release::observe(context, outputs).await?;
    let target = target(context, &found.snapshot, to).await?;
    let desired = desired(context, outputs, &target, &found.snapshot).await?;
    let plan = plan_of(context, &desired, found).await?;
    Ok((target, plan))
}

async fn target(context: &Context<'_>, snapshot: &Snapshot, to: Option<u64>) -> Result<Record> {
    let see = "cargo xtask releases     # the ledger";
    let Some(number) = to else {
        let found = ledger::rollback_target(context, snapshot).await?;
        return Ok(found.ok_or_else(|| {
            Failure::refused("no release succeeded that is not what runs now").hint(see)
        })?);
    };
    let found = context.ledger.read(number).await?;
    let record =
        found.ok_or_else(|| Failure::refused(format!("there is no release {number}")).hint(see))?;
    if record.is_succeeded_release() && record.entries.all_run(snapshot) {
        return Ok(record);
    }
    let message = match record.kind {
        RecordKind::Rotation => format!("{number} is a rotation of the signing key, no release"),
        RecordKind::Infra => format!("{number} is an apply of the infrastructure, no release"),
        RecordKind::Cleanup => format!("{number} is a cleanup, no release"),
        _ => format!(
            "release {number} did not succeed with everything running ({})",
            record.state.text()
        ),
    };
    Err(Failure::refused(message).hint(see).into())
}

/// What ran after a release, as far as AWS still has it: all that is missing is named at once.
///
/// Only components that both the release and the catalog name: the others are left as they are.
async fn desired(
    context: &Context<'_>,
    outputs: &Outputs,
    target: &Record,
    now: &Snapshot,
) -> Result<Desired> {
    tell_what_is_left(context, target, now);
    let mut desired = Desired {
        counts: desired_counts(outputs),
        ..Desired::default()
    };
    let mut missing = Vec::new();
    for (function, entry) in &target.entries.functions {
        if !now.functions.contains_key(function) {
            continue;
        }
        if let Some(after) = &entry.after {
            let version = DesiredFunction::Version(after.clone());
            desired.functions.insert(*function, version);
        }
    }
    for (service, entry) in &target.entries.services {
        let Some(after) = &entry.after else { continue };
        if !now.services.contains_key(service) {
            continue;
        }
        if let Some(digest) = &after.image
            && !context.registry.has(outputs, *service, digest).await?
        {
            missing.push(format!("the image {digest} of {service}"));
        }
        match known(context, after).await? {
            Some(known) => drop(desired.services.insert(*service, known)),
            None => missing.push(format!("the revision {}", after.revision)),
        }
    }
    if missing.is_empty() {
        return Ok(desired);
    }
    let message = format!("AWS does not have {} any more", missing.join(", "));
    Err(Failure::refused(message)
        .hint("choose another release with --to, or check out its commit and deploy that")
        .into())
}

fn tell_what_is_left(context: &Context<'_>, target: &Record, now: &Snapshot) {
    let entries = &target.entries;
    let gone = |component: Component| RollbackEvent::ComponentGone { component };
    let newer = |component: Component| RollbackEvent::ComponentNewer { component };
    let services = entries
        .services
        .keys()
        .filter(|it| !now.services.contains_key(it));
    let functions = entries
        .functions
        .keys()
        .filter(|it| !now.functions.contains_key(it));
    let left = services.map(|it| gone((*it).into()));
    let left = left.chain(functions.map(|it| gone((*it).into())));
    let services = now
        .services
        .keys()
        .filter(|it| !entries.services.contains_key(it));
    let functions = now
        .functions
        .keys()
        .filter(|it| !entries.functions.contains_key(it));
    let left = left.chain(services.map(|it| newer((*it).into())));
    let left = left.chain(functions.map(|it| newer((*it).into())));
    for event in left {
        context.report.emit(event);
    }
}

/// A deregistered revision can't be deployed: its content is registered anew.
async fn known(context: &Context<'_>, after: &ServiceRunning) -> Result<Option<DesiredService>> {
    let registered = context
        .cluster
        .describe_task_definition(&after.revision)
        .await?;
    Ok(registered.map(|registered| {
        if registered.active {
            DesiredService::Revision {
                revision: after.revision.clone(),
                content: after.content.clone(),
            }
        } else {
            DesiredService::Definition {
                definition: registered.definition.registrable(),
                content: after.content.clone(),
                key: after.key.clone(),
            }
        }
    }))
}
