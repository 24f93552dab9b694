//! Not at random: every call of every command with every fault, and every pair of faults of a
//! deploy of two components.

use super::faults::{FaultPlan, InjectedFault, PlannedFault, PortCall};
use super::run::{StartStates, run};
use super::script::{FaultClass, Script, SimulatedCommand, StartState};
use super::simulate;
use crate::model::ImageScript;
use crate::world::components::{AXON, ORBIT};

/// How many of the cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// One in ten.
    Fast,
    /// Of what is called again and again the first calls and the last one, and some of the pairs.
    Suite,
    All,
}

/// Of the pairs of faults a suite has one in so many.
const PAIRS_LEFT_OUT: usize = 40;

/// The commands, each where it makes the calls that it can make.
fn subjects() -> Vec<Script> {
    let plain = |base, command| Script {
        base,
        command,
        class: FaultClass::One,
        push_time: Some(3_000),
        ..Script::plain(0)
    };
    let failing = |base| Script {
        images: [(AXON, ImageScript::NotPulled)].into(),
        ..plain(base, SimulatedCommand::Deploy)
    };
    vec![
        plain(StartState::ReleasedTwice, SimulatedCommand::Deploy),
        failing(StartState::ReleasedTwice),
        failing(StartState::Applied),
        plain(
            StartState::ReleasedTwice,
            SimulatedCommand::Rollback { holds: true },
        ),
        plain(StartState::Released, SimulatedCommand::Stop),
        Script {
            then: Some(SimulatedCommand::Rotate),
            ..plain(StartState::Released, SimulatedCommand::Rotate)
        },
        plain(StartState::ReleasedTwice, SimulatedCommand::Cleanup),
        plain(StartState::Released, SimulatedCommand::Hold),
        plain(StartState::Released, SimulatedCommand::Unhold),
    ]
}

/// Every call of every command with every fault.
pub(super) fn single_faults(bases: &StartStates, share: Share) -> Vec<Script> {
    let mut cases = Vec::new();
    for subject in subjects() {
        let calls = simulate(run(bases, &subject, None)).calls;
        for (call, count) in calls {
            for nth in (0..count).filter(|nth| share == Share::All || *nth < 2 || *nth == count - 1)
            {
                let faults = faults_of(call).map(|fault| PlannedFault::once(fault, call, nth));
                cases.extend(faults.map(|fault| with(&subject, [fault])));
            }
        }
    }
    if share == Share::Fast {
        cases = cases.into_iter().step_by(10).collect();
    }
    cases
}

/// Every pair of faults of a deploy of two components, each at the first call of its kind.
pub(super) fn pairs_of_faults(bases: &StartStates, share: Share) -> Vec<Script> {
    let subject = Script {
        base: StartState::ReleasedTwice,
        edited: vec![AXON.into(), ORBIT.into()],
        class: FaultClass::Several,
        push_time: Some(3_000),
        ..Script::plain(0)
    };
    let calls = simulate(run(bases, &subject, None)).calls;
    let faults = calls
        .keys()
        .flat_map(|call| faults_of(*call).map(|fault| PlannedFault::once(fault, *call, 0)));
    let faults: Vec<PlannedFault> = faults.collect();
    let firsts = faults.iter().enumerate();
    let pairs = firsts.flat_map(|(index, first)| {
        let seconds = faults[index..].iter();
        seconds.map(|second| with(&subject, [*first, *second]))
    });
    match share {
        Share::Fast => pairs.step_by(PAIRS_LEFT_OUT * 20).collect(),
        Share::Suite => pairs.step_by(PAIRS_LEFT_OUT).collect(),
        Share::All => pairs.collect(),
    }
}

fn faults_of(call: PortCall) -> impl Iterator<Item = InjectedFault> {
    let all = InjectedFault::ALL.into_iter();
    all.filter(move |fault| fault.can_hit(call))
}

fn with<const N: usize>(subject: &Script, faults: [PlannedFault; N]) -> Script {
    Script {
        plan: FaultPlan::These(faults.into()),
        ..subject.clone()
    }
}
