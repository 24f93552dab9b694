//! The only code that changes an environment: snapshot, decide, act, report; every wait is bounded.
//!
//! One release is carried out here from "opened" to "closed": whatever goes wrong on the way,
//! everything that it changed is rolled back in reverse order and the record says so.

mod alarms;
mod back;
mod evidence;
mod function;
mod record;
mod service;

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;

use crate::catalog::{Component, SERVICES};
use crate::decide::release::plan::{Change, Plan, ServiceSnapshot, Snapshot, Step};
use crate::decide::release::record::{Record, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::failure::{self, Failure, Kind};
use crate::world::{ProbeRequest, World};

pub use alarms::left_without_alarms;
pub use record::open as open_record;

/// How often a moving component is looked at. A rollout's end is noticed within this and one request.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// After an update ECS has this long to bring its tasks up.
pub const ROLLOUT_LIMIT: Duration = Duration::from_mins(15);
/// A running service has this long to prove itself.
const PROOF_LIMIT: Duration = Duration::from_secs(30);

/// What a release takes at most, its rollback included: each service has its limits in both directions.
/// The function's calls are a matter of seconds.
pub fn time_limit(plan: &Plan) -> Duration {
    let is_moved = |step: &&Step| step.component.is_service() && step.change != Change::Keep;
    let services = plan.steps.iter().filter(is_moved);
    let both_ways = |_| 2 * (ROLLOUT_LIMIT + PROOF_LIMIT);
    services.map(both_ways).sum::<Duration>() + PROOF_LIMIT
}

/// What a record says about a release besides what it changed.
#[derive(Debug, Clone)]
pub struct About {
    pub who: String,
    pub host: String,
    pub why: String,
    pub commit: Option<String>,
    pub dirty: bool,
}

/// Where a release goes: during the rollback ECS's deployment alarms are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Back,
}

/// Why a release can't go on.
enum ReleaseError {
    Failed(ComponentFailure),
    /// Somebody else is at work: nothing is rolled back.
    Superseded {
        component: Option<Component>,
        by: String,
    },
    /// Nothing can be seen or changed any more, and nothing be written into the record.
    Expired {
        how: String,
    },
    /// What runs is not what the plan stands on. Nothing was changed yet.
    MovedOn {
        how: String,
    },
}

/// What failed. The lines of evidence explain it.
struct ComponentFailure {
    component: Option<Component>,
    reason: String,
    evidence: Vec<String>,
}

impl From<anyhow::Error> for ReleaseError {
    fn from(error: anyhow::Error) -> Self {
        let reason = format!("{error:#}");
        if failure::is(&error, Kind::Expired) {
            return Self::Expired { how: reason };
        }
        Self::Failed(ComponentFailure {
            component: None,
            reason,
            evidence: Vec::new(),
        })
    }
}

impl ReleaseError {
    /// The same, of a component that was being changed.
    fn of(mut self, changed: Component) -> Self {
        if let Self::Failed(ComponentFailure { component, .. })
        | Self::Superseded { component, .. } = &mut self
        {
            *component = Some(changed);
        }
        self
    }
}

/// How a release ended: for its record, and for the user.
struct End {
    state: ReleaseState,
    result: Result<()>,
}

/// Looks at all that runs, at one moment.
pub async fn observe(world: &World<'_>) -> Result<Snapshot> {
    let service = async |component: Component| -> Result<(Component, ServiceSnapshot)> {
        let state = world.cluster.describe_service(component).await?;
        let revision = state
            .primary()
            .map_or_else(String::new, |first| first.revision.clone());
        let registered = world.cluster.describe_task_definition(&revision).await?;
        Ok((
            component,
            ServiceSnapshot {
                state,
                revision,
                registered,
            },
        ))
    };
    let (function, services) = tokio::try_join!(
        world.functions.get_alias(),
        futures_util::future::try_join_all(SERVICES.map(service))
    )?;
    Ok(Snapshot {
        services: services.into_iter().collect(),
        function,
    })
}

/// Opens a release, applies the plan and closes the release. Ctrl-C stops the watching, not AWS;
/// the closing it does not stop, so that the record says what happened.
pub async fn carry_out(
    world: &World<'_>,
    plan: &Plan,
    about: About,
    direction: Direction,
) -> Result<Record> {
    let mut release = Release::open(*world, plan, about, direction).await?;
    let end = tokio::select! {
        end = release.run(plan) => end,
        () = world.interrupt.wait() => release.left(),
    };
    let closed = match end.state {
        ReleaseState::InProgress => Ok(()),
        // What is being rolled back is left so, without alarms.
        ReleaseState::Detached => release.close(ReleaseState::Detached).await,
        state => {
            if let Err(error) = release.turn_alarms_on().await {
                let text = format!("{error:#}{}", release.without_alarms());
                world.report.warn("release", &text);
            }
            release.close(state).await
        }
    };
    let closed = closed.map_err(|error| {
        if failure::is(&error, Kind::Expired) {
            return release.expired(&format!("{error:#}"));
        }
        error
    });
    if let (Err(_), Err(error)) = (&end.result, &closed) {
        world.report.warn("release", &format!("{error:#}"));
    }
    end.result.and(closed)?;
    Ok(release.record)
}

struct Release<'w> {
    world: World<'w>,
    record: Record,
    direction: Direction,
    renewed: Instant,
}

impl<'w> Release<'w> {
    async fn open(
        world: World<'w>,
        plan: &Plan,
        about: About,
        direction: Direction,
    ) -> Result<Self> {
        let record = record::open(&world, about, plan.entries()).await?;
        let text = format!("{} opened", record.number);
        world.report.line("release", &text);
        Ok(Self {
            world,
            record,
            direction,
            renewed: Instant::now(),
        })
    }

    async fn run(&mut self, plan: &Plan) -> End {
        let mut changed = Vec::new();
        let error = match self.forward(plan, &mut changed).await {
            Ok(()) => {
                return End {
                    state: ReleaseState::Succeeded,
                    result: Ok(()),
                };
            }
            Err(error) => error,
        };
        match error {
            ReleaseError::Failed(fault) => self.failed(plan, &changed, &fault).await,
            ReleaseError::Superseded { component, by } => self.superseded(component, &by),
            ReleaseError::Expired { how } => End {
                state: ReleaseState::InProgress,
                result: Err(self.expired(&how)),
            },
            ReleaseError::MovedOn { how } => {
                let message = format!("the state moved on since the plan: {how}");
                let failure =
                    Failure::refused(message).hint("look at the new plan: cargo xtask plan");
                End {
                    state: ReleaseState::RolledBack,
                    result: Err(failure.into()),
                }
            }
        }
    }

    async fn forward(
        &mut self,
        plan: &Plan,
        changed: &mut Vec<Component>,
    ) -> Result<(), ReleaseError> {
        let moved = plan.moved_on(&observe(&self.world).await?);
        if !moved.is_empty() {
            return Err(ReleaseError::MovedOn {
                how: moved.join(", "),
            });
        }
        if self.direction == Direction::Forward {
            self.turn_alarms_on().await?;
        }
        for artifact in &plan.pushes {
            let size = crate::report::megabytes(artifact.packed_bytes);
            self.world
                .report
                .live(artifact.component.name(), &format!("pushing {size}"));
            self.world.registry.push(artifact).await?;
            self.world.report.line(
                artifact.component.name(),
                &format!("pushed {}", artifact.digest),
            );
        }
        for step in &plan.steps {
            if step.change == Change::Keep {
                continue;
            }
            self.guard().await?;
            changed.push(step.component);
            let ended = if step.component.is_service() {
                self.change_service(step).await
            } else {
                self.change_function(step).await
            };
            ended.map_err(|error| error.of(step.component))?;
            self.set_outcome(step.component, Outcome::Succeeded).await?;
        }
        if plan.steps.iter().any(|step| step.change != Change::Keep) {
            self.dispatch().await?;
        }
        Ok(())
    }

    /// A real dispatch, through the load balancer, the whole way and back.
    async fn dispatch(&self) -> Result<(), ReleaseError> {
        let correlation_id = format!("release-{}", self.record.number);
        let url = format!("{}/dispatch", self.world.outputs.base_url);
        let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
        let request = ProbeRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: "",
        };
        let started = Instant::now();
        loop {
            self.world.report.live("dispatch", &format!("POST {url}"));
            let heard = match self.world.probe.send(request).await {
                Ok(answer) if answer.status == 200 => {
                    let echoed = answer.headers.get("x-correlation-id");
                    if echoed == Some(&correlation_id) {
                        self.world
                            .report
                            .line("dispatch", &format!("answered 200: {}", answer.body));
                        return Ok(());
                    }
                    format!("200 without the correlation id {correlation_id}")
                }
                Ok(answer) => format!("{} {}", answer.status, answer.body),
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > PROOF_LIMIT {
                return Err(anyhow!("a dispatch was not answered: {heard}").into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn superseded(&mut self, component: Option<Component>, by: &str) -> End {
        if let Some(entry) =
            component.and_then(|component| self.record.components.get_mut(&component))
        {
            entry.outcome = Some(Outcome::Superseded);
        }
        let message = format!("release {} was superseded: {by}", self.record.number);
        let failure = Failure::new(Kind::Superseded, message)
            .hint("nothing was rolled back; see `cargo xtask status` and `cargo xtask releases`");
        End {
            state: ReleaseState::Superseded,
            result: Err(failure.into()),
        }
    }

    /// Without credentials the record stays in progress: its time runs out, and then whoever opens
    /// the next release goes on from what runs.
    fn expired(&self, how: &str) -> anyhow::Error {
        let Record { number, until, .. } = &self.record;
        let message = format!(
            "the credentials expired in the middle of release {number}; what was begun in AWS \
             goes on: {how}{}",
            self.without_alarms()
        );
        let hint = format!(
            "sign in again (in a pipeline, run the job again); the record is free at {until:.0}, then\n\
             cargo xtask deploy      # go on to the end\n\
             cargo xtask rollback    # back to the last release that succeeded"
        );
        Failure::new(Kind::StoppedWatching, message)
            .hint(hint)
            .into()
    }

    /// The user stopped watching. What AWS was told to do goes on, and the record says so.
    fn left(&mut self) -> End {
        for entry in self.record.components.values_mut() {
            if entry.after != entry.before && entry.outcome.is_none() {
                entry.outcome = Some(Outcome::Detached);
            }
        }
        let message = format!(
            "stopped watching release {}; what was begun in AWS goes on{}",
            self.record.number,
            self.without_alarms()
        );
        let failure = Failure::new(Kind::StoppedWatching, message).hint(
            "cargo xtask status      # what runs now\n\
             cargo xtask deploy      # go on to the end\n\
             cargo xtask rollback    # back to the last release that succeeded",
        );
        End {
            state: ReleaseState::Detached,
            result: Err(failure.into()),
        }
    }
}
