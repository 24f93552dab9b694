//! Whether the load balancer has a healthy target of each service.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::evidence::without_arn;
use super::several_looks;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::{ServiceEvent, TargetHealth};
use crate::failure::{Failure, Kind};
use crate::ports::Context;
use crate::report::InfraEvent;

/// Waits until the load balancer has checked all targets in the way that was applied just now.
/// Where nothing is released afterwards, nothing else would notice that they fail.
///
/// # Errors
/// Where a service that has tasks has no healthy target.
pub async fn ensure_served(context: &Context<'_>, outputs: &Outputs) -> Result<()> {
    let seconds = outputs.target_check_seconds;
    context.report.emit(InfraEvent::CheckingTargets { seconds });
    sleep(Duration::from_secs(seconds)).await;
    several_looks(async || {
        let unserved = unserved(context, outputs).await?;
        if unserved.is_empty() {
            return Ok(Ok(()));
        }
        let message = format!("after the apply, {}", unserved.join("; "));
        let hint = "the load balancer or the network between it and the tasks was changed: \
                    correct `infra/`, then `cargo xtask deploy`";
        Ok(Err(Failure::new(Kind::CheckFailed, message)
            .hint(hint)
            .into()))
    })
    .await
}

/// The services that have tasks and no healthy target, and why.
async fn unserved(context: &Context<'_>, outputs: &Outputs) -> Result<Vec<String>> {
    let services: Vec<Service> = outputs.services.keys().copied().collect();
    let states = context.cluster.describe_services(outputs, &services);
    let mut unserved = Vec::new();
    for (service, state) in states.await? {
        if state.desired == 0 {
            continue;
        }
        if let Some(why) = none_is_healthy(context, outputs, service).await {
            // ECS may be replacing them already: then only its events say why they failed.
            let event = state.events.iter().find_map(ServiceEvent::failure);
            let event = event.map(|it| format!("; newest event of a failure: {}", without_arn(it)));
            unserved.push(format!("{service}: {why}{}", event.unwrap_or_default()));
        }
    }
    Ok(unserved)
}

/// Why the load balancer has no task of a service to send to.
pub(super) async fn none_is_healthy(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
) -> Option<String> {
    lack(&targets(context, outputs, service).await?)
}

/// A target that is still to become healthy, and why it is not; or that none is. ECS waits for that
/// in a deployment, and not where only the desired count is raised.
pub(super) async fn is_waited_for(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
) -> Option<String> {
    let targets = targets(context, outputs, service).await?;
    let waits = |it: &&TargetHealth| matches!(it.state.as_str(), "initial" | "unhealthy");
    match targets.iter().find(waits) {
        Some(it) => Some(with_reason(
            &format!("a target is {}", it.state),
            it.reason.as_ref(),
        )),
        None => lack(&targets),
    }
}

/// The targets of a service. `None`: they cannot be read, which says nothing about them.
async fn targets(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
) -> Option<Vec<TargetHealth>> {
    let balancer = context.balancer;
    let targets = balancer.describe_target_health(outputs, service).await;
    targets.ok()
}

fn lack(targets: &[TargetHealth]) -> Option<String> {
    if targets.iter().any(|it| it.state == "healthy") {
        return None;
    }
    let reason = targets.iter().find_map(|it| it.reason.as_ref());
    Some(with_reason("no target is healthy", reason))
}

fn with_reason(what: &str, reason: Option<&String>) -> String {
    reason.map_or(what.to_owned(), |reason| format!("{what}: {reason}"))
}
