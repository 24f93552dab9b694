//! Criteria for a running release, observed through ECS, the load balancer and the services.

use super::responses::{self, HEARTBEAT, HttpResult};
use super::{Observation, Observations};
use crate::decide::release::snapshot::ServiceState;

/// The desired number of tasks runs the primary revision, and no deployment is in progress.
pub fn runs(service: &str, state: &ServiceState, desired: i32) -> Observation {
    let Some(primary) = state.primary() else {
        return Err(format!("{service}: ECS has no deployment"));
    };
    let summary = format!(
        "{service}: {} of {} tasks run {}",
        primary.running, state.desired, primary.revision
    );
    if state.desired < desired {
        return Err(format!("{summary}, expected {desired}"));
    }
    if !state.settled() {
        return Err(format!("{summary}, and a deployment is in progress"));
    }
    Ok(summary)
}

/// The health of one service as ECS, the load balancer and our own probe observe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHealth {
    pub service: &'static str,
    pub desired: i32,
    /// The revision of the primary deployment.
    pub revision: String,
    /// The health of each running task, from ECS: `HEALTHY`, `UNHEALTHY`, `UNKNOWN`.
    pub tasks: Result<Vec<String>, String>,
    /// The health of each target, from the load balancer.
    pub targets: Result<Vec<String>, String>,
    /// Responses to our own probe. `None`: the load balancer does not expose the service.
    pub probes: Option<Vec<HttpResult>>,
}

pub fn health_checks(services: &[ServiceHealth]) -> Observations {
    let mut observations = Vec::new();
    for health in services {
        observations.push(tasks(health));
        observations.push(targets(health));
        observations.extend(health.probes.as_deref().map(|it| probes(health, it)));
    }
    Observations::of(observations)
}

fn tasks(health: &ServiceHealth) -> Observation {
    let service = health.service;
    let tasks = health
        .tasks
        .as_ref()
        .map_err(|why| format!("{service}: {why}"))?;
    let summary = format!("{service}: task health in ECS is {}", tasks.join(", "));
    // `UNKNOWN` until the first check has ended.
    if !enough(tasks.len(), health.desired) || !tasks.iter().all(|it| it == "HEALTHY") {
        return Err(format!(
            "{summary}, expected HEALTHY for {} tasks",
            health.desired
        ));
    }
    Ok(summary)
}

fn targets(health: &ServiceHealth) -> Observation {
    let service = health.service;
    let targets = health
        .targets
        .as_ref()
        .map_err(|why| format!("{service}: {why}"))?;
    let summary = format!(
        "{service}: target health in the load balancer is {}",
        targets.join(", ")
    );
    // A draining target gets no new requests.
    let mut staying = targets.iter().filter(|it| *it != "draining");
    let count = staying.clone().count();
    if !enough(count, health.desired) || !staying.all(|it| it == "healthy") {
        return Err(format!(
            "{summary}, expected healthy for {} targets",
            health.desired
        ));
    }
    Ok(summary)
}

fn probes(health: &ServiceHealth, response: &[HttpResult]) -> Observation {
    let service = health.service;
    for response in response {
        responses::healthy(service, response)
            .map_err(|wrong| format!("{service}: own probe: {wrong}"))?;
        let revision = response
            .as_ref()
            .ok()
            .and_then(|it| it.task_revision.as_deref());
        if revision != Some(&health.revision) {
            return Err(format!(
                "{service}: own probe answered by {}, expected {}",
                revision.unwrap_or("a task without a revision"),
                health.revision
            ));
        }
    }
    if response.is_empty() {
        return Err(format!("{service}: own probe not sent"));
    }
    let (count, revision) = (response.len(), &health.revision);
    Ok(format!(
        "{service}: own probe healthy {count} of {count} times, from {revision}"
    ))
}

fn enough(count: usize, desired: i32) -> bool {
    usize::try_from(desired).is_ok_and(|desired| count >= desired)
}

/// A dispatch through the load balancer, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedDispatch {
    pub correlation_id: String,
    pub response: HttpResult,
}

/// The answers to all requests through the load balancer, and what the services logged meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseResponses {
    /// `None`: the load balancer does not expose it.
    pub axon_health: Option<HttpResult>,
    pub axon_reason: Option<HttpResult>,
    pub orbit_health: Option<HttpResult>,
    pub permitted: ObservedDispatch,
    pub denied: ObservedDispatch,
    pub axon_lines: Result<Vec<String>, String>,
    pub orbit_lines: Result<Vec<String>, String>,
}

impl ReleaseResponses {
    pub fn axon_health(&self) -> Observations {
        exposed("axon", self.axon_health.as_ref())
    }

    pub fn orbit_health(&self) -> Observations {
        exposed("orbit", self.orbit_health.as_ref())
    }

    /// The message of axon, through orbit and, where axon is exposed, directly.
    pub fn reason(&self) -> Observations {
        let by_orbit = responses::dispatched(&self.permitted.response, HEARTBEAT);
        let directly = self.axon_reason.as_ref().map(|response| match response {
            // The request has no signature, which axon may require.
            Ok(answer) if matches!(answer.status, 401 | 403) => Ok(format!(
                "GET /reason without a signature: {}",
                answer.status
            )),
            response => responses::heartbeat(response),
        });
        Observations::of([Some(by_orbit), directly].into_iter().flatten())
    }

    pub fn governance_first(&self) -> Observations {
        Observations::of([responses::dispatched(&self.permitted.response, HEARTBEAT)])
            .unknown("the order of the calls is not observable from outside; `cargo xtask verify` checks it with stubs")
    }

    /// The log of axon has the permitted dispatch, which was sent later, but not the denied one.
    pub fn denial_blocks(&self) -> Observations {
        let denied = responses::denied(&self.denied.response);
        let log = self.lines(&self.axon_lines).and_then(|lines| {
            responses::logged(
                "axon",
                lines,
                std::slice::from_ref(&self.permitted.correlation_id),
            )?;
            let id = &self.denied.correlation_id;
            if lines.iter().any(|line| line.contains(id.as_str())) {
                return Err(format!("axon was called: its log contains {id}"));
            }
            Ok("not in the log of axon".to_owned())
        });
        Observations::of([denied, log])
    }

    pub fn correlation(&self) -> Observations {
        let Self {
            permitted, denied, ..
        } = self;
        let returned = |request: &str, asked: &ObservedDispatch| {
            responses::correlated(request, &asked.response, Some(&asked.correlation_id))
        };
        let both = [
            permitted.correlation_id.clone(),
            denied.correlation_id.clone(),
        ];
        let logged = |service, lines, ids: &[String]| {
            self.lines(lines)
                .and_then(|lines| responses::logged(service, lines, ids))
        };
        Observations::of([
            returned("permitted", permitted),
            returned("denied", denied),
            logged("orbit", &self.orbit_lines, &both),
            logged("axon", &self.axon_lines, &both[..1]),
        ])
    }

    /// Whether the logs have arrived, which takes a while.
    pub fn is_logged(&self) -> bool {
        let has = |lines: &Result<Vec<String>, String>, asked: &ObservedDispatch| {
            let lines = lines.as_deref().unwrap_or_default();
            responses::requests(lines).contains(&asked.correlation_id)
        };
        has(&self.axon_lines, &self.permitted)
            && has(&self.orbit_lines, &self.permitted)
            && has(&self.orbit_lines, &self.denied)
    }

    #[expect(clippy::unused_self, reason = "called like the other accessors")]
    fn lines<'a>(&self, lines: &'a Result<Vec<String>, String>) -> Result<&'a [String], String> {
        lines.as_deref().map_err(Clone::clone)
    }
}

/// What one service logged during the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLog {
    pub service: &'static str,
    /// Whether it got a request through the load balancer, which it must have logged.
    pub requested: bool,
    pub lines: Result<Vec<String>, String>,
}

impl ServiceLog {
    /// Whether there is what can be expected, which takes a while.
    pub fn has_arrived(&self) -> bool {
        !self.requested || self.lines.as_ref().is_ok_and(|lines| !lines.is_empty())
    }
}

pub fn json_logs(logs: &[ServiceLog]) -> Observations {
    let observed = logs.iter().map(|log| match &log.lines {
        Ok(lines) if lines.is_empty() && !log.requested => {
            Observations::default().unknown(format!(
                "{}: no line during the check, and the load balancer does not expose it",
                log.service
            ))
        }
        Ok(lines) => Observations::of([responses::structured(log.service, lines)]),
        Err(why) => Observations::of([Err(why.clone())]),
    });
    observed.fold(Observations::default(), Observations::and)
}

fn exposed(service: &str, response: Option<&HttpResult>) -> Observations {
    match response {
        Some(response) => Observations::of([responses::healthy(service, response)]),
        None => {
            Observations::default().unknown(format!("the load balancer does not expose {service}"))
        }
    }
}

#[cfg(test)]
mod tests;
