//! What has to hold at the end of every command, read from what really was.

use std::collections::BTreeMap;

use xtask::catalog::Component;
use xtask::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use xtask::decide::release::rollout::Outcome;
use xtask::decide::release::snapshot::ServiceRunning;

use super::faults::{InjectedFault, PlannedFault, PortCall};
use super::process::SimulatedProcess;
use super::run::ENDLESS;
use super::script::{FaultClass, Script, SimulatedCommand};
use super::simulated::{AliasChange, ProcessFacts, SimulatedMoment};
use crate::model::{Actor, Millis, Runs, ServiceChange};
use crate::world::KILLED;
use crate::world::STALENESS;
use crate::world::components::{COMPONENTS, GOVERNANCE};

/// A holder that has not confirmed its beat for this long changes nothing.
const BEAT_MAX: Millis = 20_000;

/// What is wrong at the end of a process.
pub(super) fn at_end(process: &SimulatedProcess, exit: u8) -> Vec<String> {
    let facts = process.facts(|it| it.clone());
    let id = process.id;
    let record = facts
        .opened
        .and_then(|(number, _)| process.sim.stores.state().record(number));
    let lost = process.sim.stores.state().lost.clone();
    let lacking = process.sim.stores.state().lacking();
    let state = process.sim.state();
    let court = Court {
        id,
        facts: &facts,
        state: &state,
        record: record.as_ref(),
    };
    let mut found = court.fence();
    found.extend(court.strangers());
    found.extend(lost.iter().map(|it| format!("a dispatch is lost: {it}")));
    if record
        .as_ref()
        .is_some_and(|it| it.kind == RecordKind::Cleanup)
    {
        let lacking = lacking.iter();
        found.extend(lacking.map(|it| format!("{it} is removed, and is needed")));
    }
    if facts.closed_of_others {
        found.push("the lock of another run was given back".to_owned());
    }
    if exit == ENDLESS {
        found.push("a wait has no end".to_owned());
    } else if exit != KILLED {
        found.extend(court.record_is_closed());
        found.extend(court.ends_as_told(exit));
        found.extend(court.goes_back_in_reverse(exit));
        found.extend(court.names_no_stranger_in_vain(exit));
    }
    found
        .into_iter()
        .map(|it| format!("{it} (process {id}, exit {exit})"))
        .collect()
}

/// What is wrong about the exit code, given what happened.
pub(super) fn of_class(script: &Script, exit: u8, talk: &str) -> Option<String> {
    if script.class != FaultClass::None || !script.is_alone() {
        return None;
    }
    let fails = script.command == SimulatedCommand::Deploy && script.brings_what_fails();
    let may = script.command == SimulatedCommand::Deploy && script.brings_what_may_fail();
    let right = match exit {
        0 => !fails,
        20 => may,
        // Nothing that succeeded before, to go back to.
        _ => false,
    };
    (!right).then(|| format!("(f) without a fault the exit is {exit}: {talk}"))
}

/// When faults end, a rotation ends too, and whatever was begun before.
pub(super) fn of_last_rotation(command: SimulatedCommand, exit: u8, talk: &str) -> Option<String> {
    let is_wrong = command == SimulatedCommand::Rotate && exit != 0;
    is_wrong.then(|| format!("(e) a rotation ended with {exit}: {talk}"))
}

struct Court<'a> {
    id: u32,
    facts: &'a ProcessFacts,
    state: &'a SimulatedMoment<'a>,
    record: Option<&'a Record>,
}

impl Court<'_> {
    fn changes(&self) -> impl Iterator<Item = &ServiceChange> {
        let id = self.id;
        let changes = self.state.model.truth.changes.iter();
        changes.filter(move |it| it.by == Actor::Process(id))
    }

    fn moves(&self) -> impl Iterator<Item = &AliasChange> {
        let moves = self.state.aliases.iter();
        moves.filter(|it| it.by == Some(self.id))
    }

    /// (b)
    fn fence(&self) -> Vec<String> {
        let mut found = Vec::new();
        let of_services = self.changes().filter(|it| !it.late);
        let of_services = of_services.map(|it| (it.service.as_str(), it.at));
        let moves = self.moves().filter(|it| !it.late);
        let moves = moves.map(|it| (GOVERNANCE.name(), it.at));
        let replaced = self.state.replaced.iter();
        let replaced = replaced.filter(|(_, by, late)| *by == self.id && !late);
        let replaced = replaced.map(|(at, ..)| ("a secret", *at));
        for (component, at) in of_services.chain(moves).chain(replaced) {
            let known = self.facts.confirmed.iter();
            let known = known.filter(|(known, _)| *known <= at);
            let beat = known.map(|(_, sent)| *sent).max().unwrap_or(0);
            if at > beat + BEAT_MAX {
                found.push(format!(
                    "(b) {component} is changed at {at}, the last beat is of {beat}"
                ));
            }
        }
        found
    }

    /// (g) Nothing that somebody else brought after the plan is replaced.
    fn strangers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let looked = self.facts.looked.unwrap_or_default();
        for change in self.changes().filter(|it| !it.late && it.from != it.to) {
            let theirs = change.from_since > looked && change.at > change.from_since + STALENESS;
            let is_stranger = match change.from_by {
                Actor::Person => true,
                Actor::Process(other) => other != self.id && !self.is_late(change),
                Actor::Ecs => false,
            };
            if theirs && is_stranger && !self.saw(looked, change) {
                found.push(format!(
                    "(g) a stranger's deployment is replaced: {change:?}"
                ));
            }
        }
        found
    }

    /// Whether a look at this time found the revision that a change replaces, alone or in the middle
    /// of being replaced: another run that has gone back to it brought nothing new.
    fn saw(&self, looked: Millis, change: &ServiceChange) -> bool {
        let mut moments = self.state.model.truth.moments.iter().rev();
        let then = moments.find(|it| it.at <= looked);
        let runs = then.and_then(|it| it.runs.get(&change.service));
        let replaced = self.under_way(&change.service, looked);
        runs == Some(&Runs::Whole(change.from.clone()))
            || replaced.is_some_and(|it| it.from == change.from)
    }

    /// The change of a service that ECS had not completed at this time.
    fn under_way(&self, service: &str, at: Millis) -> Option<&ServiceChange> {
        let mut changes = self.state.model.truth.changes.iter().rev();
        let newest = changes.find(|it| it.service == service && it.at <= at)?;
        let is_over = self.state.model.completed_in(service, newest.at..=at);
        (!is_over).then_some(newest)
    }

    /// Whether what a change replaces came by a call that was delayed.
    fn is_late(&self, change: &ServiceChange) -> bool {
        let mut changes = self.state.model.truth.changes.iter();
        changes.any(|it| it.late && it.to == change.from && it.service == change.service)
    }

    fn was_silent(&self) -> bool {
        let now = self.state.model.now;
        let mut faults = self.facts.faults.iter();
        let hit = faults.any(|(at, PlannedFault { fault, call, .. })| {
            let refused = matches!(fault, InjectedFault::Refused | InjectedFault::Denied);
            let of_ledger = matches!(
                call,
                PortCall::Close | PortCall::ReadRecord | PortCall::Write
            );
            // It is given up soon where the work was not finished.
            let closing = *call == PortCall::Close && now < at + 120_000;
            let late = matches!(fault, InjectedFault::Late | InjectedFault::LostAnswer)
                && *call == PortCall::Open;
            refused && of_ledger && now < at + 120_000 || late || closing
        });
        self.facts.expired || now < self.facts.no_network_until + 60_000 || hit
    }

    /// (d)
    fn record_is_closed(&self) -> Option<String> {
        let record = self.record?;
        let open = record.state == ReleaseState::InProgress && !self.was_silent();
        open.then(|| format!("(d) record {} is open", record.number))
    }

    fn last_change(&self) -> Millis {
        let changes = self.changes().map(|it| it.at);
        let moves = self.moves().map(|it| it.at);
        let opened = self.facts.opened.map(|(_, at)| at);
        changes.chain(moves).chain(opened).max().unwrap_or(0)
    }

    /// (a)
    fn ends_as_told(&self, exit: u8) -> Vec<String> {
        let Some(record) = self.record else {
            let changed = self.changes().count();
            let wrong = format!("(a) {changed} changes without a record");
            return if changed > 0 { vec![wrong] } else { Vec::new() };
        };
        if !record.kind.changes_components() {
            return Vec::new();
        }
        let entries = &record.entries;
        match exit {
            0 => self.all_run("what the record says", |it| match (record.kind, it) {
                // It leaves functions as they are.
                (RecordKind::Stop, Component::Function(_)) => Expected::Version(None),
                _ => after(entries, it),
            }),
            20 => self.all_run("what ran before", |it| self.before(entries, it)),
            21..=23 | 1 => self.all_are_named(record),
            11 | 12 | 130 if self.changes().count() > 0 => {
                vec![format!(
                    "(a) {} changes, and {exit}",
                    self.changes().count()
                )]
            }
            _ => Vec::new(),
        }
    }

    /// What ran when the record was opened. Somebody else's rollout that was under way then, and was
    /// left alone, ends with either of its revisions.
    fn before(&self, entries: &Entries, component: Component) -> Expected {
        let (runs, alias) = self.facts.before.as_ref().unwrap();
        let service = match component {
            Component::Function(_) => return Expected::Version(Some(alias.clone())),
            Component::Service(service) => service,
        };
        let runs = match &runs[service.name()] {
            Runs::Mixed => whole(entries.services[&service].before.as_ref()),
            runs => runs.clone(),
        };
        let mut expected = vec![runs];
        let (_, opened) = self.facts.opened.unwrap_or_default();
        let rollout = self.under_way(service.name(), opened);
        let is_left = !self.changes().any(|it| it.service == service.name());
        if let Some(rollout) = rollout.filter(|_| is_left) {
            expected.extend([&rollout.from, &rollout.to].map(|it| Runs::Whole(it.clone())));
        }
        Expected::Runs(expected)
    }

    /// At one moment since the last change all components were as they should be.
    fn all_run(&self, what: &str, expected: impl Fn(Component) -> Expected) -> Vec<String> {
        let from = self.last_change();
        let expected: BTreeMap<Component, Expected> = COMPONENTS
            .into_iter()
            .map(|it| (it, expected(it)))
            .collect();
        let moments = || self.state.model.truth.since(from);
        let services = |runs: &BTreeMap<String, Runs>| {
            expected.iter().all(|(component, expected)| match expected {
                Expected::Runs(expected) => expected.contains(&runs[component.name()]),
                Expected::Version(_) => true,
            })
        };
        let functions = expected.values().all(|it| match it {
            Expected::Version(version) => self.named(version.as_ref(), from),
            Expected::Runs(_) => true,
        });
        // There is no common moment of tasks that end meanwhile, and what was not changed may lack
        // one that somebody stopped shortly before.
        let before = self.facts.started.saturating_sub(60_000);
        let each = expected.iter().all(|(component, expected)| match expected {
            Expected::Runs(expected) => self.ran(component.name(), expected, before),
            Expected::Version(_) => true,
        });
        let together = moments().any(|it| services(&it.runs));
        if functions && (together || each && self.state.is_disturbed) {
            return Vec::new();
        }
        let last = &self.state.model.truth.moments.last().unwrap().runs;
        let alias = &self.state.aliases.last().unwrap().version;
        vec![format!(
            "(a) not {what}: {expected:?}, but {last:?} and version {alias}"
        )]
    }

    /// Whether this ran of a service at a moment since it was changed. One that was not changed
    /// counts from a time on.
    fn ran(&self, service: &str, expected: &[Runs], unchanged_from: Millis) -> bool {
        let changed = self.changes().filter(|it| it.service == service);
        let from = changed.map(|it| it.at).max().unwrap_or(unchanged_from);
        let mut moments = self.state.model.truth.since(from);
        moments.any(|it| expected.contains(&it.runs[service]))
    }

    /// Whether the alias named a version at some time since.
    fn named(&self, version: Option<&String>, from: Millis) -> bool {
        let Some(version) = version else { return true };
        let aliases = &self.state.aliases;
        let first = aliases.iter().rposition(|it| it.at <= from).unwrap_or(0);
        aliases[first..].iter().any(|it| it.version == *version)
    }

    /// The record names each component that runs neither what it brought nor what was there before.
    fn all_are_named(&self, record: &Record) -> Vec<String> {
        // Whoever took over answers for it.
        let is_mine = matches!(
            record.state,
            ReleaseState::Detached | ReleaseState::RollbackFailed | ReleaseState::Superseded
        );
        if !is_mine || record.kind == RecordKind::Stop || self.was_taken_over(record) {
            return Vec::new();
        }
        let entries = &record.entries;
        let (_, opened) = self.facts.opened.unwrap_or_default();
        // What somebody stopped shortly before is replaced after a while.
        let unchanged_from = if self.state.is_disturbed {
            self.facts.started.saturating_sub(60_000)
        } else {
            opened
        };
        let mut found = Vec::new();
        for component in COMPONENTS {
            let expected = [after(entries, component), self.before(entries, component)];
            let holds = expected.iter().any(|it| match it {
                Expected::Version(version) => self.named(version.as_ref(), opened),
                Expected::Runs(runs) => self.ran(component.name(), runs, unchanged_from),
            });
            if !holds && !is_named(entries, component) {
                let last = &self.state.model.truth.moments.last().unwrap().runs;
                found.push(format!(
                    "(a) {component} is not named, and runs none of {expected:?} but {last:?}"
                ));
            }
        }
        found
    }

    /// Whether somebody else changed a component since this process began.
    fn is_changed_by_others(&self, component: Component) -> bool {
        let (id, started) = (self.id, self.facts.started);
        let mut of_services = self.state.model.truth.changes.iter();
        let mut of_aliases = self.state.aliases.iter();
        let changed = of_services.any(|it| {
            it.service == component.name() && it.by != Actor::Process(id) && it.at >= started
        });
        let moved = of_aliases.any(|it| it.by != Some(id) && it.at >= started);
        changed || moved && component == Component::Function(GOVERNANCE)
    }

    /// (a) What is said to be somebody else's is that.
    fn names_no_stranger_in_vain(&self, exit: u8) -> Vec<String> {
        let changes = self.record.filter(|it| it.kind.changes_components());
        let Some(record) = changes else {
            return Vec::new();
        };
        let moved_on = COMPONENTS.iter().any(|it| self.is_changed_by_others(*it));
        if exit == 11 && !moved_on && !self.was_cleaned_up() {
            return vec!["(a) refused since something moved on, and nothing did".to_owned()];
        }
        let entries = &record.entries;
        let named = COMPONENTS.into_iter().filter(|it| {
            let is_named = outcome(entries, *it) == Some(Outcome::Superseded);
            is_named && !self.is_changed_by_others(*it)
        });
        named
            .map(|it| format!("(a) {it} is told as superseded, and nobody changed it"))
            .collect()
    }

    /// Whether a cleanup may have removed what this process relies on since it began.
    fn was_cleaned_up(&self) -> bool {
        let opened = self.state.processes.iter().filter_map(|it| it.opened);
        let mut since = opened.filter(|(_, at)| *at >= self.facts.started);
        since.any(|(number, _)| {
            let record = self.state.record(number);
            record.is_some_and(|it| it.kind == RecordKind::Cleanup)
        })
    }

    fn was_taken_over(&self, record: &Record) -> bool {
        let mut processes = self.state.processes.iter();
        processes.any(|it| it.opened.is_some_and(|(number, _)| number > record.number))
    }

    /// What was changed is changed back in reverse order.
    fn goes_back_in_reverse(&self, exit: u8) -> Option<String> {
        if exit != 20 {
            return None;
        }
        let services = self.changes().filter(|it| !it.late && it.from != it.to);
        let mut order: Vec<(Millis, &str, &str)> = services
            .map(|it| (it.at, it.service.as_str(), it.to.as_str()))
            .collect();
        let moves = self.moves().filter(|it| !it.late);
        order.extend(moves.map(|it| (it.at, GOVERNANCE.name(), it.version.as_str())));
        order.sort_unstable();
        let mut forward: Vec<(&str, &str)> = Vec::new();
        let mut back: Vec<&str> = Vec::new();
        for (_, name, to) in order {
            match forward.iter().find(|(known, _)| *known == name) {
                None => forward.push((name, to)),
                Some((_, first)) if *first != to => back.push(name),
                Some(_) => {}
            }
        }
        back.dedup();
        let mut expected: Vec<&str> = forward.iter().rev().map(|(name, _)| *name).collect();
        expected.retain(|name| back.contains(name));
        (back != expected).then(|| format!("back in the order {back:?} after {forward:?}"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// One of these.
    Runs(Vec<Runs>),
    /// `None`: the record does not say.
    Version(Option<String>),
}

fn whole(running: Option<&ServiceRunning>) -> Runs {
    running.map_or(Runs::Nothing, |it| Runs::Whole(it.revision.to_string()))
}

fn after(entries: &Entries, component: Component) -> Expected {
    match component {
        Component::Service(service) => {
            let entry = &entries.services[&service];
            Expected::Runs(vec![whole(entry.after.as_ref())])
        }
        Component::Function(function) => {
            let entry = &entries.functions[&function];
            Expected::Version(entry.after.as_ref().map(|it| it.version.to_string()))
        }
    }
}

fn is_named(entries: &Entries, component: Component) -> bool {
    matches!(
        outcome(entries, component),
        Some(Outcome::Detached | Outcome::RollbackFailed | Outcome::Superseded)
    )
}

fn outcome(entries: &Entries, component: Component) -> Option<Outcome> {
    match component {
        Component::Service(service) => entries.services[&service].outcome,
        Component::Function(function) => entries.functions[&function].outcome,
    }
}
