//! What is deployed, as ECS and the load balancer tell it and as it answers through the latter.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::ask;
use crate::catalog::{Component, SERVICES};
use crate::decide::acceptance::Criterion::{
    AxonHealth, AxonReason, CorrelationIds, DenialBlocks, GovernanceFirst, HealthChecks, JsonLogs,
    OnEcs, OrbitHealth,
};
use crate::decide::acceptance::answers::{HEARTBEAT, Heard, dispatched};
use crate::decide::acceptance::released::{Asked, Health, Through, health_checks, runs};
use crate::decide::acceptance::{Check, Sight, Sights};
use crate::decide::release::rollout::ServiceState;
use crate::world::{ProbeRequest, World};

/// Logs of tasks reach CloudWatch within seconds.
const LOGS_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// By so much the clock of a task may be behind ours.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(10);
/// A load balancer with two targets asks each of them with so many requests.
const PROBES: usize = 6;

/// Criteria 11 and 12.
pub(super) async fn check(world: &World<'_>) -> [Check; 2] {
    world.report.live("ecs", "looking at what runs");
    let states = join_all(SERVICES.map(|component| look(world, component))).await;
    let mut sights: Vec<Sight> = Vec::new();
    let mut health = Vec::new();
    for (component, state) in SERVICES.into_iter().zip(&states) {
        let desired = world.outputs.service(component).desired_count;
        sights.push(match state {
            Ok(state) => runs(component.name(), state, desired),
            Err(why) => Err(why.clone()),
        });
        health.push(health_of(world, component, state.as_ref().ok()).await);
    }
    let asked = dispatch(world, "running", "").await;
    sights.push(dispatched(&asked.heard, HEARTBEAT));
    [
        Sights::of(sights).judge(OnEcs, "cargo xtask status\ncargo xtask deploy"),
        health_checks(&health).judge(
            HealthChecks,
            "cargo xtask logs axon\ncargo xtask logs orbit",
        ),
    ]
}

async fn look(world: &World<'_>, component: Component) -> Result<ServiceState, String> {
    let looked = world.cluster.describe_service(component).await;
    looked.map_err(|error| format!("{component}: {error:#}"))
}

async fn health_of(
    world: &World<'_>,
    component: Component,
    state: Option<&ServiceState>,
) -> Health {
    let (tasks, targets) = tokio::join!(
        world.cluster.task_health(component),
        world.balancer.describe_target_health(component)
    );
    let mut probes = Vec::new();
    for _ in 0..PROBES {
        probes.extend(probe(world, component).await);
    }
    let primary = state.and_then(ServiceState::primary);
    Health {
        service: component.name(),
        desired: world.outputs.service(component).desired_count,
        revision: primary.map_or_else(String::new, |primary| primary.revision.clone()),
        tasks: tasks.map_err(|error| format!("{error:#}")),
        targets: targets.map_err(|error| format!("{error:#}")),
        probes: world
            .outputs
            .service(component)
            .probe
            .is_some()
            .then_some(probes),
    }
}

/// The service's health by the load balancer, where that exposes it.
async fn probe(world: &World<'_>, component: Component) -> Option<Heard> {
    let probe = world.outputs.service(component).probe.as_ref()?;
    let request = ProbeRequest {
        method: "GET",
        url: &probe.url,
        headers: &probe.headers,
        body: "",
    };
    Some(ask(world.probe, request).await)
}

async fn dispatch(world: &World<'_>, case: &str, body: &str) -> Asked {
    let correlation_id = format!("verify-{case}-{}", world.clock.now().as_millisecond());
    let url = format!("{}/dispatch", world.outputs.base_url);
    let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
    let request = ProbeRequest {
        method: "POST",
        url: &url,
        headers: &headers,
        body,
    };
    let heard = ask(world.probe, request).await;
    Asked {
        correlation_id,
        heard,
    }
}

/// Criteria 1 to 7, as far as they can be seen from outside.
pub(super) async fn check_through_balancer(world: &World<'_>) -> Vec<Check> {
    world.report.live("balancer", "asking what is deployed");
    let through = through(world).await;
    let logs = |component| format!("cargo xtask logs {component}");
    let (axon, orbit) = (logs(Component::Axon), logs(Component::Orbit));
    let governance = logs(Component::Governance);
    vec![
        through.axon_health().judge(AxonHealth, &axon),
        through
            .reason()
            .judge(AxonReason, &format!("{orbit}\n{axon}")),
        through.orbit_health().judge(OrbitHealth, &orbit),
        through
            .governance_first()
            .judge(GovernanceFirst, &format!("{orbit}\n{governance}")),
        through
            .denial_blocks()
            .judge(DenialBlocks, &format!("{orbit}\n{axon}")),
        through
            .correlation()
            .judge(CorrelationIds, &format!("{orbit}\n{axon}")),
        through
            .json_logs()
            .judge(JsonLogs, &format!("{orbit}\n{axon}")),
    ]
}

/// The denied dispatch comes first: once the permitted one is in axon's log, it says something
/// that the denied one is not.
async fn through(world: &World<'_>) -> Through {
    let from = world.clock.now() - CLOCK_SKEW;
    let denied = dispatch(world, "denied", r#"{"intent":"shutdown"}"#).await;
    let permitted = dispatch(world, "permitted", "").await;
    let mut through = Through {
        axon_health: probe(world, Component::Axon).await,
        axon_reason: reason(world).await,
        orbit_health: probe(world, Component::Orbit).await,
        permitted,
        denied,
        axon_lines: Ok(Vec::new()),
        orbit_lines: Ok(Vec::new()),
    };
    let started = Instant::now();
    loop {
        (through.axon_lines, through.orbit_lines) = tokio::join!(
            lines(world, Component::Axon, from),
            lines(world, Component::Orbit, from)
        );
        if through.is_logged() || started.elapsed() > LOGS_LIMIT {
            return through;
        }
        world.report.live("logs", "waiting for what was logged");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Asked directly only where the load balancer exposes axon.
async fn reason(world: &World<'_>) -> Option<Heard> {
    world.outputs.service(Component::Axon).probe.as_ref()?;
    let url = format!("{}/reason", world.outputs.base_url);
    let headers = BTreeMap::new();
    let request = ProbeRequest {
        method: "GET",
        url: &url,
        headers: &headers,
        body: "",
    };
    Some(ask(world.probe, request).await)
}

async fn lines(
    world: &World<'_>,
    component: Component,
    from: Timestamp,
) -> Result<Vec<String>, String> {
    let group = &world.outputs.service(component).log_group;
    let lines = world.logs.since(group, from).await;
    let lines = lines.map_err(|error| format!("the log of {component}: {error:#}"))?;
    Ok(lines.into_iter().map(|line| line.text).collect())
}
