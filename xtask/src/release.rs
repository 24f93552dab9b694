//! The release engine: the only code that changes AWS. Look, decide, act, report; every wait has a
//! limit.
//!
//! A release holds the environment's lock (its record in the ledger) from "opened" to "closed".
//! What fails in between is rolled back in reverse order, and the record says how that ended.

mod alarms;
mod apply;
mod cleanup;
mod confirmation;
mod deployment;
mod evidence;
mod function;
mod lock;
mod observe;
mod patience;
mod push;
mod rollback;
mod rotate;
mod secrets;
mod service;
mod stop;
mod targets;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use crate::catalog::{Component, Service};
use crate::decide::outputs::Outputs;
use crate::decide::release::hold::Hold;
use crate::decide::release::lock::{CHANGE_LIMIT, FENCE};
use crate::decide::release::pace::LookPace;
use crate::decide::release::plan::{Plan, Step};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::decide::release::snapshot::Snapshot;
use crate::failure::{self, Failure, Kind};
use crate::ports::{Context, Interrupt, ProbeRequest};
use crate::report::{CleanupEvent, CommandEvent, ReleaseEvent, SecretsEvent};
use evidence::Evidence;
use lock::{HeldLock, Inheritance};
use patience::Patience;

pub use alarms::left_without_alarms;
pub use apply::under_apply_lock;
pub use cleanup::{CleanupPlan, clean_up};
pub use confirmation::{Confirmed, confirm, warn_of_expiry};
pub use function::answers_its_checks;
pub use lock::ensure_unlocked;
pub use observe::{Observed, observe, observe_with_retired, read_definitions};
pub use push::push;
pub use rotate::{announce_rotation, rotate};
pub use secrets::give_values;
pub use stop::{StopPlan, stop};
pub use targets::ensure_served;

/// How long AWS may not answer before a release stops watching. AWS goes on meanwhile.
const PATIENCE: Duration = Duration::from_mins(5);
/// The same once nothing is watched any more and only the record is closed.
const CLOSING_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is asked whether something moves at once.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// So many looks, this far apart, show that something is not what it was.
const LOOKS_MIN: u32 = 4;
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
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
    /// AWS has not answered for too long: what runs is not known, so nothing is rolled back.
    Unanswered {
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
        if failure::is(&error, Kind::Unanswered) {
            let how = format!("{error:#}");
            return Self::Unanswered { how };
        }
        Self::Failed(ComponentFailure {
            component: None,
            error,
            evidence: Evidence::default(),
        })
    }
}

impl ReleaseError {
    fn text(&self) -> String {
        match self {
            Self::Failed(failure) => format!("{:#}", failure.error),
            Self::Superseded { by, .. } => by.clone(),
            Self::Expired { how } | Self::Unanswered { how } | Self::MovedOn { how } => how.clone(),
        }
    }

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

/// The time that something running has to prove itself.
struct ProofTime {
    first: Instant,
    started: Instant,
}

impl ProofTime {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            first: now,
            started: now,
        }
    }

    /// What passed without any answer of AWS does not count.
    fn leave_out(&mut self, silence: Duration) {
        self.started += silence;
    }

    fn is_over(&self) -> bool {
        self.started.elapsed() > PROOF_LIMIT
    }

    /// Where ECS is replacing tasks that this release did not start, it begins anew: for as long as
    /// a rollout may take. Returns whether it did.
    fn begin_anew(&mut self) -> bool {
        self.started = Instant::now();
        self.first.elapsed() <= ROLLOUT_LIMIT
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
    let opening = (about, RecordKind::Release, plan.entries());
    under_lock(context, outputs, opening, async |release| {
        release.run(plan).await
    })
    .await
}

/// As `deploy`, to what ran after an earlier release.
/// Afterwards the environment is held, if it shall be.
pub async fn roll_back(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &Plan,
    (about, hold): (About, Option<Hold>),
    _: Confirmed,
) -> Result<Record> {
    let opening = (about, RecordKind::Rollback, plan.entries());
    under_lock(context, outputs, opening, async |release| {
        release.hold = hold;
        release.run(plan).await
    })
    .await
}

/// Takes the lock, works, and closes the record, with the beat of the lock beside all of it. What
/// the user interrupts is the work: the record is opened and closed whatever comes.
async fn under_lock(
    context: &Context<'_>,
    outputs: &Outputs,
    (about, kind, entries): (About, RecordKind, Entries),
    work: impl AsyncFnOnce(&mut Release<'_>) -> End,
) -> Result<Record> {
    let over = lock::available(context).await?;
    let mut interrupt = Interruption::of(context.interrupt);
    let opened = lock::open(context, about, kind, entries, over.as_ref());
    let lock::Opened {
        lock,
        record,
        inherited,
    } = interrupt.outlast(opened).await?;
    let number = record.number;
    match kind {
        RecordKind::Rotation => context.report.emit(SecretsEvent::RotationOpened { number }),
        RecordKind::Cleanup => context.report.emit(CleanupEvent::CleanupOpened { number }),
        _ => context.report.emit(ReleaseEvent::ReleaseOpened { number }),
    }
    let mut release = Release {
        context: *context,
        outputs,
        record,
        inherited,
        hold: None,
        lock: Arc::clone(&lock),
        patience: Patience::of(PATIENCE),
        asks_deployments: true,
        forward: BTreeMap::new(),
    };
    // The last change of a holder that lived may not have ended.
    let fenced = over.filter(|_| context.if_locked.take_over);
    let pause = fenced.map_or(Duration::ZERO, |_| FENCE + CHANGE_LIMIT);
    let ended = async move {
        let worked = interrupt.end(async {
            sleep(pause).await;
            work(&mut release).await
        });
        let end = match worked.await {
            Some(end) => end,
            None => release.detach(),
        };
        interrupt.outlast(release.finish(end)).await
    };
    tokio::select! {
        biased;
        ended = ended => ended,
        () = lock.keep() => unreachable!("a lock is kept until the release has ended"),
    }
}

/// The user's wish to stop, from the moment on at which something has to be ended in order.
struct Interruption<'a> {
    wish: BoxFuture<'a, ()>,
    came: bool,
}

impl<'a> Interruption<'a> {
    fn of(interrupt: &'a dyn Interrupt) -> Self {
        Self {
            wish: interrupt.wait().boxed(),
            came: false,
        }
    }

    /// Does all of the work.
    async fn outlast<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                () = &mut self.wish, if !self.came => self.came = true,
                done = &mut work => return done,
            }
        }
    }

    /// Does the work unless the user wishes to stop.
    async fn end<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.came {
            return None;
        }
        tokio::select! {
            biased;
            () = &mut self.wish => {
                self.came = true;
                None
            }
            done = work => Some(done),
        }
    }
}

/// Returns what a look finds as it should be. One look may be stale, so only several in a row show
/// that something is not what it was: then what the last one found is the error.
async fn several_looks<T, E>(
    mut look: impl AsyncFnMut() -> Result<Result<T, E>, E>,
) -> Result<T, E> {
    let mut looks = 1;
    loop {
        let found = look().await?;
        if found.is_ok() || looks == LOOKS_MIN {
            return found;
        }
        looks += 1;
        sleep(LOOK_INTERVAL).await;
    }
}

/// One release, or one rotation of the signing key, while it is under way.
struct Release<'a> {
    context: Context<'a>,
    outputs: &'a Outputs,
    record: Record,
    inherited: Option<Inheritance>,
    /// What holds the environment once this has succeeded.
    hold: Option<Hold>,
    lock: Arc<HeldLock<'a>>,
    patience: Patience,
    /// Until AWS refuses to say what became of service deployments.
    asks_deployments: bool,
    /// The service deployments that were followed last.
    forward: BTreeMap<Service, String>,
}

impl Release<'_> {
    /// Repeats a call until AWS answers it. Only for calls that may be made twice.
    ///
    /// # Errors
    /// An answer that is an error; none at all for too long.
    async fn answered<T, E: Into<ReleaseError>>(
        &self,
        call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, ReleaseError> {
        self.patience.answered(self.context.report, call).await
    }

    /// Waits until it is time for the look after one that found this.
    async fn rest<T: PartialEq>(&self, pace: &mut LookPace<T>, found: T) {
        sleep(pace.after(found, self.patience.unanswered())).await;
    }

    /// The same for a call that changes what runs: it is made only while the lock is ours.
    async fn change<T>(&self, mut call: impl AsyncFnMut() -> Result<T>) -> Result<T, ReleaseError> {
        self.answered(async || self.change_once(call()).await).await
    }

    /// One such call. It is given up, with all of its repetitions, before anybody can have taken
    /// the lock of a holder that is not heard any more.
    async fn change_once<T>(
        &self,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T, ReleaseError> {
        self.ensure_lock_held().await?;
        let limited = timeout(CHANGE_LIMIT, call).await;
        let answer = limited.map_err(|_| ReleaseError::Unanswered {
            how: format!("a change had no answer within {} s", CHANGE_LIMIT.as_secs()),
        })?;
        answer.map_err(ReleaseError::from)
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
            Err(ReleaseError::Superseded {
                component: Some(component),
                by,
            }) => self.component_superseded(&changed, component, by).await,
            Err(error) => self.ended_by(error),
        }
    }

    async fn apply<'p>(
        &mut self,
        plan: &'p Plan,
        changed: &mut Vec<&'p Step>,
    ) -> Result<(), ReleaseError> {
        let (context, outputs) = (self.context, self.outputs);
        self.ensure_unchanged(&plan.snapshot, async || observe(&context, outputs).await)
            .await?;
        self.ensure_nothing_removed(plan).await?;
        if self.record.kind == RecordKind::Release {
            self.turn_alarms_on().await?;
        }
        for artifact in &plan.pushes {
            let Context {
                registry, report, ..
            } = self.context;
            self.answered(async || push(registry, self.outputs, report, artifact).await)
                .await?;
        }
        if !plan.pushes.is_empty() {
            let now = self.context.clock.now();
            self.record.end_phase("images pushed", now);
        }
        for step in plan.steps.iter().filter(|step| !step.changes_nothing()) {
            self.ensure_lock_not_lost().await?;
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
            self.dispatch(changed).await?;
            let now = self.context.clock.now();
            self.record.end_phase("dispatch answered", now);
        }
        self.ensure_as_recorded().await
    }

    /// What a plan relies on besides the snapshot, images and revisions of before, may be gone where
    /// a cleanup came after it.
    async fn ensure_nothing_removed(&self, plan: &Plan) -> Result<(), ReleaseError> {
        let ledger = self.context.ledger;
        for number in plan.newest + 1..self.record.number {
            let found = self.answered(async || ledger.read(number).await).await?;
            if let Some(cleanup) = found.filter(|it| it.kind == RecordKind::Cleanup) {
                let how = cleanup.about();
                return Err(ReleaseError::MovedOn { how });
            }
        }
        Ok(())
    }

    /// Everything still runs what the record says. Somebody else may have changed a component
    /// after its part of the release was over. A look that AWS refuses shows nothing: it is
    /// repeated.
    async fn ensure_as_recorded(&self) -> Result<(), ReleaseError> {
        several_looks(async || {
            let observed = self.answered(async || observe(&self.context, self.outputs).await);
            let snapshot = match observed.await {
                Err(refused @ ReleaseError::Failed(_)) => return Ok(Err(refused)),
                observed => observed?.snapshot,
            };
            let differs = self.record.entries.differs(&snapshot);
            Ok(differs.map_or(Ok(()), |(component, by)| {
                let component = Some(component);
                Err(ReleaseError::Superseded { component, by })
            }))
        })
        .await
    }

    /// A real dispatch, through the load balancer. It is repeated for longer where a service that
    /// was not changed has no healthy task: ECS is replacing them.
    async fn dispatch(&self, changed: &[&Step]) -> Result<(), ReleaseError> {
        let (context, outputs) = (&self.context, self.outputs);
        let Context { report, probe, .. } = *context;
        let correlation_id = format!("release-{}", self.record.number);
        let url = format!("{}/dispatch", outputs.base_url);
        let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
        let request = ProbeRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: "",
        };
        let from = self.context.clock.now();
        let mut time = ProofTime::start();
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
                Err(error) => {
                    time.leave_out(self.silence_of_aws().await?);
                    format!("{error:#}")
                }
            };
            if time.is_over() {
                let error = anyhow!("a dispatch was not answered: {answer}");
                match self.serves_nobody(changed).await {
                    None => {
                        let logged = evidence::of_dispatch(context, outputs, &correlation_id, from);
                        return Err(ReleaseError::Failed(ComponentFailure {
                            component: None,
                            error,
                            evidence: logged.await,
                        }));
                    }
                    Some(why) if !time.begin_anew() => return Err(error.context(why).into()),
                    // Once it has a task it may take a while until all call it again.
                    Some(_) => {}
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// A service that was not changed and has no healthy target, if there is one.
    async fn serves_nobody(&self, changed: &[&Step]) -> Option<String> {
        for (service, entry) in &self.record.entries.services {
            let component = Component::from(*service);
            let is_changed = changed.iter().any(|step| step.component() == component);
            let Some(running) = entry.after.as_ref().filter(|_| !is_changed) else {
                continue;
            };
            if let Some(answer) =
                targets::none_is_healthy(&self.context, self.outputs, *service).await
            {
                let why = format!("{service} was not changed: {answer}");
                self.context.report.emit(ReleaseEvent::Proving {
                    component,
                    revision: running.revision.to_string(),
                    answer,
                });
                return Some(why);
            }
        }
        None
    }

    /// How long AWS does not answer from now on. Who has no network gets no answer of a service
    /// either, which says nothing about the service.
    async fn silence_of_aws(&self) -> Result<Duration, ReleaseError> {
        let (ledger, began) = (self.context.ledger, Instant::now());
        self.answered(async || ledger.newest().await).await?;
        Ok(began.elapsed())
    }

    /// A plan is applied only to the snapshot that it was made for.
    async fn ensure_unchanged(
        &self,
        snapshot: &Snapshot,
        mut observe: impl AsyncFnMut() -> Result<Observed>,
    ) -> Result<(), ReleaseError> {
        several_looks(async || {
            let now = self.answered(&mut observe).await?.snapshot;
            let changes = snapshot.changed_since(&now);
            if changes.is_empty() {
                return Ok(Ok(()));
            }
            let how = changes.join(", ");
            Ok(Err(ReleaseError::MovedOn { how }))
        })
        .await
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
            ReleaseError::Superseded {
                component: Some(component),
                by,
            } => self.ended_superseded(&format!("{component} runs {by}")),
            ReleaseError::Superseded { by, .. } => self.ended_superseded(&by),
            ReleaseError::Unanswered { how } => self.unanswered(&how),
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

    /// Another run took over the lock, and answers for all that this one changed.
    fn superseded(&self, by: &str) -> anyhow::Error {
        let message = format!("{} was superseded: {by}", self.record.name());
        Failure::new(Kind::Superseded, message)
            .hint("nothing was rolled back; see `cargo xtask status` and `cargo xtask releases`")
            .into()
    }

    fn ended_superseded(&self, by: &str) -> End {
        End {
            state: ReleaseState::Superseded,
            result: Err(self.superseded(by)),
        }
    }

    /// Without credentials the record stays in progress; the next release finds that nobody works
    /// on it any more, and goes on from what runs.
    fn expired(&self, how: &str) -> anyhow::Error {
        let message = format!(
            "the credentials expired in the middle of {}; {}: {how}{}",
            self.record.name(),
            self.left_as_it_is(),
            self.without_alarms()
        );
        let hint = format!(
            "sign in again (in a pipeline, run the job again), then\n{}",
            self.ways_on()
        );
        Failure::new(Kind::StoppedWatching, message)
            .hint(hint)
            .into()
    }

    /// What cannot be seen is not rolled back: the rollout may be fine.
    fn unanswered(&mut self, how: &str) -> End {
        let minutes = PATIENCE.as_secs() / 60;
        let (name, left) = (self.record.name(), self.left_as_it_is());
        self.stop_watching(&format!(
            "AWS has not answered for {minutes} minutes in the middle of {name}; {left}: {how}"
        ))
    }

    /// The next release finds that nobody works on this one any more.
    fn unclosed(&self, how: &str) -> anyhow::Error {
        let (name, state) = (self.record.name(), self.record.state.text());
        let message = format!("{name} {state}, but its record could not be closed: {how}");
        Failure::new(Kind::StoppedWatching, message)
            .hint(self.ways_on())
            .into()
    }

    /// The user stopped watching. What was begun in AWS goes on, and the record says so.
    fn detach(&mut self) -> End {
        let (name, left) = (self.record.name(), self.left_as_it_is());
        self.stop_watching(&format!("stopped watching {name}; {left}"))
    }

    /// What was begun goes on in AWS, and only the record is closed.
    fn stop_watching(&mut self, why: &str) -> End {
        self.patience.set_limit(CLOSING_PATIENCE);
        self.record.entries.detach();
        let message = format!("{why}{}", self.without_alarms());
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
            RecordKind::Rotation | RecordKind::Infra | RecordKind::Cleanup => {
                "nothing has to be put back"
            }
            _ => "what was begun in AWS goes on",
        }
    }

    /// The commands that go on from an end in the middle.
    fn ways_on(&self) -> String {
        let environment = &self.context.environment.name;
        match self.record.kind {
            RecordKind::Release | RecordKind::Rollback | RecordKind::Infra => format!(
                "cargo xtask status --env {environment}      # what runs now\n\
                 cargo xtask deploy --env {environment}      # go on to the end\n\
                 cargo xtask rollback --env {environment}    \
                 # back to the last release that succeeded"
            ),
            RecordKind::Stop => {
                format!("cargo xtask rollback --stop --env {environment}    # go on to the end")
            }
            RecordKind::Cleanup => {
                format!("cargo xtask cleanup --env {environment}    # go on to the end")
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
            _ if self.lock.is_lost() => Ok(()),
            // A rollback that goes on without us keeps its alarms off.
            ReleaseState::Detached => self.close(ReleaseState::Detached).await,
            state if !self.starts_deployments() => self.close(state).await,
            state => {
                if let Err(error) = self.turn_alarms_on().await {
                    let text = format!("{}{}", error.text(), self.without_alarms());
                    self.ignore(text);
                }
                self.close(state).await
            }
        };
        let closed = closed.map_err(|error| match error {
            ReleaseError::Expired { how } => self.expired(&how),
            ReleaseError::Unanswered { how } => self.unclosed(&how),
            ReleaseError::Superseded { by, .. } => self.superseded(&by),
            error => anyhow!(error.text()),
        });
        if let (Err(_), Err(error)) = (&end.result, &closed) {
            self.ignore(format!("{error:#}"));
        }
        end.result.and(closed)?;
        Ok(self.record)
    }
}
