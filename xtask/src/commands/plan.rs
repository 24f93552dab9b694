//! `plan`: what a release would change, and on top of what.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;

use crate::catalog::{ALL, SERVICES, Thing};
use crate::decide::archive;
use crate::decide::definition::Definition;
use crate::decide::image::{Artefact, Digest, Key};
use crate::decide::lint::{self, Facts, Finding, Severity};
use crate::decide::plan::{self, Change, Look, Plan, Step, Wanted};
use crate::decide::release::{Record, State};
use crate::decide::{diff, history};
use crate::drive;
use crate::failure::{Failure, Kind};
use crate::world::World;

/// How far back the ledger is searched for a release that landed.
const RECORDS_MAX: u64 = 100;

/// With `exit_code` the process's exit code answers too: 0 for nothing to do, 13 for changes.
pub async fn plan(world: &World<'_>, names: &[Thing], exit_code: bool) -> Result<()> {
    let architecture = world.site.architecture;
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

/// Keys, artefacts, definitions, findings, what runs: all of it before anything is changed.
pub async fn make(world: &World<'_>, names: &[Thing]) -> Result<Plan> {
    let chosen = chosen(names);
    let keys = world.builder.keys(world.site.architecture).await?;
    let (look, digests) =
        tokio::try_join!(drive::look(world), known_digests(world, &chosen, &keys))?;
    let artefacts = missing_artefacts(world, &chosen, &keys, &digests, &look).await?;

    let mut wanted = BTreeMap::new();
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    for thing in chosen.iter().copied() {
        if !thing.is_service() {
            let key = key_of(&keys, thing)?.clone();
            wanted.insert(
                thing,
                Wanted::Code {
                    key,
                    artefact: artefacts.get(&thing).cloned(),
                },
            );
            continue;
        }
        let known = digests
            .get(&thing)
            .or(artefacts.get(&thing).map(|it| &it.digest));
        let digest = known.with_context(|| format!("{thing} has no image"))?;
        match definition(world, thing, digest).await {
            Ok(definition) => {
                findings.extend(findings_of(world, thing, &definition));
                let content = definition.sha256();
                wanted.insert(
                    thing,
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

    let pushes = artefacts
        .into_values()
        .filter(|it| it.thing.is_service())
        .collect();
    let landed = landed_if_moving(world, &look).await?;
    let desired = SERVICES
        .map(|thing| (thing, world.site.service(thing).desired_count))
        .into();
    let without_alarms = drive::left_without_alarms(world, &look).await?;
    Ok(Plan {
        without_alarms,
        ..plan::make(&wanted, look, landed.as_ref(), &desired, pushes)
    })
}

/// The names that were given, or all; always in the order of a release.
pub fn chosen(names: &[Thing]) -> Vec<Thing> {
    ALL.into_iter()
        .filter(|thing| names.is_empty() || names.contains(thing))
        .collect()
}

fn key_of(keys: &BTreeMap<Thing, Key>, thing: Thing) -> Result<&Key> {
    keys.get(&thing)
        .with_context(|| format!("{thing} has no key"))
}

/// The digests of the images that the registry has for these keys.
async fn known_digests(
    world: &World<'_>,
    things: &[Thing],
    keys: &BTreeMap<Thing, Key>,
) -> Result<BTreeMap<Thing, Digest>> {
    let services = things.iter().copied().filter(|thing| thing.is_service());
    let ask = services.map(async |thing| -> Result<_> {
        let digest = world.registry.digest(thing, key_of(keys, thing)?).await?;
        Ok(digest.map(|digest| (thing, digest)))
    });
    Ok(futures_util::future::try_join_all(ask)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Artefacts that AWS does not have yet: from this machine where they are at hand, else built.
async fn missing_artefacts(
    world: &World<'_>,
    things: &[Thing],
    keys: &BTreeMap<Thing, Key>,
    digests: &BTreeMap<Thing, Digest>,
    look: &Look,
) -> Result<BTreeMap<Thing, Artefact>> {
    let mut artefacts = BTreeMap::new();
    let mut absent = BTreeMap::new();
    for thing in things.iter().copied() {
        let key = key_of(keys, thing)?;
        let there = digests.contains_key(&thing)
            || (!thing.is_service() && look.function.description == key.0);
        if there {
            continue;
        }
        match world.builder.at_hand(thing, key).await? {
            Some(artefact) => drop(artefacts.insert(thing, artefact)),
            None => drop(absent.insert(thing, key.clone())),
        }
    }
    if !absent.is_empty() {
        let architecture = world.site.architecture;
        artefacts.extend(world.builder.build(architecture, &absent).await?);
    }
    Ok(artefacts)
}

/// A service's definition for this image.
async fn definition(world: &World<'_>, thing: Thing, digest: &Digest) -> Result<Definition> {
    let image = format!("{}@{digest}", world.site.image_name(thing));
    super::render::definition(world.source, world.site, thing, &image).await
}

/// All of lint, with what the site, our images and the watch of a rollout say.
fn findings_of(world: &World<'_>, thing: Thing, definition: &Definition) -> Vec<Finding> {
    let facts = Facts {
        image: Some(archive::facts(thing, world.site.architecture)),
        rollout_seconds_max: Some(drive::ROLLOUT_LIMIT.as_secs().cast_signed()),
        ..Facts::of(world.site, thing)
    };
    lint::lint(thing.name(), definition, &facts)
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

/// Where something is in the middle of a rollout, what it goes back to is what landed last.
pub(super) async fn landed_if_moving(world: &World<'_>, look: &Look) -> Result<Option<Record>> {
    let settled = look
        .services
        .values()
        .all(|service| service.state.settled());
    if settled {
        Ok(None)
    } else {
        newest_where(world, |record| record.state == State::Landed).await
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
pub async fn rollback_target(world: &World<'_>, look: &Look) -> Result<Option<Record>> {
    let running = look.running();
    newest_where(world, |record| history::is_target(record, &running)).await
}

/// Shows the plan of a release before it is confirmed.
pub fn tell(world: &World<'_>, plan: &Plan) {
    world
        .report
        .document("plan", &as_json(plan), &describe(plan));
}

/// The plan as people read it: one block, a thing a paragraph.
fn describe(plan: &Plan) -> String {
    let mut lines = Vec::new();
    for artefact in &plan.pushes {
        let size = crate::report::megabytes(artefact.packed_bytes);
        lines.push(format!(
            "{:<11} push {size}, {}",
            artefact.thing.name(),
            artefact.digest
        ));
    }
    for thing in &plan.without_alarms {
        let name = thing.name();
        lines.push(format!(
            "{name:<11} turn its alarms on, which a release left off"
        ));
    }
    for step in &plan.steps {
        let name = step.thing.name();
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
        Change::Publish(artefact) => {
            let size = crate::report::megabytes(artefact.packed_bytes);
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
        .look
        .services
        .get(&step.thing)
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
                "name": step.thing,
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
