//! One environment of a simulation: the stories' world, and what the judge needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use xtask::decide::release::record::Record;
use xtask::decide::release::snapshot::ServiceState;

use super::faults::{InjectedFault, PlannedFault, PortCall};
use crate::model::{Chance, EcsModel, Millis, Runs};
use crate::world::{Fake, FakeState};

/// A handle: all clones are the same environment.
#[derive(Clone)]
pub(super) struct Simulated {
    /// ECS, ledger, registry, Lambda, secrets.
    pub(super) stores: Fake,
    state: Arc<Mutex<SimulatedState>>,
}

/// While it is there, nobody else can look at either.
pub(super) struct SimulatedMoment<'a> {
    pub(super) model: ModelGuard<'a>,
    state: MutexGuard<'a, SimulatedState>,
}

impl SimulatedMoment<'_> {
    pub(super) fn record(&self, number: u64) -> Option<Record> {
        self.model.0.record(number)
    }
}

pub(super) struct ModelGuard<'a>(MutexGuard<'a, FakeState>);

impl Deref for ModelGuard<'_> {
    type Target = EcsModel;

    fn deref(&self) -> &EcsModel {
        &self.0.ecs
    }
}

impl DerefMut for ModelGuard<'_> {
    fn deref_mut(&mut self) -> &mut EcsModel {
        &mut self.0.ecs
    }
}

impl Deref for SimulatedMoment<'_> {
    type Target = SimulatedState;

    fn deref(&self) -> &SimulatedState {
        &self.state
    }
}

impl DerefMut for SimulatedMoment<'_> {
    fn deref_mut(&mut self) -> &mut SimulatedState {
        &mut self.state
    }
}

pub(super) struct SimulatedState {
    pub(super) chance: Chance,
    pub(super) transcript: Vec<String>,
    pub(super) hits: BTreeMap<(InjectedFault, PortCall), u32>,
    /// What the alias named from a time on.
    pub(super) aliases: Vec<AliasChange>,
    pub(super) processes: Vec<ProcessFacts>,
    /// Calls that were given up and are still to be carried out.
    pub(super) late: u32,
    /// Tasks fall sick later, or somebody changes them by hand.
    pub(super) is_disturbed: bool,
    /// What happens right before a call of the first command, after so many of the same kind.
    pub(super) awaited: Vec<(PortCall, u32, AwaitedAct)>,
    /// How long the push of an image takes; `None`: as chance has it.
    pub(super) push_time: Option<Millis>,
    /// Others of the account call ECS as often as it lets them.
    pub(super) is_busy: bool,
    /// When each bucket of ECS's tokens is full again.
    full_at: BTreeMap<&'static str, Millis>,
    /// Secrets that were replaced: when, by whom, and whether after they were given up.
    pub(super) replaced: Vec<(Millis, u32, bool)>,
}

type AwaitedAct = Box<dyn FnOnce(&Simulated) + Send>;

#[derive(Debug, Clone)]
pub(super) struct AliasChange {
    pub(super) at: Millis,
    /// `None`: a person, or what was there.
    pub(super) by: Option<u32>,
    pub(super) late: bool,
    pub(super) version: String,
}

/// What really was of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessFacts {
    pub(super) started: Millis,
    /// When it saw first what runs.
    pub(super) looked: Option<Millis>,
    /// The record that it opened, and when.
    pub(super) opened: Option<(u64, Millis)>,
    /// What ran then, and what the alias named.
    pub(super) before: Option<(BTreeMap<String, Runs>, String)>,
    /// Beats that were confirmed: when that was known, and when they were sent.
    pub(super) confirmed: Vec<(Millis, Millis)>,
    pub(super) no_network_until: Millis,
    pub(super) asleep_until: Millis,
    pub(super) expired: bool,
    pub(super) interrupted: bool,
    pub(super) killed: bool,
    pub(super) faults: Vec<(Millis, PlannedFault)>,
    /// How many calls of each kind it has made.
    pub(super) calls: BTreeMap<PortCall, u32>,
    /// It gave the lock back although that was another's.
    pub(super) closed_of_others: bool,
    /// Another run took its lock, and it knows.
    pub(super) lost_lock: bool,
    pub(super) has_updated: bool,
    /// What an engine that is broken remembers: answers about services, what it sent, and which
    /// services it takes for stopped.
    pub(super) looks: BTreeMap<String, (Millis, ServiceState)>,
    pub(super) goals: BTreeMap<String, (Millis, String)>,
    pub(super) stopped: BTreeSet<String>,
    pub(super) last_look_at: Millis,
}

impl Simulated {
    pub(super) fn new(stores: Fake, chance: Chance) -> Self {
        let alias = stores.state().lambda.alias.clone();
        let state = SimulatedState {
            chance,
            transcript: Vec::new(),
            hits: BTreeMap::new(),
            aliases: vec![AliasChange {
                at: 0,
                by: None,
                late: false,
                version: alias,
            }],
            processes: Vec::new(),
            late: 0,
            is_disturbed: false,
            awaited: Vec::new(),
            push_time: None,
            is_busy: false,
            full_at: BTreeMap::new(),
            replaced: Vec::new(),
        };
        Self {
            stores,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.stores.now_ms()
    }

    /// The state as it is now.
    pub(super) fn state(&self) -> SimulatedMoment<'_> {
        SimulatedMoment {
            model: ModelGuard(self.stores.state()),
            state: self.state.lock().unwrap(),
        }
    }

    /// Takes a token of ECS for a call; `false`: there is none.
    pub(super) fn takes_token(&self, call: PortCall) -> bool {
        let mut state = self.state();
        let now = state.model.now;
        let Some((name, tokens, comes_back)) = call.bucket().filter(|_| state.is_busy) else {
            return true;
        };
        let full_at = state.full_at.entry(name).or_insert(now);
        let taken = (*full_at).max(now) + comes_back;
        let has_one = taken <= now + tokens * comes_back;
        if has_one {
            *full_at = taken;
        }
        has_one
    }

    /// Does what was to happen right before this call.
    pub(super) fn reach(&self, call: PortCall) {
        let mut due = Vec::new();
        let mut state = self.state();
        for (_, left, _) in state.awaited.iter_mut().filter(|it| it.0 == call) {
            *left = left.wrapping_sub(1);
        }
        while let Some(index) = state.awaited.iter().position(|it| it.1 == u32::MAX) {
            due.push(state.awaited.remove(index).2);
        }
        drop(state);
        for act in due {
            act(self);
        }
    }

    pub(super) fn note(&self, text: &str) {
        let now = self.now();
        let line = format!("{:>9.3}  {text}", Duration::from_millis(now).as_secs_f64());
        self.state.lock().unwrap().transcript.push(line);
    }

    /// What runs now, and what the alias names.
    pub(super) fn truth_now(&self) -> (BTreeMap<String, Runs>, String) {
        let state = self.state();
        let runs = state.model.truth.moments.last().unwrap().runs.clone();
        (runs, state.aliases.last().unwrap().version.clone())
    }

    /// Notes where the alias was moved.
    pub(super) fn look_at_alias(&self, by: Option<u32>, late: bool) {
        let version = self.stores.state().lambda.alias.clone();
        let mut state = self.state();
        let at = state.model.now;
        // Who moves it to where it is has changed it too: it has another revision id.
        let is_same = state.aliases.last().is_some_and(|it| it.version == version);
        if is_same && by.is_some() {
            return;
        }
        state.aliases.push(AliasChange {
            at,
            by,
            late,
            version,
        });
    }
}
