//! What runs now. What a revision consists of never changes: where the newest record knows that,
//! ECS is not asked.

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;

use crate::catalog::{Component, Function, Service};
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::Plan;
use crate::decide::release::record::Record;
use crate::decide::release::snapshot::{
    FunctionState, Revision, ServiceSnapshot, ServiceState, Snapshot,
};
use crate::ports::Context;

/// What runs now, and what the ledger says of it.
pub struct Observed {
    pub snapshot: Snapshot,
    pub newest: Option<Record>,
}

/// Reads the state of every component that both the catalog and the outputs name.
pub async fn observe(context: &Context<'_>, outputs: &Outputs) -> Result<Observed> {
    let services = outputs.services(context.catalog);
    let functions = outputs.functions(context.catalog);
    observe_these(context, outputs, services, functions).await
}

/// The same, with the retired components that Terraform has not removed yet.
pub async fn observe_with_retired(context: &Context<'_>, outputs: &Outputs) -> Result<Observed> {
    let mut services = outputs.services(context.catalog);
    let mut functions = outputs.functions(context.catalog);
    for component in outputs.to_retire(context.catalog) {
        match component {
            Component::Service(service) => services.push(service),
            Component::Function(function) => functions.push(function),
        }
    }
    observe_these(context, outputs, services, functions).await
}

async fn observe_these(
    context: &Context<'_>,
    outputs: &Outputs,
    services: Vec<Service>,
    functions: Vec<Function>,
) -> Result<Observed> {
    let ((services, newest), functions) = tokio::try_join!(
        service_snapshots(context, outputs, &services),
        try_join_all(
            functions
                .into_iter()
                .map(|name| function(context, outputs, name))
        ),
    )?;
    let snapshot = Snapshot {
        services: services.into_iter().collect(),
        functions: functions.into_iter().collect(),
    };
    Ok(Observed { snapshot, newest })
}

async fn service_snapshots(
    context: &Context<'_>,
    outputs: &Outputs,
    services: &[Service],
) -> Result<(Vec<(Service, ServiceSnapshot)>, Option<Record>)> {
    let cluster = context.cluster;
    let (states, newest) = tokio::try_join!(
        cluster.describe_services(outputs, services),
        context.ledger.newest()
    )?;
    let snapshots = states
        .into_iter()
        .map(async |(service, state)| -> Result<_> {
            let revision = primary_revision(service, &state)?;
            let known = newest.as_ref();
            let running = known.and_then(|record| record.entries.content(service, &revision));
            let snapshot = ServiceSnapshot {
                state,
                revision,
                content: running.cloned(),
                definition: None,
            };
            if snapshot.content.is_some() {
                return Ok((service, snapshot));
            }
            let registered = cluster.describe_task_definition(&snapshot.revision).await?;
            Ok((service, snapshot.with(registered)))
        });
    Ok((try_join_all(snapshots).await?, newest))
}

/// Reads the definitions that a plan replaces, as far as they are not known yet.
pub async fn read_definitions(context: &Context<'_>, plan: &mut Plan) -> Result<()> {
    for service in plan.unread() {
        if let Some(found) = plan.snapshot.services.remove(&service) {
            let cluster = context.cluster;
            let registered = cluster.describe_task_definition(&found.revision).await?;
            plan.snapshot
                .services
                .insert(service, found.with(registered));
        }
    }
    Ok(())
}

async fn function(
    context: &Context<'_>,
    outputs: &Outputs,
    function: Function,
) -> Result<(Function, FunctionState)> {
    let state = context
        .functions
        .get_alias(outputs.function(function))
        .await?;
    Ok((function, state))
}

/// The revision of a service's primary deployment. An active service has one.
pub(super) fn primary_revision(service: Service, state: &ServiceState) -> Result<Revision> {
    let primary = state.primary().map(|primary| primary.revision.clone());
    primary.with_context(|| format!("ECS has no deployment of {service}"))
}
