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
        let targets = targets(context, outputs, service).await;
        if let Some(why) = targets.and_then(|it| why_unserved(&it, &state.events)) {
            unserved.push(format!("{service}: {why}"));
        }
    }
    Ok(unserved)
}

/// ECS may be replacing unhealthy targets already: then only its events say why they failed.
fn why_unserved(targets: &[TargetHealth], events: &[ServiceEvent]) -> Option<String> {
    let lack = lack(targets)?;
    let is_told = targets.iter().any(is_unhealthy);
    let event = events.iter().find_map(ServiceEvent::failure);
    Some(match event.filter(|_| !is_told) {
        Some(event) => format!("{lack}; newest failure: {}", without_arn(event)),
        None => lack,
    })
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
    // What an unhealthy one failed of says more than that another is new, or drains.
    let unhealthy = targets.iter().filter(|it| is_unhealthy(it));
    let reason = unhealthy.chain(targets).find_map(|it| it.reason.as_ref());
    Some(with_reason("no target is healthy", reason))
}

fn is_unhealthy(target: &TargetHealth) -> bool {
    target.state == "unhealthy"
}

fn with_reason(what: &str, reason: Option<&String>) -> String {
    reason.map_or(what.to_owned(), |reason| format!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(state: &str, reason: &str) -> TargetHealth {
        TargetHealth {
            state: state.to_owned(),
            reason: Some(reason.to_owned()),
        }
    }

    #[test]
    fn a_lack_is_told_with_why_the_targets_failed() {
        let failed = target("unhealthy", "Health checks failed with these codes: [404]");
        let drains = target("draining", "Target deregistration is in progress");
        let begins = target("initial", "Target registration is in progress");
        let healthy = target("healthy", "");
        let events = [
            "(service demo-axon) has started 1 tasks: (task 1).",
            "(service demo-axon) (task 1) (port 80) is unhealthy in (target-group arn:a:b/axon/1) due \
             to (reason [404]).",
        ];
        let events = events.map(|message| ServiceEvent {
            id: "1".to_owned(),
            message: message.to_owned(),
        });
        let why = |targets: &[&TargetHealth], events: &[ServiceEvent]| {
            let targets: Vec<TargetHealth> = targets.iter().map(|it| (*it).clone()).collect();
            why_unserved(&targets, events)
        };
        let told = "no target is healthy: Health checks failed with these codes: [404]";
        assert_eq!(why(&[&drains, &failed], &events).as_deref(), Some(told));
        let replaced = "no target is healthy: Target deregistration is in progress; newest failure: \
                        (port 80) is unhealthy in (target-group axon) due to (reason [404]).";
        assert_eq!(why(&[&drains, &begins], &events).as_deref(), Some(replaced));
        assert_eq!(why(&[], &[]).as_deref(), Some("no target is healthy"));
        assert_eq!(why(&[&failed, &healthy], &events), None);
    }
}
