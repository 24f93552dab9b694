//! The plan of a deploy.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{artifacts, definitions, outputs, permissions, plan_of};
use crate::catalog::{Component, Service};
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::definition::Definition;
use crate::decide::definition::lint::Finding;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{Desired, DesiredFunction, DesiredService, Plan};
use crate::decide::release::snapshot::Snapshot;
use crate::failure::{Failure, Kind};
use crate::ports::Context;
use crate::release::{self, Observed};
use crate::report::InfraEvent;

/// What the checkout has, and what AWS has of it.
pub struct Basis {
    /// Of the components that were asked for, those that Terraform has created.
    components: Vec<Component>,
    keys: BTreeMap<Component, Key>,
    /// Of the services that run what the checkout has, definition and image.
    unchanged: BTreeMap<Service, Definition>,
    /// The images of the others that the registry has.
    pushed: BTreeMap<Service, Digest>,
    found: Observed,
}

impl Basis {
    pub fn snapshot(&self) -> &Snapshot {
        &self.found.snapshot
    }
}

/// A plan, and what lint says of the definitions that it brings.
pub struct Planned {
    pub plan: Plan,
    pub findings: Vec<Finding>,
}

/// Keys and what runs, before anything is built. Refuses what could not be released.
pub async fn basis(
    context: &Context<'_>,
    outputs: &Outputs,
    components: &[Component],
) -> Result<Basis> {
    outputs::refuse_conflicts(context, outputs)?;
    outputs::refuse_deleted(context, outputs).await?;
    let created = created(context, outputs, components);
    let keys = context.builder.keys(outputs.architecture).await?;
    let found = release::observe(context, outputs).await;
    let found = found.map_err(|error| permissions::explain(context, error))?;
    let unchanged = unchanged(context, outputs, &created, &keys, &found.snapshot).await?;
    let changed = created.iter().filter_map(|it| it.service());
    let changed = changed.filter(|it| !unchanged.contains_key(it));
    let pushed = artifacts::pushed(context, outputs, changed, &keys).await;
    let pushed = pushed.map_err(|error| permissions::explain(context, error))?;
    permissions::require(context, outputs, &created, &found.snapshot).await?;
    Ok(Basis {
        components: created,
        keys,
        unchanged,
        pushed,
        found,
    })
}

/// The services that run the checkout's definition with the image of its sources, as far as the
/// ledger knows. Their image is not looked up in the registry: it runs.
async fn unchanged(
    context: &Context<'_>,
    outputs: &Outputs,
    components: &[Component],
    keys: &BTreeMap<Component, Key>,
    snapshot: &Snapshot,
) -> Result<BTreeMap<Service, Definition>> {
    let mut unchanged = BTreeMap::new();
    for component in components {
        let Some((service, found)) = component
            .service()
            .and_then(|it| Some((it, snapshot.services.get(&it)?)))
        else {
            continue;
        };
        let Some(digest) = found.image_of(artifacts::key_of(keys, *component)?) else {
            continue;
        };
        let image = image(outputs, service, digest);
        // A template that cannot be rendered is reported with all the others.
        if let Ok(definition) = definitions::rendered(context, outputs, service, &image).await
            && found.runs(&definition.sha256())
        {
            unchanged.insert(service, definition);
        }
    }
    Ok(unchanged)
}

/// Artifacts, definitions, findings: all of it before anything is changed.
pub async fn plan(context: &Context<'_>, outputs: &Outputs, basis: Basis) -> Result<Planned> {
    let Basis {
        components,
        keys,
        mut unchanged,
        pushed,
        found,
    } = basis;
    let is_changed = |it: &Component| it.service().is_none_or(|it| !unchanged.contains_key(&it));
    let changed = components.iter().copied().filter(is_changed);
    let artifacts = artifacts::pack(context, changed, keys, pushed, &found.snapshot).await?;

    let mut desired = Desired {
        counts: desired_counts(outputs),
        ..Desired::default()
    };
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    for component in components {
        match component {
            Component::Function(function) => {
                let code = DesiredFunction::Code {
                    key: artifacts.key(component)?.clone(),
                    artifact: artifacts.packed.get(&component).cloned(),
                };
                desired.functions.insert(function, code);
            }
            Component::Service(service) => {
                let rendered = if let Some(definition) = unchanged.remove(&service) {
                    Ok(definition)
                } else {
                    let image = image(outputs, service, artifacts.digest(service)?);
                    definitions::rendered(context, outputs, service, &image).await
                };
                let definition = match rendered {
                    Ok(definition) => definition,
                    Err(error) => {
                        faults.push(format!("{error:#}"));
                        continue;
                    }
                };
                let found = definitions::findings(context, outputs, service, &definition);
                findings.extend(found.await?);
                let definition = DesiredService::Definition {
                    content: definition.sha256(),
                    definition,
                    key: Some(artifacts.key(component)?.clone()),
                };
                desired.services.insert(service, definition);
            }
        }
    }
    if !faults.is_empty() {
        return Err(Failure::new(Kind::Findings, faults.join("\n")).into());
    }
    let images = artifacts.packed.into_values();
    let plan = Plan {
        pushes: images
            .filter(|it| it.component.service().is_some())
            .collect(),
        ..plan_of(context, &desired, found).await?
    };
    Ok(Planned { plan, findings })
}

/// The components that Terraform has created. The others are reported and left out.
fn created(context: &Context<'_>, outputs: &Outputs, components: &[Component]) -> Vec<Component> {
    let (created, missing): (Vec<_>, _) = components.iter().partition(|it| outputs.has(**it));
    for component in missing {
        let report = context.report;
        report.emit(InfraEvent::NotCreated { component });
    }
    created
}

fn image(outputs: &Outputs, service: Service, digest: &Digest) -> String {
    format!("{}@{digest}", outputs.image_name(service))
}

/// How many tasks each service starts with.
pub fn desired_counts(outputs: &Outputs) -> BTreeMap<Service, i32> {
    let counts = outputs.services.iter();
    counts
        .map(|(service, facts)| (*service, facts.desired_count))
        .collect()
}
