//! One environment of a simulation: the model behind ECS and the load balancer, the stores of the
//! stories' world behind everything else, and what the judge needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::faults::{InjectedFault, PortCall};
use crate::model::{Chance, EcsModel, Millis, Runs, ServiceAnswer};
use crate::world::Fake;

/// A handle: all clones are the same environment.
#[derive(Clone)]
pub(super) struct Simulated {
    /// Ledger, registry, Lambda, secrets.
    pub(super) stores: Fake,
    state: Arc<Mutex<SimulatedState>>,
    began: Instant,
    offset: Millis,
}

pub(super) struct SimulatedState {
    pub(super) model: EcsModel,
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
}

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
    pub(super) faults: Vec<(Millis, InjectedFault, PortCall)>,
    /// It gave the lock back although that was another's.
    pub(super) closed_of_others: bool,
    /// Another run took its lock, and it knows.
    pub(super) lost_lock: bool,
    pub(super) has_updated: bool,
    /// What an engine that is broken remembers: answers about services, what it sent, and which
    /// services it takes for stopped.
    pub(super) looks: BTreeMap<String, (Millis, ServiceAnswer)>,
    pub(super) goals: BTreeMap<String, (Millis, String)>,
    pub(super) stopped: BTreeSet<String>,
    pub(super) last_look_at: Millis,
}

impl Simulated {
    pub(super) fn new(stores: Fake, model: EcsModel, chance: Chance) -> Self {
        let alias = stores.state().lambda.alias.clone();
        let offset = model.now;
        let state = SimulatedState {
            model,
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
        };
        Self {
            stores,
            state: Arc::new(Mutex::new(state)),
            began: Instant::now(),
            offset,
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.offset + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    /// The state as it is now.
    pub(super) fn state(&self) -> MutexGuard<'_, SimulatedState> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.model.advance(now);
        state
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
        if state.aliases.last().is_some_and(|it| it.version == version) {
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
