//! The plan of a deploy.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{artifacts, definitions, outputs, permissions, plan_of};
use crate::catalog::{Component, Service};
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::definition::lint::Finding;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{Desired, DesiredFunction, DesiredService, Plan};
use crate::decide::release::snapshot::Snapshot;
use crate::failure::{Failure, Kind};
use crate::ports::Context;
use crate::release;
use crate::report::InfraEvent;

/// What the checkout has, and what AWS has of it.
pub struct Basis {
    /// Of the components that were asked for, those that Terraform has created.
    components: Vec<Component>,
    keys: BTreeMap<Component, Key>,
    pushed: BTreeMap<Service, Digest>,
    pub snapshot: Snapshot,
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
    let observed = tokio::try_join!(
        release::observe(context, outputs),
        artifacts::pushed(context, outputs, &created, &keys)
    );
    let (snapshot, pushed) = observed.map_err(|error| permissions::explain(context, error))?;
    permissions::require(context, outputs, &created, &snapshot).await?;
    Ok(Basis {
        components: created,
        keys,
        pushed,
        snapshot,
    })
}

/// Artifacts, definitions, findings: all of it before anything is changed.
pub async fn plan(context: &Context<'_>, outputs: &Outputs, basis: Basis) -> Result<Planned> {
    let Basis {
        components,
        keys,
        pushed,
        snapshot,
    } = basis;
    let artifacts = artifacts::pack(context, &components, keys, pushed, &snapshot).await?;

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
                let image = image(outputs, service, &artifacts)?;
                let rendered = definitions::rendered(context, outputs, service, &image);
                match rendered.await {
                    Ok(definition) => {
                        let source = context.source;
                        let found = definitions::findings(source, outputs, service, &definition);
                        findings.extend(found.await?);
                        let definition = DesiredService::Definition {
                            content: definition.sha256(),
                            definition,
                        };
                        desired.services.insert(service, definition);
                    }
                    Err(error) => faults.push(format!("{error:#}")),
                }
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
        ..plan_of(context, &desired, snapshot).await?
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

fn image(
    outputs: &Outputs,
    service: Service,
    artifacts: &artifacts::ReleaseArtifacts,
) -> Result<String> {
    let digest = artifacts.digest(service)?;
    Ok(format!("{}@{digest}", outputs.image_name(service)))
}

/// How many tasks each service starts with.
pub fn desired_counts(outputs: &Outputs) -> BTreeMap<Service, i32> {
    let counts = outputs.services.iter();
    counts
        .map(|(service, facts)| (*service, facts.desired_count))
        .collect()
}
