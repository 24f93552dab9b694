//! `plan`: what a release would change, and on top of what.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;

use crate::catalog::{ALL, Component, SERVICES};
use crate::decide::artifact::archive;
use crate::decide::artifact::image::{Artifact, Digest, Key};
use crate::decide::definition::Definition;
use crate::decide::definition::diff;
use crate::decide::definition::lint::{self, Facts, Finding, Severity};
use crate::decide::release::history;
use crate::decide::release::plan::{self, Change, Plan, Snapshot, Step, Wanted};
use crate::decide::release::record::{Record, ReleaseState};
use crate::failure::{Failure, Kind};
use crate::release;
use crate::world::World;

/// How far back the ledger is searched for a release that succeeded.
const RECORDS_MAX: u64 = 100;

/// With `exit_code` the process's exit code answers too: 0 for nothing to do, 13 for changes.
pub async fn plan(world: &World<'_>, names: &[Component], exit_code: bool) -> Result<()> {
    let architecture = world.outputs.architecture;
    world.builder.require(architecture, &chosen(names)).await?;
    let plan = make(world, names).await?;
    let human = if plan.is_empty() {
        "nothing to do".to_owned()
    } else {
        describe(&plan)
    };
    world.report.data(&as_json(&plan), &human);
    let title = format!("Plan for {}", world.environment.name);
    world.report.summary(&title, &human);
    if exit_code && !plan.is_empty() {
        return Err(Failure::new(Kind::Changes, "a release would change something").into());
    }
    Ok(())
}

/// Keys, artifacts, definitions, findings, what runs: all of it before anything is changed.
pub async fn make(world: &World<'_>, names: &[Component]) -> Result<Plan> {
    let chosen = chosen(names);
    let keys = world.builder.keys(world.outputs.architecture).await?;
    let (snapshot, digests) = tokio::try_join!(
        release::observe(world),
        known_digests(world, &chosen, &keys)
    )?;
    let artifacts = missing_artifacts(world, &chosen, &keys, &digests, &snapshot).await?;

    let mut wanted = BTreeMap::new();
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    for component in chosen.iter().copied() {
        if !component.is_service() {
            let key = key_of(&keys, component)?.clone();
            wanted.insert(
                component,
                Wanted::Code {
                    key,
                    artifact: artifacts.get(&component).cloned(),
                },
            );
            continue;
        }
        let known = digests
            .get(&component)
            .or(artifacts.get(&component).map(|it| &it.digest));
        let digest = known.with_context(|| format!("{component} has no image"))?;
        match definition(world, component, digest).await {
            Ok(definition) => {
                findings.extend(findings_of(world, component, &definition));
                let content = definition.sha256();
                wanted.insert(
                    component,
                    Wanted::Definition {
                        definition,
                        content,
                    },
                );
            }
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::new(Kind::Findings, faults.join("\n")).into());
    }
    refuse_errors(world, &findings).await?;

    let pushes = artifacts
        .into_values()
        .filter(|it| it.component.is_service())
        .collect();
    let succeeded = succeeded_if_moving(world, &snapshot).await?;
    let desired = SERVICES
        .map(|component| (component, world.outputs.service(component).desired_count))
        .into();
    let without_alarms = release::left_without_alarms(world, &snapshot).await?;
    Ok(Plan {
        without_alarms,
        ..plan::make(&wanted, snapshot, succeeded.as_ref(), &desired, pushes)
    })
}

/// The names that were given, or all; always in the order of a release.
pub fn chosen(names: &[Component]) -> Vec<Component> {
    ALL.into_iter()
        .filter(|component| names.is_empty() || names.contains(component))
        .collect()
}

fn key_of(keys: &BTreeMap<Component, Key>, component: Component) -> Result<&Key> {
    keys.get(&component)
        .with_context(|| format!("{component} has no key"))
}

/// The digests of the images that the registry has for these keys.
async fn known_digests(
    world: &World<'_>,
    components: &[Component],
    keys: &BTreeMap<Component, Key>,
) -> Result<BTreeMap<Component, Digest>> {
    let services = components
        .iter()
        .copied()
        .filter(|component| component.is_service());
    let ask = services.map(async |component| -> Result<_> {
        let digest = world
            .registry
            .digest(component, key_of(keys, component)?)
            .await?;
        Ok(digest.map(|digest| (component, digest)))
    });
    Ok(futures_util::future::try_join_all(ask)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Artifacts that AWS does not have yet: from this machine where they are at hand, else built.
async fn missing_artifacts(
    world: &World<'_>,
    components: &[Component],
    keys: &BTreeMap<Component, Key>,
    digests: &BTreeMap<Component, Digest>,
    snapshot: &Snapshot,
) -> Result<BTreeMap<Component, Artifact>> {
    let mut artifacts = BTreeMap::new();
    let mut absent = BTreeMap::new();
    for component in components.iter().copied() {
        let key = key_of(keys, component)?;
        let there = digests.contains_key(&component)
            || (!component.is_service() && snapshot.function.description == key.0);
        if there {
            continue;
        }
        match world.builder.cached(component, key).await? {
            Some(artifact) => drop(artifacts.insert(component, artifact)),
            None => drop(absent.insert(component, key.clone())),
        }
    }
    if !absent.is_empty() {
        let architecture = world.outputs.architecture;
        artifacts.extend(world.builder.build(architecture, &absent).await?);
    }
    Ok(artifacts)
}

/// A service's definition for this image.
async fn definition(
    world: &World<'_>,
    component: Component,
    digest: &Digest,
) -> Result<Definition> {
    let image = format!("{}@{digest}", world.outputs.image_name(component));
    super::render::definition(world.source, world.outputs, component, &image).await
}

/// All of lint, with what the outputs, our images and the watch of a rollout say.
fn findings_of(world: &World<'_>, component: Component, definition: &Definition) -> Vec<Finding> {
    let facts = Facts {
        image: Some(archive::facts(component, world.outputs.architecture)),
        rollout_seconds_max: Some(release::ROLLOUT_LIMIT.as_secs().cast_signed()),
        ..Facts::of(world.outputs, component)
    };
    lint::lint(component.name(), definition, &facts)
}

/// Errors end the command; warnings are told.
async fn refuse_errors(world: &World<'_>, findings: &[Finding]) -> Result<()> {
    let errors = lint::errors(findings);
    let told = findings
        .iter()
        .filter(|finding| finding.severity != Severity::Advice);
    for finding in told {
        super::lint::tell(world.source, world.report, finding).await;
    }
    if errors == 0 {
        return Ok(());
    }
    Err(Failure::new(Kind::Findings, format!("lint found {errors} errors")).into())
}

/// Where something is in the middle of a rollout, what it goes back to is what succeeded last.
pub(super) async fn succeeded_if_moving(
    world: &World<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Record>> {
    let settled = snapshot
        .services
        .values()
        .all(|service| service.state.settled());
    if settled {
        Ok(None)
    } else {
        newest_where(world, |record| record.state == ReleaseState::Succeeded).await
    }
}

/// The newest record for which something holds.
pub async fn newest_where(
    world: &World<'_>,
    holds: impl Fn(&Record) -> bool,
) -> Result<Option<Record>> {
    let mut next = world.ledger.newest().await?;
    for _ in 0..RECORDS_MAX {
        let Some(record) = next else { return Ok(None) };
        if holds(&record) {
            return Ok(Some(record));
        }
        next = match record.number {
            0 | 1 => None,
            number => world.ledger.read(number - 1).await?,
        };
    }
    Ok(None)
}

/// The release that a rollback chooses by itself.
pub async fn rollback_target(world: &World<'_>, snapshot: &Snapshot) -> Result<Option<Record>> {
    let running = snapshot.running();
    newest_where(world, |record| history::is_target(record, &running)).await
}

/// Shows the plan of a release before it is confirmed.
pub fn tell(world: &World<'_>, plan: &Plan) {
    world
        .report
        .document("plan", &as_json(plan), &describe(plan));
}

/// The plan as people read it: one block, a component a paragraph.
fn describe(plan: &Plan) -> String {
    let mut lines = Vec::new();
    for artifact in &plan.pushes {
        let size = crate::report::megabytes(artifact.packed_bytes);
        lines.push(format!(
            "{:<11} push {size}, {}",
            artifact.component.name(),
            artifact.digest
        ));
    }
    for component in &plan.without_alarms {
        let name = component.name();
        lines.push(format!(
            "{name:<11} turn its alarms on, which a release left off"
        ));
    }
    for step in &plan.steps {
        let name = step.component.name();
        lines.push(format!("{name:<11} {}", what(step)));
        for change in changes(plan, step) {
            lines.push(format!("{:<11}   {change}", ""));
        }
    }
    lines.join("\n")
}

fn what(step: &Step) -> String {
    let from = if step.before.is_some() {
        step.parent.as_str()
    } else {
        "nothing"
    };
    match &step.change {
        Change::Keep => format!("unchanged, {} runs", step.parent),
        Change::Follow => "on its way already: follow it".to_owned(),
        Change::Register { definition, .. } => {
            format!(
                "register {} and roll it out (now: {from})",
                definition.family()
            )
        }
        Change::Revision(revision) => format!("roll out {revision} (now: {from})"),
        Change::Publish(artifact) => {
            let size = crate::report::megabytes(artifact.packed_bytes);
            format!("publish a version, {size} (now: {from})")
        }
        Change::Version(version) => format!("version {version} (now: {from})"),
    }
}

fn changes(plan: &Plan, step: &Step) -> Vec<String> {
    let Change::Register { definition, .. } = &step.change else {
        return Vec::new();
    };
    let registered = plan
        .snapshot
        .services
        .get(&step.component)
        .and_then(|it| it.registered.as_ref());
    match registered.filter(|_| step.before.is_some()) {
        Some(before) => diff::diff(Some(&before.definition), definition)
            .iter()
            .map(ToString::to_string)
            .collect(),
        None => Vec::new(),
    }
}

fn as_json(plan: &Plan) -> serde_json::Value {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "name": step.component,
                "change": if step.change == Change::Keep { "keep" } else { "change" },
                "what": what(step),
                "differences": changes(plan, step),
            })
        })
        .collect();
    json!({
        "nothing_to_do": plan.is_empty(),
        "without_alarms": plan.without_alarms,
        "steps": steps,
    })
}
