//! Checks what is deployed, by what ECS and the load balancer report, and by requests through the
//! load balancer.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{ask, logs_of, looking, not_there};
use crate::catalog::{Component, Function, Service};
use crate::decide::acceptance::Criterion::{
    AxonHealth, AxonReason, CorrelationIds, DenialBlocks, GovernanceFirst, HealthChecks, JsonLogs,
    OnEcs, OrbitHealth,
};
use crate::decide::acceptance::released::{
    ObservedDispatch, ReleaseResponses, ServiceHealth, ServiceLog, health_checks, json_logs, runs,
};
use crate::decide::acceptance::responses::{HEARTBEAT, HttpResult, dispatched};
use crate::decide::acceptance::{
    AXON, Check, DISPATCHES, GOVERNANCE, ORBIT, Observation, Observations,
};
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::ServiceState;
use crate::ports::{Context, ProbeRequest};
use crate::release::answers_its_checks;

/// Logs of tasks reach CloudWatch within seconds.
const LOGS_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The clock of a task may be behind ours by this much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(10);
/// Enough requests to reach each of the two targets of a load balancer.
const PROBES: usize = 6;

/// Criteria 11 and 12. `health` was seen of images alone.
pub(super) async fn check(
    context: &Context<'_>,
    outputs: &Outputs,
    health: Observations,
) -> [Check; 2] {
    looking(context, "verify", "reading what runs");
    let services = outputs.services(context.catalog);
    let states = services
        .iter()
        .map(|service| look(context, outputs, *service));
    let states = join_all(states).await;
    let mut observations: Vec<Observation> = Vec::new();
    let mut in_ecs = Vec::new();
    for (service, state) in services.iter().copied().zip(&states) {
        let desired = outputs.service(service).desired_count;
        observations.push(match state {
            Ok(state) => runs(service.name(), state, desired),
            Err(why) => Err(why.clone()),
        });
        in_ecs.push(health_of(context, outputs, service, state.as_ref().ok()).await);
    }
    for function in outputs.functions(context.catalog) {
        observations.push(answers(context, outputs, function).await);
    }
    if not_there(context, outputs).is_none() {
        let asked = dispatch(context, outputs, "running", "").await;
        observations.push(dispatched(&asked.response, HEARTBEAT));
    }
    [
        Observations::of(observations).judge(OnEcs, "cargo xtask status\ncargo xtask deploy"),
        health_checks(&in_ecs)
            .and(health)
            .judge(HealthChecks, &logs_of(&services)),
    ]
}

/// Whether what the alias names answers as the catalog says.
async fn answers(context: &Context<'_>, outputs: &Outputs, function: Function) -> Observation {
    let answered = async {
        let facts = outputs.function(function);
        let version = context.functions.get_alias(facts).await?.version;
        let answers = answers_its_checks(context, outputs, function, &version).await;
        answers.with_context(|| format!("version {version}"))?;
        anyhow::Ok(version)
    };
    match answered.await {
        Ok(version) => Ok(format!("{function}: version {version} answers its checks")),
        Err(error) => Err(format!("{function}: {error:#}")),
    }
}

async fn look(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
) -> Result<ServiceState, String> {
    let looked = context.cluster.describe_service(outputs, service).await;
    looked.map_err(|error| format!("{service}: {error:#}"))
}

async fn health_of(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    state: Option<&ServiceState>,
) -> ServiceHealth {
    let (tasks, targets) = tokio::join!(
        context.cluster.task_health(outputs, service),
        context.balancer.describe_target_health(outputs, service)
    );
    let mut probes = Vec::new();
    for _ in 0..PROBES {
        probes.extend(probe(context, outputs, service).await);
    }
    let primary = state.and_then(ServiceState::primary);
    ServiceHealth {
        service: service.name(),
        desired: outputs.service(service).desired_count,
        revision: primary.map_or_else(String::new, |primary| primary.revision.to_string()),
        tasks: tasks.map_err(|error| format!("{error:#}")),
        targets: targets
            .map(|targets| targets.into_iter().map(|it| it.state).collect())
            .map_err(|error| format!("{error:#}")),
        probes: outputs.service(service).probe.is_some().then_some(probes),
    }
}

/// The answer of `/health` through the load balancer, where that exposes the service.
async fn probe(context: &Context<'_>, outputs: &Outputs, service: Service) -> Option<HttpResult> {
    let probe = outputs.service(service).probe.as_ref()?;
    let request = ProbeRequest {
        method: "GET",
        url: &probe.url,
        headers: &probe.headers,
        body: "",
    };
    Some(ask(context.probe, request).await)
}

async fn dispatch(
    context: &Context<'_>,
    outputs: &Outputs,
    case: &str,
    body: &str,
) -> ObservedDispatch {
    let correlation_id = format!("verify-{case}-{}", context.clock.now().as_millisecond());
    let url = format!("{}/dispatch", outputs.base_url);
    let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
    let request = ProbeRequest {
        method: "POST",
        url: &url,
        headers: &headers,
        body,
    };
    let response = ask(context.probe, request).await;
    ObservedDispatch {
        correlation_id,
        response,
    }
}

/// Criteria 1 to 7, as far as they can be seen from outside.
pub(super) async fn check_through_balancer(context: &Context<'_>, outputs: &Outputs) -> Vec<Check> {
    looking(context, "verify", "sending requests to what is deployed");
    let from = context.clock.now() - CLOCK_SKEW;
    let mut checks = match not_there(context, outputs) {
        None => check_dispatches(context, outputs, from).await,
        Some(why) => {
            let checks = DISPATCHES.iter().map(|it| Check::skip(*it, &why));
            checks.collect()
        }
    };
    checks.push(check_logs(context, outputs, from).await);
    checks
}

/// Criteria 1 to 6.
async fn check_dispatches(context: &Context<'_>, outputs: &Outputs, from: Timestamp) -> Vec<Check> {
    let responses = responses(context, outputs, from).await;
    let logs = |name: Component| format!("cargo xtask logs {name}");
    let (axon, orbit) = (logs(AXON.into()), logs(ORBIT.into()));
    let governance = logs(GOVERNANCE.into());
    vec![
        responses.axon_health().judge(AxonHealth, &axon),
        responses
            .reason()
            .judge(AxonReason, &format!("{orbit}\n{axon}")),
        responses.orbit_health().judge(OrbitHealth, &orbit),
        responses
            .governance_first()
            .judge(GovernanceFirst, &format!("{orbit}\n{governance}")),
        responses
            .denial_blocks()
            .judge(DenialBlocks, &format!("{orbit}\n{axon}")),
        responses
            .correlation()
            .judge(CorrelationIds, &format!("{orbit}\n{axon}")),
    ]
}

/// Criterion 7, of every service: what was logged since, after one more request to each.
async fn check_logs(context: &Context<'_>, outputs: &Outputs, from: Timestamp) -> Check {
    let services = outputs.services(context.catalog);
    for service in &services {
        // Only its line in the log counts here; health is a criterion of its own.
        drop(probe(context, outputs, *service).await);
    }
    let started = Instant::now();
    let logs = loop {
        let logs = services.iter().map(async |service| ServiceLog {
            service: service.name(),
            requested: outputs.service(*service).probe.is_some(),
            lines: lines(context, outputs, *service, from).await,
        });
        let logs = join_all(logs).await;
        if logs.iter().all(ServiceLog::has_arrived) || started.elapsed() > LOGS_LIMIT {
            break logs;
        }
        looking(context, "verify", "waiting for the log");
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    json_logs(&logs).judge(JsonLogs, &logs_of(&services))
}

/// The denied dispatch is sent first: once the permitted one is in axon's log, the absence of the
/// denied one shows that axon was not called for it.
async fn responses(context: &Context<'_>, outputs: &Outputs, from: Timestamp) -> ReleaseResponses {
    let denied = dispatch(context, outputs, "denied", r#"{"intent":"shutdown"}"#).await;
    let permitted = dispatch(context, outputs, "permitted", "").await;
    let mut responses = ReleaseResponses {
        axon_health: probe(context, outputs, AXON).await,
        axon_reason: reason(context, outputs).await,
        orbit_health: probe(context, outputs, ORBIT).await,
        permitted,
        denied,
        axon_lines: Ok(Vec::new()),
        orbit_lines: Ok(Vec::new()),
    };
    let started = Instant::now();
    loop {
        (responses.axon_lines, responses.orbit_lines) = tokio::join!(
            lines(context, outputs, AXON, from),
            lines(context, outputs, ORBIT, from)
        );
        if responses.is_logged() || started.elapsed() > LOGS_LIMIT {
            return responses;
        }
        looking(context, "verify", "waiting for the log");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Asks axon directly, which is possible only where the load balancer exposes it.
async fn reason(context: &Context<'_>, outputs: &Outputs) -> Option<HttpResult> {
    outputs.service(AXON).probe.as_ref()?;
    let url = format!("{}/reason", outputs.base_url);
    let headers = BTreeMap::new();
    let request = ProbeRequest {
        method: "GET",
        url: &url,
        headers: &headers,
        body: "",
    };
    Some(ask(context.probe, request).await)
}

async fn lines(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    from: Timestamp,
) -> Result<Vec<String>, String> {
    let group = &outputs.service(service).log_group;
    let lines = context.logs.since(group, from).await;
    let lines = lines.map_err(|error| format!("the log of {service}: {error:#}"))?;
    Ok(lines.into_iter().map(|line| line.text).collect())
}
