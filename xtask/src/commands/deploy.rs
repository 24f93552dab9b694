//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

use anyhow::{Context, Result};
use serde_json::json;

use super::confirm::{confirm, warn_of_expiry};
use super::{plan, secrets};
use crate::catalog::Component;
use crate::decide::outputs::{self, Outputs, Unreadable};
use crate::failure::Failure;
use crate::release::{self, About, Direction};
use crate::world::{Desk, World};

#[derive(Debug, Clone)]
pub struct Options {
    pub names: Vec<Component>,
    pub dry_run: bool,
    pub yes: bool,
}

pub async fn deploy(desk: &Desk<'_>, options: &Options) -> Result<()> {
    let components = plan::chosen(&options.names);
    desk.builder.require(desk.architecture, &components).await?;
    let Some(outputs) = ready_outputs(desk, options).await? else {
        return Ok(());
    };
    let sited = desk.connector.connect(&outputs)?;
    let world = desk.world(&outputs, &sited);

    if desk.environment.emulated && !options.dry_run {
        // On every run: one that was cut off behind its apply has left them empty.
        secrets::make_up(desk, &outputs).await?;
    } else {
        secrets::require(&world).await?;
    }
    let plan = plan::make(&world, &options.names).await?;
    if plan.is_empty() {
        let done = json!({ "outcome": "nothing to do", "base_url": outputs.base_url });
        world.report.data(&done, "");
        world.report.line(
            "deploy",
            "nothing to do: everything runs as it is in the checkout",
        );
        return Ok(());
    }
    plan::tell(&world, &plan);
    if options.dry_run {
        world
            .report
            .line("deploy", "a dry run ends here: nothing was changed");
        return Ok(());
    }
    warn_of_expiry(desk, release::time_limit(&plan));
    confirm(desk, options.yes, "release this").await?;

    let about = about(&world, "deploy").await?;
    let record = release::carry_out(&world, &plan, about, Direction::Forward).await?;
    let done =
        json!({ "outcome": "succeeded", "release": record.number, "base_url": outputs.base_url });
    world.report.data(&done, "");
    world.report.line(
        "deploy",
        &format!("done; {} answers POST /dispatch", outputs.base_url),
    );
    Ok(())
}

/// The outputs as this checkout describes them: applied where `infra/` or its variables changed. The
/// first apply takes a minute or two, and the images are built meanwhile.
async fn ready_outputs(desk: &Desk<'_>, options: &Options) -> Result<Option<Outputs>> {
    let (wanted, published) = tokio::try_join!(desk.infra.wanted_sha256(), read_outputs(desk))?;
    let first = published.is_none();
    let published = match published {
        Some(Ok(outputs)) if outputs.infra_sha256 == wanted => return Ok(Some(outputs)),
        Some(Ok(outputs)) => Some(outputs),
        Some(Err(older)) => {
            desk.report.line("infra", &older.to_string());
            None
        }
        None => None,
    };
    if options.dry_run {
        let text = if first {
            "was never applied"
        } else {
            "has changed since it was applied"
        };
        desk.report.line(
            "infra",
            &format!("{text}; a run without --dry-run applies it first"),
        );
        return Ok(published);
    }
    let planned = desk.infra.plan().await?;
    if !desk.environment.emulated {
        desk.report.block(planned.summary());
        confirm(desk, options.yes, "apply this to the infrastructure").await?;
    }
    if first {
        // Both to their end: a compiler's error must not cut off an apply.
        let (applied, built) = tokio::join!(planned.apply(), build_ahead(desk));
        applied.and(built)?;
    } else {
        planned.apply().await?;
    }
    desk.report.line("infra", "applied");
    let outputs = published_outputs(desk).await?;
    Ok(Some(outputs.context("terraform published no outputs")?))
}

async fn build_ahead(desk: &Desk<'_>) -> Result<()> {
    let keys = desk.builder.keys(desk.architecture).await?;
    if desk.builder.all_cached(&keys).await?.is_none() {
        desk.builder.build(desk.architecture, &keys).await?;
    }
    Ok(())
}

/// The outputs that Terraform published; `None` where it never did.
pub async fn published_outputs(desk: &Desk<'_>) -> Result<Option<Outputs>> {
    let Some(read) = read_outputs(desk).await? else {
        return Ok(None);
    };
    let outputs = read.map_err(|older| {
        let parameter = desk.environment.outputs_parameter();
        Failure::not_ready(format!("{parameter}: {older}")).hint(format!(
            "an older infra/ wrote it; this one is applied by: cargo xtask deploy --env {}",
            desk.environment.name
        ))
    })?;
    Ok(Some(outputs))
}

/// As `published_outputs`; what an older `infra/` wrote is no failure here.
async fn read_outputs(desk: &Desk<'_>) -> Result<Option<Result<Outputs, Unreadable>>> {
    let Some(text) = desk.infra.outputs().await? else {
        return Ok(None);
    };
    let parameter = desk.environment.outputs_parameter();
    let (outputs, unknown) = match outputs::parse(&text) {
        Ok(parsed) => parsed,
        Err(error) if error.is_older() => return Ok(Some(Err(error))),
        Err(error) => {
            return Err(Failure::not_ready(format!("{parameter}: {error}"))
                .hint("use a checkout as new as the one that applied it")
                .into());
        }
    };
    let foreign = outputs.foreign(desk.environment);
    if !foreign.is_empty() {
        let name = &desk.environment.name;
        let message = format!("{parameter} is not {name}'s: {}", foreign.join(", "));
        return Err(Failure::not_ready(message)
            .hint(format!(
                "find out who wrote it there, or correct infra/environments/{name}.tfvars.json"
            ))
            .into());
    }
    if !unknown.is_empty() {
        let text = format!(
            "{parameter} has fields that this checkout ignores: {}",
            unknown.join(", ")
        );
        desk.report.warn("outputs", &text);
    }
    Ok(Some(Ok(outputs)))
}

/// What the record says of this release.
pub async fn about(world: &World<'_>, why: &str) -> Result<About> {
    let commit = world.source.commit().await?;
    Ok(About {
        who: world.user.name.clone(),
        host: world.user.host.clone(),
        why: why.to_owned(),
        dirty: commit.as_ref().is_some_and(|commit| commit.dirty),
        commit: commit.map(|commit| commit.id),
    })
}
