//! An environment in memory, the fake of every port. ECS and the load balancer are the model's; the
//! rest follows AWS's rules (a record is created once, an alias is moved by its revision id). It keeps
//! a list of the calls that changed something.

mod alone;
mod checkout;
mod cluster;
mod command;
pub(crate) mod components;
mod edge;
mod function;
mod machine;
mod people;
mod secrets;
mod stores;
mod tasks;

use crate::world::components::{AXON, COMPONENTS, ORBIT};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use xtask::catalog::{Catalog, Component, Service};
use xtask::decide::artifact::types::{Digest, Key};
use xtask::decide::environment::Environment;
use xtask::decide::release::hold::Hold;
use xtask::decide::release::lock::Lock;
use xtask::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use xtask::failure::{Failure, Kind};
use xtask::ports::IfLocked;

use crate::model::{Actor, EcsModel, Millis};
pub(crate) use alone::{Alone, Wrong};
pub(crate) use cluster::{Delivery, STALENESS, short};
pub(crate) use command::{CommandOutput, KILLED, back_to};
pub(crate) use function::{Answers, FakeLambda};
pub(crate) use machine::ThisMachine;
pub(crate) use secrets::SlowCall;
use tasks::Task;

/// The outputs of the local environment, as Terraform publishes it.
const OUTPUTS: &str = include_str!("../../src/decide/outputs.local.json");
const AXON_TEMPLATE: &str = include_str!("../../../task-definitions/axon.json");
const ORBIT_TEMPLATE: &str = include_str!("../../../task-definitions/orbit.json");

/// The token of somebody who raises the beat whenever it is looked at.
const GRACE: &str = "grace's token";

/// How long a call takes that Ctrl-C interrupts: a caller that waits for its answer gets it.
const SLOW_ANSWER: Duration = Duration::from_mins(1);

/// A handle: all clones are the same environment.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<FakeState>>,
    interrupted: Arc<Notify>,
    killed: Arc<Notify>,
    began: Instant,
    /// The time of ECS then.
    began_at: Millis,
    pub(crate) delivery: Delivery,
    /// One of the calls about a secret through this handle is slow.
    slow: Option<Arc<SlowCall>>,
}

pub(crate) struct FakeState {
    pub(crate) environment: Environment,
    /// A text in place of the sources of each component: another text gives another key.
    pub(crate) sources: BTreeMap<Component, String>,
    /// By path below the root.
    pub(crate) templates: BTreeMap<String, String>,
    pub(crate) catalog: Catalog,
    /// Hash of `infra/` as it is in the checkout.
    pub(crate) infra: String,
    /// The components that Terraform's next plan destroys.
    pub(crate) destroyed_by_apply: Vec<String>,
    /// The outputs that an apply publishes, without the hash of `infra/`.
    pub(crate) outputs: Value,
    pub(crate) published: Option<Value>,
    pub(crate) cached: BTreeSet<Key>,
    pub(crate) builds: u32,
    pub(crate) images: BTreeMap<Service, BTreeMap<Key, Digest>>,
    pub(crate) ecs: EcsModel,
    /// A service whose containers fail their health check.
    pub(crate) fails_its_container_check: Option<Service>,
    pub(crate) lambda: FakeLambda,
    pub(crate) secrets: BTreeMap<String, Value>,
    /// Every version of every secret, from the first change of it on.
    secret_versions: Vec<secrets::StoredVersion>,
    /// For this long after a change, two of three reads return the version before.
    pub(crate) stale_for: Duration,
    /// The same for reads by tasks, which may reach another server of Secrets Manager.
    pub(crate) stale_for_tasks: Duration,
    stale_reads: usize,
    tasks: Vec<Task>,
    /// How often they read their secret again.
    pub(crate) secret_refresh: Duration,
    /// The service whose tasks cannot read their secret again.
    pub(crate) keeps_its_secret: Option<Service>,
    /// Calls that failed because the called task did not have the key that they were signed with.
    pub(crate) lost: Vec<String>,
    /// What calls removed that were carried out late.
    removed_late: BTreeSet<String>,
    ledger: BTreeMap<u64, String>,
    pub(crate) lock: Option<Lock>,
    pub(crate) hold: Option<Hold>,
    pub(crate) if_locked: IfLocked,
    /// How long the machine has slept.
    pub(crate) asleep: Duration,
    no_network_until: Option<Instant>,
    /// The next look at services is answered with an earlier state.
    stale_look: bool,
    /// What happens right after a record with this text was written.
    after_write: Option<(&'static str, Act)>,
    /// How long AWS takes for an answer.
    pub(crate) answer_time: Duration,
    /// Whether the credentials have expired.
    pub(crate) expired: bool,
    /// When the credentials expire, if that is known.
    pub(crate) credentials_end: Option<Timestamp>,
    /// This many reads of a task's log return nothing.
    pub(crate) logs_are_late: u32,
    /// Lines of every log, in addition to those that are always there.
    pub(crate) written: Vec<Written>,
    /// The status of orbit's answer to a dispatch.
    pub(crate) dispatch_status: u16,
    pub(crate) alone: Alone,
    pub(crate) machine: ThisMachine,
    /// Every call by its name, in order.
    calls: Vec<String>,
    /// How many of them were about a secret.
    secret_calls: usize,
    /// Every call that changed something, in order.
    changes: Vec<String>,
    events: Vec<PreparedEvent>,
    refusals: Vec<Refusal>,
    /// What happens before the first call at which something is so.
    awaited: Vec<(Condition, Act)>,
}

/// Calls whose name begins with this are refused for as long as something is so.
struct Refusal {
    name: String,
    holds: Condition,
}

type Condition = Box<dyn Fn(&FakeState) -> bool + Send>;

/// A line of a log. It can be read from `arrives` on.
pub(crate) struct Written {
    pub(crate) at: Timestamp,
    pub(crate) arrives: Timestamp,
    pub(crate) text: &'static str,
}

struct PreparedEvent {
    at: At,
    what: What,
}

enum At {
    /// The next call whose name begins with this.
    Name(String),
    /// The call of this index in `calls`.
    Index(usize),
    /// The call of this index among those about secrets.
    SecretCall(usize),
}

/// How one call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// It is answered with an error.
    IsRefused,
    /// It is not answered, and has no effect.
    Fails,
    LosesItsAnswer,
    IsInterrupted,
    /// SIGKILL comes first, so the call is not made.
    IsKilled,
    /// It fails, as does every later one that needs credentials, until they are renewed.
    FindsThemExpired,
}

impl CallFault {
    fn what(self) -> What {
        match self {
            Self::IsRefused => What::Refuse,
            Self::Fails => What::Fail("throttled".to_owned()),
            Self::LosesItsAnswer => What::LoseAnswer,
            Self::IsInterrupted => What::Interrupt,
            Self::IsKilled => What::Kill,
            Self::FindsThemExpired => What::Expire,
        }
    }
}

type Act = Box<dyn FnOnce(&mut FakeState) + Send>;

enum What {
    Refuse,
    Fail(String),
    Deny,
    LoseAnswer,
    Interrupt,
    Kill,
    Expire,
    BeStale,
    Meanwhile(Act),
}

impl Fake {
    /// Terraform has been applied and the secrets have values; nothing was ever released.
    pub(crate) fn applied() -> Self {
        let fake = Self::empty();
        fake.apply();
        fake
    }

    /// One service more than the requirements know is released too; its changes are forgotten.
    pub(crate) async fn released_with_echo() -> Self {
        let fake = Self::empty();
        fake.add_echo();
        fake.released_anew().await
    }

    /// Applied and released for the first time; its changes are forgotten.
    pub(crate) async fn released_anew(self) -> Self {
        self.apply();
        self.deploy_all().await.succeeds();
        drop(self.changes());
        self
    }

    fn apply(&self) {
        let state = &mut *self.state();
        let infra = state.infra.clone();
        state.apply(&infra);
        for (_, service) in state.outputs["services"].as_object().unwrap() {
            let arn = service["secret_arn"].as_str().unwrap();
            let value = json!({
                "database_url": "postgres://secret-of-the-database",
                "api_key": "secret-of-the-api",
                "sigv4_access_key_id": "AKXT",
                "sigv4_secret_access_key": "secret-of-the-signature",
            });
            state.secrets.insert(arn.to_owned(), value);
        }
        state.changes.clear();
    }

    /// Nothing was ever applied.
    pub(crate) fn empty() -> Self {
        let state = FakeState {
            environment: environment("local", true),
            sources: COMPONENTS
                .map(|component| (component, "one".to_owned()))
                .into(),
            templates: [(AXON, AXON_TEMPLATE), (ORBIT, ORBIT_TEMPLATE)]
                .map(|(component, text)| (component.template(), text.to_owned()))
                .into(),
            catalog: components::catalog(),
            infra: "infra-one".to_owned(),
            destroyed_by_apply: Vec::new(),
            outputs: serde_json::from_str(OUTPUTS).unwrap(),
            published: None,
            cached: BTreeSet::new(),
            builds: 0,
            images: BTreeMap::new(),
            ecs: EcsModel::swift(),
            fails_its_container_check: None,
            lambda: FakeLambda::default(),
            secrets: BTreeMap::new(),
            secret_versions: Vec::new(),
            stale_for: Duration::ZERO,
            stale_for_tasks: Duration::ZERO,
            stale_reads: 0,
            tasks: Vec::new(),
            secret_refresh: Duration::from_mins(5),
            keeps_its_secret: None,
            lost: Vec::new(),
            removed_late: BTreeSet::new(),
            ledger: BTreeMap::new(),
            lock: None,
            hold: None,
            if_locked: IfLocked::default(),
            asleep: Duration::ZERO,
            no_network_until: None,
            stale_look: false,
            after_write: None,
            answer_time: Duration::ZERO,
            expired: false,
            credentials_end: None,
            logs_are_late: 0,
            written: Vec::new(),
            dispatch_status: 200,
            alone: Alone::default(),
            machine: ThisMachine::default(),
            calls: Vec::new(),
            secret_calls: 0,
            changes: Vec::new(),
            events: Vec::new(),
            refusals: Vec::new(),
            awaited: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            interrupted: Arc::new(Notify::new()),
            killed: Arc::new(Notify::new()),
            began: Instant::now(),
            began_at: 0,
            delivery: Delivery::of(Actor::Process(0)),
            slow: None,
        }
    }

    /// The same environment once more, but for ECS: what changes in one of them does not in the
    /// other.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::empty();
        let from = self.state();
        let mut to = copy.state();
        to.environment = from.environment.clone();
        to.sources.clone_from(&from.sources);
        to.outputs.clone_from(&from.outputs);
        to.published.clone_from(&from.published);
        to.cached.clone_from(&from.cached);
        to.images.clone_from(&from.images);
        to.lambda = from.lambda.clone();
        to.secrets.clone_from(&from.secrets);
        to.ledger.clone_from(&from.ledger);
        to.lock.clone_from(&from.lock);
        to.hold.clone_from(&from.hold);
        drop(to);
        copy
    }

    /// One release has succeeded; its changes are forgotten.
    pub(crate) async fn released() -> Self {
        let fake = Self::applied();
        fake.deploy_all().await.succeeds();
        drop(fake.changes());
        fake
    }

    /// Two releases have succeeded, each of all three components.
    pub(crate) async fn released_twice() -> Self {
        let fake = Self::released().await;
        fake.edit(&COMPONENTS, "two");
        fake.deploy_all().await.succeeds();
        drop(fake.changes());
        fake
    }

    /// The environment as it is now.
    pub(crate) fn state(&self) -> MutexGuard<'_, FakeState> {
        let mut state = self.state.lock().unwrap();
        state.ecs.advance(self.now_ms());
        state
    }

    /// The time of ECS.
    pub(crate) fn now_ms(&self) -> Millis {
        self.began_at + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    /// Goes on with what is in ECS elsewhere.
    pub(crate) fn put_ecs(&mut self, model: EcsModel) {
        self.began = Instant::now();
        self.began_at = model.now;
        self.state.lock().unwrap().ecs = model;
    }

    /// A handle whose calls reach AWS in this way.
    pub(crate) fn delivered(&self, delivery: Delivery) -> Self {
        Self {
            delivery,
            ..self.clone()
        }
    }

    /// Changes the sources of components.
    pub(crate) fn edit<C: Into<Component> + Copy>(&self, components: &[C], text: &str) {
        for component in components {
            self.state()
                .sources
                .insert((*component).into(), text.to_owned());
        }
    }

    /// Replaces a text in the template of a service.
    pub(crate) fn edit_template(&self, service: Service, from: &str, to: &str) {
        let mut state = self.state();
        let template = state.templates.get_mut(&service.template()).unwrap();
        assert!(template.contains(from), "{service} has no {from}");
        *template = template.replace(from, to);
    }

    /// Another environment, where everything has to be confirmed.
    pub(crate) fn is_not_local(&self) {
        let mut state = self.state();
        state.environment = environment("staging", false);
        state.outputs["environment"] = json!("staging");
        if let Some(outputs) = &mut state.published {
            outputs["environment"] = json!("staging");
        }
    }

    /// The next `times` calls of this name are refused without doing anything.
    pub(crate) fn fail(&self, at: &str, times: usize) {
        self.state().fail(at, times);
    }

    /// Calls of this name are refused for as long as something is so.
    pub(crate) fn fail_while(&self, at: &str, holds: impl Fn(&FakeState) -> bool + Send + 'static) {
        self.state().refusals.push(Refusal {
            name: at.to_owned(),
            holds: Box::new(holds),
        });
    }

    /// The credentials lack the permission for the next call of this name.
    pub(crate) fn deny(&self, at: &str) {
        self.event(at, What::Deny);
    }

    /// Ctrl-C during the next call of this name, which still does its work.
    pub(crate) fn interrupt(&self, at: &str) {
        self.event(at, What::Interrupt);
    }

    /// SIGKILL right before the next call of this name.
    pub(crate) fn kill(&self, at: &str) {
        self.event(at, What::Kill);
    }

    /// The credentials expire right before the next call of this name.
    pub(crate) fn expire(&self, at: &str) {
        self.event(at, What::Expire);
    }

    /// Ctrl-C some seconds from now.
    pub(crate) fn stop_soon(&self) {
        let interrupted = Arc::clone(&self.interrupted);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            interrupted.notify_one();
        });
    }

    /// Changes the state right before the next call of this name.
    pub(crate) fn meanwhile(&self, at: &str, act: impl FnOnce(&mut FakeState) + Send + 'static) {
        self.event(at, What::Meanwhile(Box::new(act)));
    }

    /// Changes the state once something is so, right before the next call.
    pub(crate) fn once(
        &self,
        holds: impl Fn(&FakeState) -> bool + Send + 'static,
        act: impl FnOnce(&mut FakeState) + Send + 'static,
    ) {
        let awaited = (Box::new(holds) as Condition, Box::new(act) as Act);
        self.state().awaited.push(awaited);
    }

    fn event(&self, at: &str, what: What) {
        let at = At::Name(at.to_owned());
        self.state().events.push(PreparedEvent { at, what });
    }

    /// Changes the state right before the call of this index, counted from now on.
    pub(crate) fn meanwhile_at(
        &self,
        index: usize,
        act: impl FnOnce(&mut FakeState) + Send + 'static,
    ) {
        self.at_index(index, What::Meanwhile(Box::new(act)));
    }

    /// Changes the state right after a record was written that has this text.
    pub(crate) fn after_write_of(
        &self,
        text: &'static str,
        act: impl FnOnce(&mut FakeState) + Send + 'static,
    ) {
        self.state().after_write = Some((text, Box::new(act)));
    }

    /// The call of this index, a look at services, is answered with an earlier state.
    pub(crate) fn make_look_stale(&self, index: usize) {
        self.at_index(index, What::BeStale);
    }

    /// The call of this index, counted from now on, has this fault.
    pub(crate) fn spoil(&self, index: usize, fault: CallFault) {
        self.at_index(index, fault.what());
    }

    fn at_index(&self, index: usize, what: What) {
        let mut state = self.state();
        let at = At::Index(state.calls.len() + index);
        state.events.push(PreparedEvent { at, what });
    }

    /// The names of all calls so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Every change since the last call of this method.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().changes)
    }

    /// The changes after this one, which has to have happened. Forgets all changes.
    #[track_caller]
    pub(crate) fn changes_after(&self, change: &str) -> Vec<String> {
        let mut changes = self.changes();
        match changes.iter().position(|it| it == change) {
            Some(index) => changes.split_off(index + 1),
            None => panic!("no `{change}` in {changes:?}"),
        }
    }

    pub(crate) fn record(&self, number: u64) -> Record {
        self.state().record(number).unwrap()
    }

    /// A release of grace that is in progress.
    pub(crate) fn release_by_grace(&self, number: u64) -> Record {
        Record {
            number,
            state: ReleaseState::InProgress,
            token: GRACE.to_owned(),
            who: "grace".to_owned(),
            ..self.record(1)
        }
    }

    /// A rotation that succeeded.
    pub(crate) fn rotation_by_grace(&self, number: u64) -> Record {
        Record {
            kind: RecordKind::Rotation,
            state: ReleaseState::Succeeded,
            why: "secrets rotate".to_owned(),
            entries: Entries::default(),
            ..self.release_by_grace(number)
        }
    }

    pub(crate) fn put_record(&self, record: &Record) {
        self.state().put_record(record);
    }

    /// Waits for as long as AWS takes for an answer.
    async fn answers(&self) {
        let time = self.state().answer_time;
        if time > Duration::ZERO {
            tokio::time::sleep(time).await;
        }
    }

    /// Nothing goes on by this handle while its machine sleeps.
    async fn sleeps(&self) {
        let wakes = self
            .slow
            .as_ref()
            .and_then(|slow| *slow.wakes.lock().unwrap());
        if let Some(wakes) = wakes {
            tokio::time::sleep_until(wakes).await;
        }
    }

    /// One call of a port, by its name. An event that was prepared for it happens first.
    async fn call<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut FakeState) -> Result<T> + Send,
    ) -> Result<T> {
        self.answers().await;
        self.sleeps().await;
        if let Some(slow) = self.slow.as_ref().filter(|_| name.contains(":secret:"))
            && slow.calls.fetch_add(1, Ordering::SeqCst) == slow.index
        {
            *slow.wakes.lock().unwrap() = Some(Instant::now() + slow.pause);
            self.sleeps().await;
        }
        let (what, is_refused) = {
            let mut state = self.state();
            state.meet();
            (state.take_event(name), state.refuses(name))
        };
        if matches!(what, Some(What::Expire)) {
            self.state().expired = true;
        }
        if self.state().expired && needs_credentials(name) {
            let text = format!("{name}: ExpiredTokenException");
            return Err(Failure::new(Kind::Expired, text).into());
        }
        match what {
            None if is_refused => bail!("refused: {name}"),
            None | Some(What::Expire) => {}
            Some(What::Refuse) => bail!("refused: {name}"),
            Some(What::Fail(message)) => return Err(unanswered(message)),
            Some(What::Deny) => {
                let text = format!("{name}: AccessDeniedException");
                return Err(Failure::new(Kind::Denied, text).into());
            }
            Some(What::BeStale) => self.state().stale_look = true,
            Some(What::Meanwhile(act)) => act(&mut self.state()),
            Some(What::LoseAnswer) => {
                work(&mut self.state())?;
                let text = format!("the connection was closed before `{name}` was answered");
                return Err(unanswered(text));
            }
            Some(What::Kill) => {
                self.killed.notify_one();
                return std::future::pending().await;
            }
            Some(What::Interrupt) => {
                let answer = work(&mut self.state());
                self.interrupted.notify_one();
                tokio::time::sleep(SLOW_ANSWER).await;
                return answer;
            }
        }
        self.reaches(name).await?;
        work(&mut self.state())
    }

    /// Fails while there is no network.
    async fn reaches(&self, name: &str) -> Result<()> {
        if self.state().has_network() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        Err(unanswered(format!("{name}: no network")))
    }
}

impl FakeState {
    fn take_event(&mut self, name: &str) -> Option<What> {
        let index = self.calls.len();
        let is_secret = name.contains(":secret:");
        let secrets = self.secret_calls;
        self.secret_calls += usize::from(is_secret);
        self.calls.push(name.to_owned());
        let at = self.events.iter().position(|event| match &event.at {
            At::Name(at) => name.starts_with(at),
            At::Index(at) => *at == index,
            At::SecretCall(at) => is_secret && *at == secrets,
        });
        at.map(|index| self.events.remove(index).what)
    }

    /// Lets happen what was awaited.
    fn meet(&mut self) {
        let met = self.awaited.iter().position(|(holds, _)| holds(self));
        if let Some(index) = met {
            let (_, act) = self.awaited.remove(index);
            act(self);
        }
    }

    fn refuses(&self, name: &str) -> bool {
        let mut refusals = self.refusals.iter();
        refusals.any(|it| name.starts_with(&it.name) && (it.holds)(self))
    }

    /// The next `times` calls of this name are refused without doing anything.
    pub(crate) fn fail(&mut self, at: &str, times: usize) {
        self.events.extend((0..times).map(|_| PreparedEvent {
            at: At::Name(at.to_owned()),
            what: What::Refuse,
        }));
    }

    pub(crate) fn lose_network(&mut self, time: Duration) {
        self.no_network_until = Some(Instant::now() + time);
    }

    fn has_network(&self) -> bool {
        self.no_network_until
            .is_none_or(|until| Instant::now() >= until)
    }

    fn changed(&mut self, what: impl Into<String>) {
        self.changes.push(what.into());
    }
}

fn unanswered(text: String) -> anyhow::Error {
    Failure::new(Kind::Unanswered, text).into()
}

/// Requests to the load balancer and builds need none.
fn needs_credentials(call: &str) -> bool {
    !["probe", "dispatch", "reason", "build"]
        .iter()
        .any(|free| call.starts_with(free))
}

pub(crate) fn secret_arn(service: Service) -> String {
    let outputs: Value = serde_json::from_str(OUTPUTS).unwrap();
    let of = |name: &str| outputs["services"][name]["secret_arn"].as_str();
    let arn = of(service.name()).map(str::to_owned);
    arn.unwrap_or_else(|| of("axon").unwrap().replace("axon", service.name()))
}

fn environment(name: &str, emulated: bool) -> Environment {
    let file = json!({
        "project": "demo",
        "environment": name,
        "region": "us-east-1",
        "account_id": "000000000000",
        "emulated": emulated,
    });
    Environment::parse("test", &file.to_string()).unwrap()
}
