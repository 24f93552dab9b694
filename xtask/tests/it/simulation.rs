//! Whole commands against the model of ECS, with faults by a seed in front of every call. Each run is
//! judged by what really was. A run that fails names its seed; this replays it and prints what
//! happened:
//!
//! `XTASK_SEED=17 cargo test -p xtask --test it simulation::seeds -- --nocapture`

mod broken;
mod each_call;
mod faults;
mod judge;
mod ports;
mod process;
mod run;
mod script;
mod shrink;
mod simulated;
mod tally;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use broken::BrokenEngine;
use each_call::Share;
use faults::{FaultPlan, InjectedFault, PlannedFault, PortCall};
use run::{RunEnd, StartStates, run};
use script::Script;
use tally::Tally;

use crate::world::components::AXON;

/// The runs where `XTASK_SEEDS` names no number. `cargo xtask test` names one.
const SEEDS: u64 = 300;
/// In so many runs every fault hits every call.
const SEEDS_OF_A_SUITE: u64 = 5_000;
/// With so many, nothing that is not random is left out either.
const SEEDS_OF_A_LONG_SUITE: u64 = 100_000;

#[expect(clippy::disallowed_methods, reason = "the size of a suite")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// A clock that moves when nothing else does.
fn simulate<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(work)
}

fn run_seed(bases: &StartStates, seed: u64, broken: Option<BrokenEngine>) -> RunEnd {
    simulate(run(bases, &Script::of(seed), broken))
}

/// Runs the scripts on all cores. What came of them does not depend on their order.
fn tally(numbers: std::ops::Range<u64>, script: impl Fn(u64) -> Script + Sync) -> Tally {
    let next = AtomicU64::new(numbers.start);
    let tally = Mutex::new(Tally::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let bases = simulate(StartStates::make());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    let script = script(number);
                    let end = simulate(run(&bases, &script, None));
                    tally.lock().unwrap().count(number, script, end);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// The same, with its figures printed.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how long a suite takes, and what a proof counts"
)]
fn shown_tally(numbers: std::ops::Range<u64>, script: impl Fn(u64) -> Script + Sync) -> Tally {
    let began = Instant::now();
    let tally = tally(numbers, script);
    println!("{}\n{:?}", tally.table(), tally.exits);
    for (fault, exits) in &tally.exits_by_fault {
        println!("one {fault:?}: {exits:?}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{} runs in {seconds:.1} s", tally.runs);
    tally
}

/// Fails where a run did, with the smallest part of the first of them that fails.
fn ensure_none_failed(tally: &Tally, name: &str) {
    let Some(first) = tally.failed.values().next() else {
        return;
    };
    show_smallest(&first.script, &first.faults);
    let shown = tally.failed.iter().take(20);
    let shown =
        shown.map(|(number, it)| format!("{name}{number}: {}", it.violations.join("\n    ")));
    let shown: Vec<String> = shown.collect();
    panic!("{} runs fail:\n{}", tally.failed.len(), shown.join("\n"));
}

#[expect(
    clippy::print_stdout,
    reason = "a failed run is told with its transcript"
)]
fn show_smallest(script: &Script, faults: &[PlannedFault]) {
    let bases = simulate(StartStates::make());
    let run_part = |part: &Script| simulate(run(&bases, part, None));
    let smallest = shrink::shrink(script, faults, |part| !run_part(part).violations.is_empty());
    let end = run_part(&smallest);
    println!("the smallest script that fails: {smallest:#?}");
    println!("{}", end.transcript.join("\n"));
    println!("exit {}, {:#?}", end.exit_code, end.violations);
}

#[test]
fn seeds() {
    if let Some(seed) = variable("XTASK_SEED") {
        let end = run_seed(&simulate(StartStates::make()), seed, None);
        println!("{:#?}", Script::of(seed));
        println!("{}", end.transcript.join("\n"));
        println!("exit {}, {:#?}", end.exit_code, end.violations);
        if !end.violations.is_empty() {
            show_smallest(&Script::of(seed), &end.faults);
            panic!("seed {seed}");
        }
        return;
    }
    let first = variable("XTASK_FIRST_SEED").unwrap_or(0);
    let count = variable("XTASK_SEEDS").unwrap_or(SEEDS);
    let tally = shown_tally(first..first + count, Script::of);
    let (undecided, all) = tally.undecided();
    println!("with one faulty call {undecided} of {all} end with 21 or 22");
    ensure_none_failed(&tally, "XTASK_SEED=");
    if count >= SEEDS_OF_A_SUITE {
        assert_eq!(tally.never_hit(), [], "no run has these");
        assert!(undecided * 100 <= all, "{undecided} of {all}");
    }
}

#[test]
fn each_call_with_each_fault_and_pairs_of_faults() {
    let share = match variable("XTASK_SEEDS") {
        Some(SEEDS_OF_A_LONG_SUITE..) => Share::All,
        Some(SEEDS_OF_A_SUITE..) => Share::Suite,
        _ => Share::Fast,
    };
    let bases = simulate(StartStates::make());
    let mut cases = each_call::single_faults(&bases, share);
    cases.extend(each_call::pairs_of_faults(&bases, share));
    let count = u64::try_from(cases.len()).unwrap();
    let case = |number: u64| cases[usize::try_from(number).unwrap()].clone();
    let tally = shown_tally(0..count, case);
    ensure_none_failed(&tally, "case ");
    if share != Share::Fast {
        assert_eq!(tally.never_hit(), [], "no case has these");
    }
}

/// The SDK repeats a call for longer than nobody takes the lock of a holder that is not heard.
#[test]
fn a_change_that_is_not_answered_is_given_up_before_another_run_takes_over() {
    let bases = simulate(StartStates::make());
    let slow = PlannedFault::once(InjectedFault::Slow, PortCall::UpdateService, 0);
    let script = Script::plain(0).with_faults([
        slow.lasting(35_000),
        PlannedFault::always(InjectedFault::Unanswered, PortCall::Beat),
    ]);
    let end = simulate(run(&bases, &script, None));
    assert_eq!(
        end.violations,
        [] as [String; 0],
        "{}",
        end.transcript.join("\n")
    );
}

#[test]
fn what_fails_is_shrunk_to_what_makes_it_fail() {
    let bases = simulate(StartStates::make());
    let broken = BrokenEngine::StableTakenForSuccess;
    let needed = broken.script(0);
    let more = Script {
        has_alarms: true,
        recovers_by_rollback: true,
        ..needed.clone().with_faults([
            PlannedFault::once(InjectedFault::Slow, PortCall::Push, 0),
            PlannedFault::once(InjectedFault::Throttled, PortCall::Write, 1),
        ])
    };
    let run_part = |part: &Script| simulate(run(&bases, part, Some(broken)));
    let faults = run_part(&more).faults;
    let smallest = shrink::shrink(&more, &faults, |part| !run_part(part).violations.is_empty());
    assert_eq!(faults.len(), 2);
    assert_eq!(smallest.images, needed.images);
    assert_eq!(smallest.edited, [AXON.into()]);
    assert!(matches!(&smallest.plan, FaultPlan::These(left) if left.is_empty()));
    assert!(!smallest.has_alarms && !smallest.recovers_by_rollback);
}

#[test]
fn a_seed_gives_the_same_transcript_each_time() {
    let bases = simulate(StartStates::make());
    for seed in 0..100 {
        let transcripts = [(), ()].map(|()| run_seed(&bases, seed, None).transcript);
        assert_eq!(transcripts[0], transcripts[1], "seed {seed}");
    }
}

/// So many futures of the same script.
const FUTURES: u64 = 10;

/// Each is found by a script that was made for it, whatever the model's seed decides: what is wrong
/// with it is not wrong without it.
#[test]
fn broken_engines_are_found() {
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for broken in BrokenEngine::ALL {
            let missed = &missed;
            scope.spawn(move || {
                let bases = simulate(StartStates::make());
                for seed in 0..FUTURES {
                    let script = broken.script(seed);
                    let right = simulate(run(&bases, &script, None)).violations;
                    let wrong = simulate(run(&bases, &script, Some(broken))).violations;
                    if !right.is_empty() || wrong.is_empty() {
                        let text = format!("its script with {seed}: {right:?}");
                        missed.lock().unwrap().push((broken, text));
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert_eq!(missed, [], "not found");
}
