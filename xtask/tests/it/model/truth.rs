//! What really was: which tasks of which revision ran when, who changed what, and how few of them
//! were healthy. No answer of an API shows it; the judge of a simulation reads it.

use std::collections::BTreeMap;

use super::Millis;

/// Who changes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    /// A run of xtask.
    Process(u32),
    Person,
    /// ECS itself, or what Terraform created.
    Ecs,
}

/// What runs of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runs {
    /// No task.
    Nothing,
    /// As many healthy tasks as are desired, all of one revision, and no other task.
    Whole(String),
    Mixed,
}

/// What ran from this time on, by service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Millis,
    pub(crate) runs: BTreeMap<String, Runs>,
}

/// A call that changed what a service is to run.
#[derive(Debug, Clone)]
pub(crate) struct ServiceChange {
    pub(crate) at: Millis,
    pub(crate) by: Actor,
    /// It was carried out after its caller gave it up.
    pub(crate) late: bool,
    pub(crate) service: String,
    pub(crate) from: String,
    /// Who had brought what it replaces, and when.
    pub(crate) from_by: Actor,
    pub(crate) from_since: Millis,
    pub(crate) to: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) moments: Vec<Moment>,
    pub(crate) changes: Vec<ServiceChange>,
    /// Where fewer tasks were healthy than the minimum percent allows, and no script was the cause.
    pub(crate) dips: Vec<String>,
}

impl Truth {
    pub(super) fn note(&mut self, at: Millis, runs: BTreeMap<String, Runs>) {
        if let Some(last) = self.moments.last_mut() {
            if last.runs == runs {
                return;
            }
            if last.at == at {
                last.runs = runs;
                return;
            }
        }
        self.moments.push(Moment { at, runs });
    }

    /// Begins anew with what runs now.
    pub(crate) fn forget(&mut self) {
        let last = self.moments.pop();
        *self = Self {
            moments: last.into_iter().collect(),
            ..Self::default()
        };
    }

    /// Everything that ran at some moment from a time on.
    pub(crate) fn since(&self, from: Millis) -> impl Iterator<Item = &Moment> {
        let first = self.moments.iter().rposition(|it| it.at <= from);
        self.moments[first.unwrap_or(0)..].iter()
    }
}
