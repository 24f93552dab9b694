//! What has to be true of what was released: as ECS, the load balancer and the services tell it.

use super::answers::{self, HEARTBEAT, Heard};
use super::{Sight, Sights};
use crate::decide::release::snapshot::ServiceState;

/// As many tasks as the outputs say run, all of them of the primary revision, and nothing moves.
pub fn runs(service: &str, state: &ServiceState, desired: i32) -> Sight {
    let Some(primary) = state.primary() else {
        return Err(format!("{service}: ECS has no deployment"));
    };
    let told = format!(
        "{service}: {} of {} tasks run {}",
        primary.running, state.desired, primary.revision
    );
    if state.desired < desired {
        return Err(format!("{told}, and there should be {desired}"));
    }
    if !state.settled() {
        return Err(format!("{told}, and it has not settled"));
    }
    Ok(told)
}

/// Who says what about the health of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub service: &'static str,
    pub desired: i32,
    /// The primary one.
    pub revision: String,
    /// What ECS says of each running task: `HEALTHY`, `UNHEALTHY`, `UNKNOWN`.
    pub tasks: Result<Vec<String>, String>,
    /// What the load balancer says of each target.
    pub targets: Result<Vec<String>, String>,
    /// What it answers us. `None`: the load balancer does not expose it.
    pub probes: Option<Vec<Heard>>,
}

pub fn health_checks(services: &[Health]) -> Sights {
    let mut sights = Vec::new();
    let mut unknown = Vec::new();
    for health in services {
        match tasks(health) {
            Ok(TasksTold::Healthy(right)) => sights.push(Ok(right)),
            Ok(TasksTold::Unknown(why)) => unknown.push(why),
            Err(wrong) => sights.push(Err(wrong)),
        }
        sights.push(targets(health));
        sights.extend(health.probes.as_deref().map(|it| probes(health, it)));
    }
    let sights = Sights::of(sights);
    unknown.into_iter().fold(sights, Sights::unknown)
}

enum TasksTold {
    Healthy(String),
    Unknown(String),
}

fn tasks(health: &Health) -> Result<TasksTold, String> {
    let service = health.service;
    let tasks = health
        .tasks
        .as_ref()
        .map_err(|why| format!("{service}: {why}"))?;
    let told = format!("{service}: ECS says {} of its tasks", tasks.join(", "));
    let fits = |task: &String| matches!(task.as_str(), "HEALTHY" | "UNKNOWN");
    if !enough(tasks.len(), health.desired) || !tasks.iter().all(fits) {
        return Err(format!("{told}, expected HEALTHY {} times", health.desired));
    }
    if tasks.iter().all(|task| task == "HEALTHY") {
        return Ok(TasksTold::Healthy(told));
    }
    let why = "it has not run their health check, which the local AWS never does";
    Ok(TasksTold::Unknown(format!("{told}: {why}")))
}

fn targets(health: &Health) -> Sight {
    let service = health.service;
    let targets = health
        .targets
        .as_ref()
        .map_err(|why| format!("{service}: {why}"))?;
    let told = format!(
        "{service}: the load balancer says {} of its targets",
        targets.join(", ")
    );
    // What is draining is on its way out and gets no new request.
    let mut staying = targets.iter().filter(|it| *it != "draining");
    let count = staying.clone().count();
    if !enough(count, health.desired) || !staying.all(|it| it == "healthy") {
        return Err(format!("{told}, expected healthy {} times", health.desired));
    }
    Ok(told)
}

fn probes(health: &Health, heard: &[Heard]) -> Sight {
    let service = health.service;
    for heard in heard {
        answers::healthy(service, heard)
            .map_err(|wrong| format!("{service}: our own probe: {wrong}"))?;
        let revision = heard
            .as_ref()
            .ok()
            .and_then(|it| it.task_revision.as_deref());
        if revision != Some(&health.revision) {
            return Err(format!(
                "{service}: our own probe was answered from {}, expected {}",
                revision.unwrap_or("a task that names no revision"),
                health.revision
            ));
        }
    }
    if heard.is_empty() {
        return Err(format!("{service}: our own probe was not sent"));
    }
    let (count, revision) = (heard.len(), &health.revision);
    Ok(format!(
        "{service}: our own probe says healthy {count} of {count} times, from {revision}"
    ))
}

fn enough(count: usize, desired: i32) -> bool {
    usize::try_from(desired).is_ok_and(|desired| count >= desired)
}

/// A dispatch through the load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub correlation_id: String,
    pub heard: Heard,
}

/// What was asked through the load balancer, and what the services logged meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    /// `None`: the load balancer does not expose it.
    pub axon_health: Option<Heard>,
    pub axon_reason: Option<Heard>,
    pub orbit_health: Option<Heard>,
    pub permitted: Asked,
    pub denied: Asked,
    pub axon_lines: Result<Vec<String>, String>,
    pub orbit_lines: Result<Vec<String>, String>,
}

impl Through {
    pub fn axon_health(&self) -> Sights {
        exposed("axon", self.axon_health.as_ref())
    }

    pub fn orbit_health(&self) -> Sights {
        exposed("orbit", self.orbit_health.as_ref())
    }

    /// Axon's message comes by orbit; and directly, where axon is exposed.
    pub fn reason(&self) -> Sights {
        let by_orbit = answers::dispatched(&self.permitted.heard, HEARTBEAT);
        let directly = self.axon_reason.as_ref().map(|heard| match heard {
            // Where signatures are required, ours is missing.
            Ok(answer) if matches!(answer.status, 401 | 403) => Ok(format!(
                "GET /reason without a signature: {}",
                answer.status
            )),
            heard => answers::heartbeat(heard),
        });
        Sights::of([Some(by_orbit), directly].into_iter().flatten())
    }

    pub fn governance_first(&self) -> Sights {
        Sights::of([answers::dispatched(&self.permitted.heard, HEARTBEAT)])
            .unknown("which of the two orbit called first can't be seen from outside; `cargo xtask verify` sees it with stand-ins")
    }

    /// Axon's log has the permitted dispatch, which came later, and not the denied one.
    pub fn denial_blocks(&self) -> Sights {
        let denied = answers::denied(&self.denied.heard);
        let log = self.lines(&self.axon_lines).and_then(|lines| {
            answers::logged(
                "axon",
                lines,
                std::slice::from_ref(&self.permitted.correlation_id),
            )?;
            let id = &self.denied.correlation_id;
            if lines.iter().any(|line| line.contains(id.as_str())) {
                return Err(format!("axon was called: its log has {id}"));
            }
            Ok("axon's log has nothing of it".to_owned())
        });
        Sights::of([denied, log])
    }

    pub fn correlation(&self) -> Sights {
        let Self {
            permitted, denied, ..
        } = self;
        let came_back = |request: &str, asked: &Asked| {
            answers::correlated(request, &asked.heard, Some(&asked.correlation_id))
        };
        let both = [
            permitted.correlation_id.clone(),
            denied.correlation_id.clone(),
        ];
        let logged = |service, lines, ids: &[String]| {
            self.lines(lines)
                .and_then(|lines| answers::logged(service, lines, ids))
        };
        Sights::of([
            came_back("permitted", permitted),
            came_back("denied", denied),
            logged("orbit", &self.orbit_lines, &both),
            logged("axon", &self.axon_lines, &both[..1]),
        ])
    }

    pub fn json_logs(&self) -> Sights {
        let structured = |service, lines| {
            self.lines(lines)
                .and_then(|lines| answers::structured(service, lines))
        };
        Sights::of([
            structured("axon", &self.axon_lines),
            structured("orbit", &self.orbit_lines),
        ])
    }

    /// Whether the logs have come in: they take their time.
    pub fn is_logged(&self) -> bool {
        let has = |lines: &Result<Vec<String>, String>, asked: &Asked| {
            let lines = lines.as_deref().unwrap_or_default();
            answers::requests(lines).contains(&asked.correlation_id)
        };
        has(&self.axon_lines, &self.permitted)
            && has(&self.orbit_lines, &self.permitted)
            && has(&self.orbit_lines, &self.denied)
    }

    #[expect(clippy::unused_self, reason = "reads as a question to what was seen")]
    fn lines<'a>(&self, lines: &'a Result<Vec<String>, String>) -> Result<&'a [String], String> {
        lines.as_deref().map_err(Clone::clone)
    }
}

fn exposed(service: &str, heard: Option<&Heard>) -> Sights {
    match heard {
        Some(heard) => Sights::of([answers::healthy(service, heard)]),
        None => Sights::default().unknown(format!("the load balancer does not expose {service}")),
    }
}

#[cfg(test)]
mod tests;
