//! The only code that changes an environment: look, decide, act, report; every wait is bounded.
//!
//! One release is carried out here from "opened" to "closed": whatever goes wrong on the way,
//! everything that it changed is taken back in reverse order and the record says so.

mod alarms;
mod back;
mod evidence;
mod function;
mod record;
mod service;

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;

use crate::catalog::{SERVICES, Thing};
use crate::decide::plan::{Change, Look, Plan, ServiceLook, Step};
use crate::decide::release::{Record, State};
use crate::decide::rollout::Outcome;
use crate::failure::{self, Failure, Kind};
use crate::world::{ProbeRequest, World};

pub use alarms::left_without_alarms;
pub use record::open as open_record;

/// How often a moving thing is looked at. A rollout's end is noticed within this and one request.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);
/// After an update ECS has this long to bring its tasks up.
pub const ROLLOUT_LIMIT: Duration = Duration::from_mins(15);
/// A running service has this long to prove itself.
const PROOF_LIMIT: Duration = Duration::from_secs(30);

/// What a release takes at most, its way back included: each service has its limits on both ways.
/// The function's calls are a matter of seconds.
pub fn time_limit(plan: &Plan) -> Duration {
    let is_moved = |step: &&Step| step.thing.is_service() && step.change != Change::Keep;
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

/// Where a release goes: on the way back ECS's deployment alarms are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Forward,
    Back,
}

/// Why a release can't go on.
enum Trouble {
    Failed(Fault),
    /// Somebody else is at work: nothing is taken back.
    Usurped {
        thing: Option<Thing>,
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
struct Fault {
    thing: Option<Thing>,
    reason: String,
    evidence: Vec<String>,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        let reason = format!("{error:#}");
        if failure::is(&error, Kind::Expired) {
            return Self::Expired { how: reason };
        }
        Self::Failed(Fault {
            thing: None,
            reason,
            evidence: Vec::new(),
        })
    }
}

impl Trouble {
    /// The same, of a thing that was being changed.
    fn of(mut self, changed: Thing) -> Self {
        if let Self::Failed(Fault { thing, .. }) | Self::Usurped { thing, .. } = &mut self {
            *thing = Some(changed);
        }
        self
    }
}

/// How a release ended: for its record, and for the user.
struct End {
    state: State,
    result: Result<()>,
}

/// Looks at all that runs, at one moment.
pub async fn look(world: &World<'_>) -> Result<Look> {
    let service = async |thing: Thing| -> Result<(Thing, ServiceLook)> {
        let state = world.cluster.look(thing).await?;
        let revision = state
            .primary()
            .map_or_else(String::new, |first| first.revision.clone());
        let registered = world.cluster.revision(&revision).await?;
        Ok((
            thing,
            ServiceLook {
                state,
                revision,
                registered,
            },
        ))
    };
    let (function, services) = tokio::try_join!(
        world.functions.look(),
        futures_util::future::try_join_all(SERVICES.map(service))
    )?;
    Ok(Look {
        services: services.into_iter().collect(),
        function,
    })
}

/// Opens a release, applies the plan and closes the release. Ctrl-C stops the watching, not AWS;
/// the closing it does not stop, so that the record says what happened.
pub async fn carry_out(world: &World<'_>, plan: &Plan, about: About, way: Way) -> Result<Record> {
    let mut release = Release::open(*world, plan, about, way).await?;
    let end = tokio::select! {
        end = release.run(plan) => end,
        () = world.interrupt.wait() => release.left(),
    };
    let closed = match end.state {
        State::InProgress => Ok(()),
        // What is on its way back is left so, without alarms.
        State::Left => release.close(State::Left).await,
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
    way: Way,
    renewed: Instant,
}

impl<'w> Release<'w> {
    async fn open(world: World<'w>, plan: &Plan, about: About, way: Way) -> Result<Self> {
        let record = record::open(&world, about, plan.entries()).await?;
        let text = format!("{} opened", record.number);
        world.report.line("release", &text);
        Ok(Self {
            world,
            record,
            way,
            renewed: Instant::now(),
        })
    }

    async fn run(&mut self, plan: &Plan) -> End {
        let mut changed = Vec::new();
        let trouble = match self.forward(plan, &mut changed).await {
            Ok(()) => {
                return End {
                    state: State::Landed,
                    result: Ok(()),
                };
            }
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Failed(fault) => self.failed(plan, &changed, &fault).await,
            Trouble::Usurped { thing, by } => self.usurped(thing, &by),
            Trouble::Expired { how } => End {
                state: State::InProgress,
                result: Err(self.expired(&how)),
            },
            Trouble::MovedOn { how } => {
                let message = format!("the state moved on since the plan: {how}");
                let failure =
                    Failure::refused(message).hint("look at the new plan: cargo xtask plan");
                End {
                    state: State::Back,
                    result: Err(failure.into()),
                }
            }
        }
    }

    async fn forward(&mut self, plan: &Plan, changed: &mut Vec<Thing>) -> Result<(), Trouble> {
        let moved = plan.moved_on(&look(&self.world).await?);
        if !moved.is_empty() {
            return Err(Trouble::MovedOn {
                how: moved.join(", "),
            });
        }
        if self.way == Way::Forward {
            self.turn_alarms_on().await?;
        }
        for artefact in &plan.pushes {
            let size = crate::report::megabytes(artefact.packed_bytes);
            self.world
                .report
                .live(artefact.thing.name(), &format!("pushing {size}"));
            self.world.registry.push(artefact).await?;
            self.world.report.line(
                artefact.thing.name(),
                &format!("pushed {}", artefact.digest),
            );
        }
        for step in &plan.steps {
            if step.change == Change::Keep {
                continue;
            }
            self.guard().await?;
            changed.push(step.thing);
            let ended = if step.thing.is_service() {
                self.change_service(step).await
            } else {
                self.change_function(step).await
            };
            ended.map_err(|trouble| trouble.of(step.thing))?;
            self.set_outcome(step.thing, Outcome::Landed).await?;
        }
        if plan.steps.iter().any(|step| step.change != Change::Keep) {
            self.dispatch().await?;
        }
        Ok(())
    }

    /// A real dispatch, through the load balancer, the whole way and back.
    async fn dispatch(&self) -> Result<(), Trouble> {
        let correlation_id = format!("release-{}", self.record.number);
        let url = format!("{}/dispatch", self.world.site.base_url);
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
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn usurped(&mut self, thing: Option<Thing>, by: &str) -> End {
        if let Some(entry) = thing.and_then(|thing| self.record.things.get_mut(&thing)) {
            entry.outcome = Some(Outcome::Usurped);
        }
        let message = format!("release {} was usurped: {by}", self.record.number);
        let failure = Failure::new(Kind::Usurped, message)
            .hint("nothing was taken back; see `cargo xtask status` and `cargo xtask releases`");
        End {
            state: State::Usurped,
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
             cargo xtask rollback    # back to the last release that landed"
        );
        Failure::new(Kind::StoppedWatching, message)
            .hint(hint)
            .into()
    }

    /// The user stopped watching. What AWS was told to do goes on, and the record says so.
    fn left(&mut self) -> End {
        for entry in self.record.things.values_mut() {
            if entry.after != entry.before && entry.outcome.is_none() {
                entry.outcome = Some(Outcome::LeftRunning);
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
             cargo xtask rollback    # back to the last release that landed",
        );
        End {
            state: State::Left,
            result: Err(failure.into()),
        }
    }
}
