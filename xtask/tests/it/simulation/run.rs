//! One run: the commands of a script, each judged at its end, and then what has to mend it all.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;
use xtask::catalog::{Component, Service};
use xtask::commands::cleanup::{CleanupOptions, cleanup};
use xtask::commands::deploy::{Options, deploy};
use xtask::commands::hold::{hold, unhold};
use xtask::commands::rollback::{RollbackOptions, rollback, stop};
use xtask::commands::secrets::rotate;
use xtask::decide::outputs::Architecture;
use xtask::failure;
use xtask::planning;
use xtask::ports::{Context, IfLocked, User};
use xtask::report::{Format, OutputMode, Report};

use super::broken::BrokenEngine;
use super::faults::{FaultPlan, InjectedFault, PlannedFault, PortCall};
use super::judge;
use super::process::SimulatedProcess;
use super::script::{Beside, Meanwhile, Script, SimulatedCommand, StartState, When};
use super::simulated::Simulated;
use crate::model::{Actor, Chance, EcsCall, EcsModel, ImageScript, Millis, UpdateCall};
use crate::world::components::{COMPONENTS, SERVICES};
use crate::world::{Fake, KILLED};

/// What was there before, made once for all runs.
pub(super) struct StartStates(BTreeMap<StartState, (Fake, EcsModel)>);

/// What came of a run.
pub(super) struct RunEnd {
    pub(super) exit_code: u8,
    pub(super) violations: Vec<String>,
    pub(super) transcript: Vec<String>,
    pub(super) hits: BTreeMap<(InjectedFault, PortCall), u32>,
    /// Of the first command: how many calls of each kind it made, and what hit them.
    pub(super) calls: BTreeMap<PortCall, u32>,
    pub(super) faults: Vec<PlannedFault>,
}

/// More than all limits of the waits of a command together.
const COMMAND_LIMIT: Duration = Duration::from_hours(3);
/// The exit code of a command that does not end.
pub(super) const ENDLESS: u8 = 124;
/// How often a task reads its secret again.
const SECRET_REFRESH: Duration = Duration::from_secs(30);
/// What mends an environment after the faults takes no longer.
const RECOVERY_LIMIT: Millis = 10 * 60_000;

impl StartStates {
    pub(super) async fn make() -> Self {
        let mut bases = BTreeMap::new();
        for base in StartState::ALL {
            let stores = Fake::applied();
            stores.is_not_local();
            let sim = Simulated::new(stores, Chance::new(0));
            let releases = match base {
                StartState::Applied => 0,
                StartState::Released | StartState::Stopped => 1,
                StartState::ReleasedTwice => 2,
            };
            for text in ["one", "two"].iter().take(releases) {
                perform_alone(&sim, text, SimulatedCommand::Deploy).await;
            }
            if base == StartState::Stopped {
                perform_alone(&sim, "one", SimulatedCommand::Stop).await;
            }
            sleep(Duration::from_mins(10)).await;
            let mut model = sim.state().model.clone();
            model.truth.forget();
            bases.insert(base, (sim.stores.clone(), model));
        }
        Self(bases)
    }

    fn begin(&self, script: &Script) -> Simulated {
        let (stores, model) = &self.0[&script.base];
        let mut model = model.clone();
        let mut chance = Chance::new(script.seed ^ 0xfeed);
        model.reseed(chance.next());
        let mut stores = stores.copy();
        stores.put_ecs(model);
        if script.function_is_wrong {
            stores.state().lambda.script = crate::world::Answers::YesToAll;
        }
        Simulated::new(stores, chance)
    }
}

async fn perform_alone(sim: &Simulated, text: &str, command: SimulatedCommand) {
    let process =
        SimulatedProcess::new(sim, checkout(sim, &COMPONENTS, text), FaultPlan::NONE, None);
    let (exit_code, talk) = perform(&process, command, IfLocked::default()).await;
    assert_eq!(exit_code, 0, "{talk}");
}

/// A checkout in which these components were changed.
fn checkout(sim: &Simulated, edited: &[Component], text: &str) -> Fake {
    let checkout = sim.stores.copy();
    checkout.edit(edited, text);
    // What was released last is where this checkout comes from.
    let mut stores = sim.stores.state();
    for component in edited {
        let of = checkout.state().sources[component].clone();
        stores.sources.insert(*component, of);
    }
    drop(stores);
    checkout
}

/// Images of the services of a checkout do this.
fn give_images(sim: &Simulated, checkout: &Fake, images: &BTreeMap<Service, ImageScript>) {
    for (service, image) in images {
        let digest = checkout.state().digest(*service).to_string();
        sim.state().model.images.insert(digest, *image);
    }
}

pub(super) async fn run(
    bases: &StartStates,
    script: &Script,
    broken: Option<BrokenEngine>,
) -> RunEnd {
    let sim = bases.begin(script);
    let mut violations = Vec::new();
    let at_first = checkout(&sim, &script.edited, &format!("of {}", script.seed));
    give_images(&sim, &at_first, &script.images);
    let beside = checkout(&sim, &COMPONENTS, "beside");
    prepare(&sim, script);
    let begins = Arc::new(Notify::new());
    if let Some(When::At(call, nth)) = script.beside.map(|it| it.when) {
        let begins = Arc::clone(&begins);
        let act = Box::new(move |_: &Simulated| begins.notify_one());
        sim.state().awaited.push((call, nth, act));
    }
    let first = SimulatedProcess::new(&sim, at_first, script.plan.clone(), broken);
    let main = async {
        let (exit, talk) = perform(&first, script.command, IfLocked::default()).await;
        let found = judge::at_end(&first, exit);
        begins.notify_one();
        (exit, talk, found)
    };
    let other = async {
        let Some(other) = script.beside else {
            return Vec::new();
        };
        match other.when {
            When::After(time) => sleep(Duration::from_millis(time)).await,
            When::At(..) => begins.notified().await,
        }
        perform_beside(&sim, other, beside, broken).await
    };
    let ((exit_code, talk, found), of_other) = Box::pin(join(main, other)).await;
    violations.extend(found);
    violations.extend(of_other);
    violations.extend(judge::of_class(script, exit_code, &talk));
    end_faults(&sim).await;
    if let Some(command) = script.then {
        let checkout = checkout(&sim, &COMPONENTS, "then");
        let process = SimulatedProcess::new(&sim, checkout, FaultPlan::NONE, broken);
        let (exit, talk) = perform(&process, command, IfLocked::default()).await;
        violations.extend(judge::at_end(&process, exit));
        violations.extend(judge::of_last_rotation(command, exit, &talk));
    }
    violations.extend(recover(&sim, script, exit_code == KILLED).await);
    let facts = first.facts(std::mem::take);
    let mut state = sim.state();
    violations.extend(
        state
            .model
            .truth
            .dips
            .iter()
            .map(|dip| format!("(c) {dip}")),
    );
    RunEnd {
        exit_code,
        violations,
        calls: facts.calls,
        faults: facts.faults.into_iter().map(|(_, fault)| fault).collect(),
        transcript: std::mem::take(&mut state.transcript),
        hits: std::mem::take(&mut state.hits),
    }
}

/// Everything of a script that is not a command.
fn prepare(sim: &Simulated, script: &Script) {
    if script.has_alarms {
        set_alarms(sim);
    }
    if script.rotates() {
        start_tasks(sim, script);
    }
    {
        let mut state = sim.state();
        state.is_disturbed = script.images.values().any(|it| it.is_healthy_first());
        state.push_time = script.push_time;
        state.is_busy = script.is_busy;
    }
    for (when, what) in &script.meanwhile {
        match *when {
            When::After(time) => schedule(sim, sim.now() + time, what),
            When::At(call, nth) => {
                let what = what.clone();
                let act = Box::new(move |sim: &Simulated| schedule(sim, sim.now(), &what));
                sim.state().awaited.push((call, nth, act));
            }
        }
    }
}

/// Tasks that read their secrets again and again, and call each other.
fn start_tasks(sim: &Simulated, script: &Script) {
    let stale = Duration::from_millis(script.stale_secrets);
    {
        let mut stores = sim.stores.state();
        stores.secret_refresh = SECRET_REFRESH;
        (stores.stale_for, stores.stale_for_tasks) = (stale, stale);
    }
    sim.stores.start_tasks(script.seed % 1_000);
}

async fn perform_beside(
    sim: &Simulated,
    other: Beside,
    checkout: Fake,
    broken: Option<BrokenEngine>,
) -> Vec<String> {
    let process = SimulatedProcess::new(sim, checkout, FaultPlan::NONE, broken);
    let if_locked = IfLocked {
        wait: Duration::from_mins(30),
        take_over: other.take_over,
    };
    let (exit, _) = perform(&process, other.command, if_locked).await;
    judge::at_end(&process, exit)
}

/// Waits until everything that was given up has come.
async fn end_faults(sim: &Simulated) {
    for _ in 0..10_000 {
        sleep(Duration::from_secs(5)).await;
        let state = sim.state();
        if state.late == 0 && !state.model.awaits_calls() {
            return;
        }
    }
    panic!("a call that was given up never comes");
}

/// When faults end, one deploy or one rollback mends everything.
async fn recover(sim: &Simulated, script: &Script, killed: bool) -> Vec<String> {
    let mut violations = Vec::new();
    for service in SERVICES {
        let call = EcsCall::Alarm {
            service: service.name().to_owned(),
            on: false,
        };
        drop(sim.state().model.call(Actor::Person, false, &call));
    }
    sim.stores.state().lambda.script = crate::world::Answers::Rightly;
    let lift = matches!(
        script.command,
        SimulatedCommand::Rollback { .. } | SimulatedCommand::Hold
    ) || script.beside.is_some();
    if lift {
        sim.stores.state().hold = None;
    }
    let mut commands = vec![SimulatedCommand::Deploy];
    if script.recovers_by_rollback {
        commands.insert(0, SimulatedCommand::Rollback { holds: false });
    }
    for command in commands {
        let began = sim.now();
        let checkout = checkout(sim, &COMPONENTS, "mended");
        let process = SimulatedProcess::new(sim, checkout, FaultPlan::NONE, None);
        let (exit, talk) = perform(&process, command, IfLocked::default()).await;
        let took = sim.now() - began;
        violations.extend(judge::at_end(&process, exit));
        let opened = process.facts(|it| it.opened);
        let waited = opened.map_or(0, |(_, at)| at - began);
        if killed && waited > 60_000 {
            violations.push(format!(
                "(e) {command:?} after a kill began after {waited} ms"
            ));
        }
        if exit == 0 && took <= RECOVERY_LIMIT {
            return violations;
        }
        if command == SimulatedCommand::Deploy {
            violations.push(format!(
                "(e) {command:?} ended with {exit} after {took} ms: {talk}"
            ));
        }
    }
    violations
}

fn set_alarms(sim: &Simulated) {
    for service in SERVICES {
        let update = UpdateCall {
            service: service.name().to_owned(),
            alarms: Some(crate::model::AlarmSettings {
                names: vec![format!("demo-{service}-unhealthy-targets")],
                enabled: true,
                rollback: true,
            }),
            ..UpdateCall::default()
        };
        drop(
            sim.state()
                .model
                .call(Actor::Ecs, false, &EcsCall::Update(update)),
        );
    }
}

fn schedule(sim: &Simulated, at: Millis, what: &Meanwhile) {
    match what {
        Meanwhile::Ecs(call) => {
            let mut state = sim.state();
            state.is_disturbed = true;
            state
                .model
                .in_advance(at, Actor::Person, false, call.clone());
        }
        Meanwhile::Hotfix(service) => {
            let family = format!("demo-{service}");
            let register = EcsCall::Register {
                body: json!({ "family": family }),
                tag: None,
                script: Some(ImageScript::Good),
            };
            let mut state = sim.state();
            let registered = state.model.call(Actor::Person, false, &register);
            let update = UpdateCall {
                service: service.name().to_owned(),
                revision: registered.unwrap(),
                ..UpdateCall::default()
            };
            let update = EcsCall::Update(update);
            state.model.in_advance(at, Actor::Person, false, update);
        }
        Meanwhile::Autoscales(service) => {
            let mut state = sim.state();
            state.is_disturbed = true;
            for (after, desired) in [(0, 3), (20_000, 4), (90_000, 2)] {
                let update = EcsCall::Update(UpdateCall {
                    service: service.name().to_owned(),
                    desired: Some(desired),
                    ..UpdateCall::default()
                });
                let at = at + after;
                state.model.in_advance(at, Actor::Person, false, update);
            }
        }
        Meanwhile::MovesAlias => {
            let sim = sim.clone();
            sim.state().late += 1;
            tokio::spawn(async move {
                sleep(Duration::from_millis(at - sim.now())).await;
                sim.state().late -= 1;
                sim.stores.state().lambda.move_alias("1");
                sim.look_at_alias(None, false);
                sim.note("a person moves the alias to version 1");
            });
        }
    }
}

#[derive(Clone, Default)]
struct Talk(Arc<Mutex<Vec<u8>>>);

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs one command as `main` does. Returns its exit code and what it said.
async fn perform(
    process: &SimulatedProcess,
    command: SimulatedCommand,
    if_locked: IfLocked,
) -> (u8, String) {
    let talk = Talk::default();
    let mode = OutputMode {
        format: Format::Human,
        quiet: false,
        terminal: false,
    };
    let report = Report::new(mode, Box::new(Talk::default()), Box::new(talk.clone()));
    let environment = process.sim.stores.state().environment.clone();
    let catalog = process.checkout.state().catalog.clone();
    let user = User {
        name: format!("user{}", process.id),
        host: "laptop".to_owned(),
    };
    let context = Context {
        catalog: &catalog,
        environment: &environment,
        architecture: Architecture::X86,
        source: process,
        builder: process,
        infra: process,
        registry: process,
        cluster: process,
        balancer: process,
        functions: process,
        secrets: process,
        logs: process,
        ledger: process,
        probe: process,
        clock: process,
        interrupt: process,
        report: &report,
        user: &user,
        credentials_end: None,
        if_locked,
    };
    process
        .sim
        .note(&format!("{} begins {command:?}", process.id));
    let limited = tokio::time::timeout(COMMAND_LIMIT, execute(&context, command));
    let exit_code = tokio::select! {
        biased;
        ended = limited => match ended {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                report.failure(&error);
                failure::exit_code(&error)
            }
            Err(_) => ENDLESS,
        },
        () = process.killed.notified() => KILLED,
    };
    let exit_code = match (exit_code, process.broken) {
        (20 | 21, Some(BrokenEngine::EveryFailureIsDetached)) => 22,
        (code, _) => code,
    };
    process.go_back_without_lock();
    let said = String::from_utf8(talk.0.lock().unwrap().clone()).unwrap();
    process
        .sim
        .note(&format!("{} ends with {exit_code}\n{said}", process.id));
    (exit_code, said)
}

async fn execute(context: &Context<'_>, command: SimulatedCommand) -> Result<()> {
    if command == SimulatedCommand::Deploy {
        let options = Options {
            components: COMPONENTS.to_vec(),
            dry_run: false,
            yes: true,
            lift_hold: false,
        };
        return deploy(context, &options).await;
    }
    match command {
        SimulatedCommand::Hold => return hold(context, "by hand", true).await,
        SimulatedCommand::Unhold => return unhold(context, true).await,
        _ => {}
    }
    let outputs = planning::outputs::required(context).await?;
    match command {
        SimulatedCommand::Rollback { holds } => {
            let options = RollbackOptions {
                to: None,
                yes: true,
                holds,
            };
            rollback(context, &outputs, &options).await
        }
        SimulatedCommand::Rotate => rotate(context, &outputs, true).await,
        SimulatedCommand::Cleanup => {
            let options = CleanupOptions {
                keep: 1,
                dry_run: false,
                yes: true,
            };
            cleanup(context, &outputs, &options).await
        }
        _ => stop(context, &outputs, true).await,
    }
}
