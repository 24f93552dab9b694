//! What came of many runs.

use std::collections::BTreeMap;

use super::faults::{InjectedFault, PlannedFault, PortCall};
use super::run::RunEnd;
use super::script::{FaultClass, Script, SimulatedCommand};

/// What came of many runs.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) runs: u64,
    hits: BTreeMap<(InjectedFault, PortCall), u32>,
    pub(super) exits: BTreeMap<(FaultClass, u8), u32>,
    /// Of the runs with one fault, by that.
    pub(super) exits_by_fault: BTreeMap<InjectedFault, BTreeMap<u8, u32>>,
    /// By the number of the run.
    pub(super) failed: BTreeMap<u64, Failed>,
}

pub(super) struct Failed {
    pub(super) script: Script,
    pub(super) violations: Vec<String>,
    pub(super) faults: Vec<PlannedFault>,
}

impl Tally {
    pub(super) fn count(&mut self, number: u64, script: Script, end: RunEnd) {
        self.runs += 1;
        // A stop is not taken back.
        if script.class == FaultClass::One
            && script.command != SimulatedCommand::Stop
            && let Some((fault, _)) = end.hits.keys().next()
        {
            let exits = self.exits_by_fault.entry(*fault).or_default();
            *exits.entry(end.exit_code).or_default() += 1;
        }
        for (pair, count) in end.hits {
            *self.hits.entry(pair).or_default() += count;
        }
        let exit = (script.class, end.exit_code);
        *self.exits.entry(exit).or_default() += 1;
        if !end.violations.is_empty() {
            let failed = Failed {
                script,
                violations: end.violations,
                faults: end.faults,
            };
            self.failed.insert(number, failed);
        }
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("{:24}", "");
        for fault in InjectedFault::ALL {
            table.push_str(&format!(" {:>11}", format!("{fault:?}")));
        }
        for call in PortCall::ALL {
            table.push_str(&format!("\n{:24}", format!("{call:?}")));
            for fault in InjectedFault::ALL {
                let count = self.hits.get(&(fault, call));
                let text = if fault.can_hit(call) {
                    count.copied().unwrap_or(0).to_string()
                } else {
                    "-".to_owned()
                };
                table.push_str(&format!(" {text:>11}"));
            }
        }
        table
    }

    pub(super) fn never_hit(&self) -> Vec<(InjectedFault, PortCall)> {
        let mut pairs = InjectedFault::pairs();
        pairs.retain(|pair| !self.hits.contains_key(pair));
        pairs
    }

    /// Of the runs with one faulty call, those that did not end wholly on one release, and all.
    pub(super) fn undecided(&self) -> (u32, u32) {
        let faulty = self.exits_by_fault.iter();
        let faulty = faulty.filter(|(fault, _)| fault.is_of_one_call());
        let exits = faulty.flat_map(|(_, exits)| exits.iter());
        exits.fold((0, 0), |(undecided, all), (exit, count)| {
            let is_undecided = matches!(exit, 21 | 22);
            (undecided + u32::from(is_undecided) * count, all + count)
        })
    }
}
