//! What Terraform built for the environment: read as it was published, or applied first where
//! `infra/` has changed.

use anyhow::{Context as _, Result};

use super::about::about;
use super::ledger;
use crate::catalog::{self, Catalog, CatalogEntry, FunctionEntry, ServiceEntry};
use crate::decide::environment::Environment;
use crate::decide::outputs::{
    self, Architecture, CatalogConflict, FunctionOutputs, Outputs, OutputsError, ServiceOutputs,
};
use crate::failure::{self, Failure, Kind};
use crate::ports::Context;
use crate::release::{Confirmed, confirm, ensure_unlocked, under_apply_lock};
use crate::report::InfraEvent;

pub struct ReadyOutputs {
    pub outputs: Outputs,
    /// Whether they were applied just now.
    pub applied: bool,
}

/// The outputs as this checkout describes them: applied where `infra/` or its variables changed.
/// The first apply takes a minute or two, and the images are built meanwhile.
pub async fn ready(context: &Context<'_>, yes: bool) -> Result<ReadyOutputs> {
    let released = ledger::released(context).await?;
    let (desired, published) = tokio::try_join!(
        context.infra.desired_sha256(&released),
        published_or_older(context)
    )?;
    let is_first = published.is_none();
    match published {
        Some(Ok(outputs)) if outputs.infra_sha256 == desired => {
            return Ok(ReadyOutputs {
                outputs,
                applied: false,
            });
        }
        Some(Ok(outputs)) => refuse_conflicts(context, &outputs)?,
        Some(Err(older)) => outdated(context, &older),
        None => {}
    }
    if !is_first {
        // A release that is in progress goes by the infrastructure that it began with.
        ensure_unlocked(context).await?;
    }
    let planned = context.infra.plan(&released).await?;
    refuse_to_destroy(context, &planned.destroyed()).await?;
    if !context.environment.emulated {
        context.report.emit(InfraEvent::InfraPlan {
            summary: planned.summary().to_owned(),
        });
    }
    let _: Confirmed = confirm(context, yes, "apply this to the infrastructure").await?;
    if is_first {
        // Both to their end: a compiler's error must not cut off an apply.
        let (applied, built) = tokio::join!(planned.apply(), build_ahead(context));
        applied.and(built)?;
    } else {
        let about = about(context, "apply").await?;
        let applied = under_apply_lock(context, about, planned.apply());
        applied.await.map_err(of_released)?;
    }
    context.report.emit(InfraEvent::InfraApplied);
    let outputs = published_outputs(context).await?;
    let outputs = outputs.context("terraform published no outputs")?;
    Ok(ReadyOutputs {
        outputs,
        applied: true,
    })
}

/// What was left over beside something that was released is not deleted without a word.
fn of_released(error: anyhow::Error) -> anyhow::Error {
    match failure::of(&error) {
        Some(left_over) if left_over.kind == Kind::LeftOver => {
            let hint = left_over.hint.clone().unwrap_or_default();
            Failure::not_ready(left_over.message.clone())
                .hint(hint)
                .into()
        }
        _ => error,
    }
}

/// The outputs that a dry run goes by: those of the last apply, with a line where `infra/` has
/// changed since. `None` where there was none.
pub async fn as_last_applied(context: &Context<'_>) -> Result<Option<Outputs>> {
    let released = ledger::released(context).await?;
    let (desired, published) = tokio::try_join!(
        context.infra.desired_sha256(&released),
        published_or_older(context)
    )?;
    if let Some(Err(older)) = &published {
        outdated(context, older);
    }
    let is_applied = matches!(&published, Some(Ok(outputs)) if outputs.infra_sha256 == desired);
    if !is_applied {
        context.report.emit(InfraEvent::InfraNotApplied {
            never: published.is_none(),
        });
    }
    Ok(published.and_then(Result::ok))
}

/// The outputs of the last apply, where the catalog retires something that these still have: it is
/// taken out of service before Terraform removes it.
pub async fn before_retirement(context: &Context<'_>) -> Result<Option<Outputs>> {
    if context.catalog.retired().is_empty() {
        return Ok(None);
    }
    let Some(Ok(outputs)) = published_or_older(context).await? else {
        return Ok(None);
    };
    refuse_conflicts(context, &outputs)?;
    let to_retire = outputs.to_retire(context.catalog);
    Ok((!to_retire.is_empty()).then_some(outputs))
}

/// Facts of a component that runs do not change.
pub fn refuse_conflicts(context: &Context<'_>, outputs: &Outputs) -> Result<()> {
    let conflicts = outputs.conflicts(context.catalog);
    if conflicts.is_empty() {
        return Ok(());
    }
    let told: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
    let message = format!("{}: {}", catalog::FILE, told.join("; "));
    let remedies: Vec<_> = conflicts.iter().map(CatalogConflict::remedy).collect();
    Err(Failure::refused(message).hint(remedies.join("\n")).into())
}

/// What runs and has no entry any more would be destroyed by the next apply.
pub async fn refuse_deleted(context: &Context<'_>, outputs: &Outputs) -> Result<()> {
    refuse_to_destroy(context, &outputs.deleted(context.catalog)).await
}

/// Terraform never destroys what the newest record runs, whatever was confirmed: an old branch
/// would remove a component that it does not know.
async fn refuse_to_destroy(context: &Context<'_>, destroyed: &[String]) -> Result<()> {
    if destroyed.is_empty() {
        return Ok(());
    }
    let newest = ledger::newest_where(context, |it| it.kind.changes_components()).await?;
    let runs = |name: &&String| newest.as_ref().is_some_and(|record| record.runs(name));
    let running: Vec<_> = destroyed.iter().filter(runs).cloned().collect();
    if running.is_empty() {
        return Ok(());
    }
    let message = format!(
        "terraform would destroy {}, which runs",
        running.join(" and ")
    );
    let hint = format!(
        "a component goes by `\"retired\": true` in its entry of {}, and a deploy; an older \
         checkout that lacks the entry cannot be deployed",
        catalog::FILE
    );
    Err(Failure::refused(message).hint(hint).into())
}

fn outdated(context: &Context<'_>, older: &OutputsError) {
    context.report.emit(InfraEvent::InfraOutdated {
        reason: older.to_string(),
    });
}

async fn build_ahead(context: &Context<'_>) -> Result<()> {
    let keys = context.builder.keys(context.architecture).await?;
    if context.builder.all_cached(&keys).await?.is_none() {
        context.builder.build(context.architecture, &keys).await?;
    }
    Ok(())
}

/// The outputs that Terraform published. Where it never did, the error names the command.
pub async fn required(context: &Context<'_>) -> Result<Outputs> {
    let published = published_outputs(context).await?;
    Ok(published.ok_or_else(|| {
        let name = &context.environment.name;
        Failure::not_ready(format!("{name} has no outputs yet"))
            .hint(format!("cargo xtask deploy --env {name}"))
    })?)
}

async fn published_outputs(context: &Context<'_>) -> Result<Option<Outputs>> {
    let Some(read) = published_or_older(context).await? else {
        return Ok(None);
    };
    let outputs = read.map_err(|older| {
        let table = context.environment.releases_table();
        Failure::not_ready(format!("{table}: {older}")).hint(format!(
            "an older infra/ wrote it; this one is applied by: cargo xtask deploy --env {}",
            context.environment.name
        ))
    })?;
    Ok(Some(outputs))
}

/// What was published; outputs that an older `infra/` wrote are no failure.
async fn published_or_older(
    context: &Context<'_>,
) -> Result<Option<Result<Outputs, OutputsError>>> {
    let Some(text) = context.infra.outputs().await? else {
        return Ok(None);
    };
    let table = context.environment.releases_table();
    let (outputs, unknown) = match outputs::parse(&text) {
        Ok(parsed) => parsed,
        Err(error) if error.is_older() => return Ok(Some(Err(error))),
        Err(error) => {
            return Err(Failure::not_ready(format!("{table}: {error}"))
                .hint("use a checkout as new as the one that applied it")
                .into());
        }
    };
    let foreign = outputs.foreign(context.environment);
    if !foreign.is_empty() {
        let name = &context.environment.name;
        let message = format!("{table} is not {name}'s: {}", foreign.join(", "));
        return Err(Failure::not_ready(message)
            .hint(format!(
                "find out who wrote it there, or correct infra/environments/{name}.tfvars.json"
            ))
            .into());
    }
    if !unknown.is_empty() {
        context.report.emit(InfraEvent::OutputsUnknownFields {
            table,
            fields: unknown,
        });
    }
    Ok(Some(Ok(outputs)))
}

/// Outputs as Terraform would publish them for this environment, which need not exist: names and
/// ARNs as Terraform makes them, in the environment's region and account.
pub fn invented(catalog: &Catalog, environment: &Environment) -> Outputs {
    let Environment {
        project,
        name,
        region,
        account_id,
        ..
    } = environment;
    let prefix = environment.name_prefix();
    let partition = environment.partition();
    let role = |name: &str| format!("arn:{partition}:iam::{account_id}:role/{prefix}-{name}");
    let service = |entry: &ServiceEntry| {
        let service = entry.service;
        let secret = format!("{project}/{name}/{service}-AbCdEf");
        let target_group = format!("{prefix}-{service}/0123456789abcdef");
        let outputs = ServiceOutputs {
            ecs_service: format!("{prefix}-{service}"),
            repository: format!("{prefix}/{service}"),
            task_role_arn: role(service.name()),
            secret_arn: format!(
                "arn:{partition}:secretsmanager:{region}:{account_id}:secret:{secret}"
            ),
            log_group: format!("/ecs/{prefix}-{service}"),
            target_group_arn: format!(
                "arn:{partition}:elasticloadbalancing:{region}:{account_id}:targetgroup/{target_group}"
            ),
            desired_count: 2,
            port: entry.port,
            probe: None,
            environment: environment.settings_of(service),
            routes: Vec::new(),
        };
        (service, outputs)
    };
    let function = |entry: &FunctionEntry| {
        let function = entry.function;
        let outputs = FunctionOutputs {
            name: format!("{prefix}-{function}"),
            alias: "live".to_owned(),
            log_group: format!("/aws/lambda/{prefix}-{function}"),
        };
        (function, outputs)
    };
    let entries = catalog.entries().iter();
    Outputs {
        version: outputs::VERSION,
        project: project.clone(),
        name_prefix: prefix.to_owned(),
        environment: name.clone(),
        region: region.clone(),
        account_id: account_id.clone(),
        cluster: format!("{prefix}-{name}"),
        namespace: format!("{prefix}.{name}"),
        architecture: Architecture::X86,
        registry: format!("{account_id}.dkr.ecr.{region}.amazonaws.com"),
        execution_role_arn: role("execution"),
        base_url: "http://example.invalid".to_owned(),
        infra_sha256: "0".repeat(64),
        target_check_seconds: 0,
        services: entries
            .clone()
            .filter_map(CatalogEntry::as_service)
            .map(service)
            .collect(),
        functions: entries
            .filter_map(CatalogEntry::as_function)
            .map(function)
            .collect(),
        retired: Vec::new(),
    }
}
