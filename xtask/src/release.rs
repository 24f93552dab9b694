//! The release engine: the only code that changes AWS. Look, decide, act, report; every wait has a
//! limit.
//!
//! A release holds the environment's lock (its record in the ledger) from "opened" to "closed".
//! What fails in between is rolled back in reverse order, and the record says how that ended.

mod alarms;
mod confirmation;
mod evidence;
mod function;
mod lock;
mod observe;
mod push;
mod rollback;
mod rotate;
mod secrets;
mod service;
mod stop;

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;

use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{Plan, Step};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::failure::{self, Failure, Kind};
use crate::ports::{Context, ProbeRequest};
use crate::report::{CommandEvent, ReleaseEvent, SecretsEvent};
use evidence::Evidence;

pub use alarms::left_without_alarms;
pub use confirmation::{Confirmed, confirm, warn_of_expiry};
pub use function::answers_its_checks;
pub use observe::{observe, observe_with_retired};
pub use push::push;
pub use rotate::{announce_rotation, rotate};
pub use secrets::give_values;
pub use stop::{StopPlan, stop};

/// How often something that moves is looked at. The end of a rollout is noticed within this and
/// one request.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// After an update ECS has this long to bring its tasks up.
pub const ROLLOUT_LIMIT: Duration = Duration::from_mins(15);
/// A running service has this long to prove itself.
const PROOF_LIMIT: Duration = Duration::from_secs(30);

/// What a release takes at most, its rollback included: each service has its limits in both
/// directions. The calls for a function are a matter of seconds.
pub fn time_limit(plan: &Plan) -> Duration {
    let is_changed = |step: &&Step| matches!(step, Step::Service(_)) && !step.changes_nothing();
    let services = plan.steps.iter().filter(is_changed);
    let both_directions = |_| 2 * (ROLLOUT_LIMIT + PROOF_LIMIT);
    services.map(both_directions).sum::<Duration>() + PROOF_LIMIT
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

/// Why a release can't go on.
enum ReleaseError {
    Failed(ComponentFailure),
    /// Another release or deployment took over: nothing is rolled back.
    Superseded {
        component: Option<Component>,
        by: String,
    },
    /// The credentials ended: nothing can be read, changed or recorded any more.
    Expired {
        how: String,
    },
    /// What runs is not what the plan was made for. Nothing was changed yet.
    MovedOn {
        how: String,
    },
}

/// What failed, and what explains it.
struct ComponentFailure {
    component: Option<Component>,
    error: anyhow::Error,
    evidence: Evidence,
}

impl From<anyhow::Error> for ReleaseError {
    fn from(error: anyhow::Error) -> Self {
        if failure::is(&error, Kind::Expired) {
            let how = format!("{error:#}");
            return Self::Expired { how };
        }
        Self::Failed(ComponentFailure {
            component: None,
            error,
            evidence: Evidence::default(),
        })
    }
}

impl ReleaseError {
    /// The same, about the component that was being changed.
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

impl End {
    fn succeeded() -> Self {
        Self {
            state: ReleaseState::Succeeded,
            result: Ok(()),
        }
    }
}

/// Opens a release, applies the plan and closes the release. Ctrl-C stops the watching, not AWS.
pub async fn deploy(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &Plan,
    about: About,
    _: Confirmed,
) -> Result<Record> {
    carry_out(context, outputs, plan, about, RecordKind::Release).await
}

/// As `deploy`, to what ran after an earlier release.
pub async fn roll_back(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &Plan,
    about: About,
    _: Confirmed,
) -> Result<Record> {
    carry_out(context, outputs, plan, about, RecordKind::Rollback).await
}

async fn carry_out(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &Plan,
    about: About,
    kind: RecordKind,
) -> Result<Record> {
    let mut release = Release::open(context, outputs, about, kind, plan.entries()).await?;
    let end = tokio::select! {
        end = release.run(plan) => end,
        () = context.interrupt.wait() => release.detach(),
    };
    release.finish(end).await
}

/// One release, or one rotation of the signing key, while it is under way.
struct Release<'a> {
    context: Context<'a>,
    outputs: &'a Outputs,
    record: Record,
    /// When the record was written last.
    renewed: Instant,
}

impl<'a> Release<'a> {
    async fn open(
        context: &Context<'a>,
        outputs: &'a Outputs,
        about: About,
        kind: RecordKind,
        entries: Entries,
    ) -> Result<Self> {
        let record = lock::open(context, about, kind, entries).await?;
        let number = record.number;
        match kind {
            RecordKind::Rotation => context.report.emit(SecretsEvent::RotationOpened { number }),
            _ => context.report.emit(ReleaseEvent::ReleaseOpened { number }),
        }
        Ok(Self {
            context: *context,
            outputs,
            record,
            renewed: Instant::now(),
        })
    }

    /// Something failed that does not end the release.
    fn ignore(&self, error: String) {
        self.context.report.emit(CommandEvent::ErrorIgnored {
            subject: self.record.kind.noun().to_owned(),
            error,
        });
    }

    async fn run(&mut self, plan: &Plan) -> End {
        let mut changed = Vec::new();
        match self.apply(plan, &mut changed).await {
            Ok(()) => End::succeeded(),
            Err(ReleaseError::Failed(failure)) => self.failed(&changed, &failure).await,
            Err(error) => self.ended_by(error),
        }
    }

    async fn apply<'p>(
        &mut self,
        plan: &'p Plan,
        changed: &mut Vec<&'p Step>,
    ) -> Result<(), ReleaseError> {
        let now = observe(&self.context, self.outputs).await?;
        unchanged(&plan.snapshot.changed_since(&now))?;
        if self.record.kind == RecordKind::Release {
            self.turn_alarms_on().await?;
        }
        for artifact in &plan.pushes {
            let Context {
                registry, report, ..
            } = self.context;
            push(registry, self.outputs, report, artifact).await?;
        }
        for step in plan.steps.iter().filter(|step| !step.changes_nothing()) {
            self.ensure_lock_held().await?;
            changed.push(step);
            let ended = match step {
                Step::Function(step) => self.change_function(step).await,
                Step::Service(step) => self.change_service(step).await,
            };
            ended.map_err(|error| error.of(step.component()))?;
            self.set_outcome(step.component(), Outcome::Succeeded)
                .await?;
        }
        if !changed.is_empty() {
            self.dispatch().await?;
        }
        Ok(())
    }

    /// A real dispatch, through the load balancer.
    async fn dispatch(&self) -> Result<(), ReleaseError> {
        let Context { report, probe, .. } = self.context;
        let correlation_id = format!("release-{}", self.record.number);
        let url = format!("{}/dispatch", self.outputs.base_url);
        let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
        let request = ProbeRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: "",
        };
        let started = Instant::now();
        loop {
            report.emit(ReleaseEvent::Dispatching { url: url.clone() });
            let answer = match probe.send(request).await {
                Ok(answer) if answer.status == 200 => {
                    if answer.headers.get("x-correlation-id") == Some(&correlation_id) {
                        report.emit(ReleaseEvent::Dispatched {
                            status: answer.status,
                            body: answer.body,
                        });
                        return Ok(());
                    }
                    format!("200 without the correlation id {correlation_id}")
                }
                Ok(answer) => format!("{} {}", answer.status, answer.body),
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > PROOF_LIMIT {
                return Err(anyhow!("a dispatch was not answered: {answer}").into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A stop and a rotation start no deployment of ECS, and leave its alarms as they are.
    fn starts_deployments(&self) -> bool {
        matches!(self.record.kind, RecordKind::Release | RecordKind::Rollback)
    }

    /// An end at which nothing is rolled back.
    fn ended_by(&mut self, error: ReleaseError) -> End {
        match error {
            ReleaseError::Failed(failure) => {
                self.record.entries.detach();
                End {
                    state: ReleaseState::Detached,
                    result: Err(failure.error),
                }
            }
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

    fn superseded(&mut self, component: Option<Component>, by: &str) -> End {
        if let Some(component) = component {
            self.record.entries.conclude(component, Outcome::Superseded);
        }
        let message = format!("{} was superseded: {by}", self.record.name());
        let failure = Failure::new(Kind::Superseded, message)
            .hint("nothing was rolled back; see `cargo xtask status` and `cargo xtask releases`");
        End {
            state: ReleaseState::Superseded,
            result: Err(failure.into()),
        }
    }

    /// Without credentials the record stays in progress until its lease ends; the next
    /// release goes on from what runs.
    fn expired(&self, how: &str) -> anyhow::Error {
        let message = format!(
            "the credentials expired in the middle of {}; {}: {how}{}",
            self.record.name(),
            self.left_as_it_is(),
            self.without_alarms()
        );
        let hint = format!(
            "sign in again (in a pipeline, run the job again); the lock is free at {:.0}, then\n{}",
            self.record.until,
            self.ways_on()
        );
        Failure::new(Kind::StoppedWatching, message)
            .hint(hint)
            .into()
    }

    /// The user stopped watching. What was begun in AWS goes on, and the record says so.
    fn detach(&mut self) -> End {
        self.record.entries.detach();
        let message = format!(
            "stopped watching {}; {}{}",
            self.record.name(),
            self.left_as_it_is(),
            self.without_alarms()
        );
        End {
            state: ReleaseState::Detached,
            result: Err(Failure::new(Kind::StoppedWatching, message)
                .hint(self.ways_on())
                .into()),
        }
    }

    /// What an end in the middle means. At each point of a rotation, a called service has every key
    /// that its callers may sign with.
    fn left_as_it_is(&self) -> &'static str {
        match self.record.kind {
            RecordKind::Rotation => "nothing has to be put back",
            _ => "what was begun in AWS goes on",
        }
    }

    /// The commands that go on from an end in the middle.
    fn ways_on(&self) -> String {
        let environment = &self.context.environment.name;
        match self.record.kind {
            RecordKind::Release | RecordKind::Rollback => format!(
                "cargo xtask status --env {environment}      # what runs now\n\
                 cargo xtask deploy --env {environment}      # go on to the end\n\
                 cargo xtask rollback --env {environment}    \
                 # back to the last release that succeeded"
            ),
            RecordKind::Stop => {
                format!("cargo xtask rollback --stop --env {environment}    # go on to the end")
            }
            RecordKind::Rotation => {
                format!("cargo xtask secrets rotate --env {environment}    # go on to the end")
            }
        }
    }

    /// Closes the record. Ctrl-C does not stop this, so that the record says what happened.
    async fn finish(mut self, end: End) -> Result<Record> {
        let closed = match end.state {
            ReleaseState::InProgress => Ok(()),
            // A rollback that goes on without us keeps its alarms off.
            ReleaseState::Detached => self.close(ReleaseState::Detached).await,
            state if !self.starts_deployments() => self.close(state).await,
            state => {
                if let Err(error) = self.turn_alarms_on().await {
                    let text = format!("{error:#}{}", self.without_alarms());
                    self.ignore(text);
                }
                self.close(state).await
            }
        };
        let closed = closed.map_err(|error| {
            if failure::is(&error, Kind::Expired) {
                return self.expired(&format!("{error:#}"));
            }
            error
        });
        if let (Err(_), Err(error)) = (&end.result, &closed) {
            self.ignore(format!("{error:#}"));
        }
        end.result.and(closed)?;
        Ok(self.record)
    }
}

/// A plan is applied only to the snapshot that it was made for.
fn unchanged(changes: &[String]) -> Result<(), ReleaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    Err(ReleaseError::MovedOn {
        how: changes.join(", "),
    })
}
