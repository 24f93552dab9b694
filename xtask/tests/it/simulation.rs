//! Whole commands against the model of ECS, with faults by a seed in front of every call. Each run is
//! judged by what really was. A run that fails names its seed; this replays it and prints what
//! happened:
//!
//! `XTASK_SEED=17 cargo test -p xtask --test it simulation::seeds -- --nocapture`

mod broken;
mod faults;
mod judge;
mod ports;
mod process;
mod run;
mod script;
mod simulated;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use broken::BrokenEngine;
use faults::{InjectedFault, PortCall};
use run::{RunEnd, StartStates, run};
use script::{FaultClass, Script, SimulatedCommand};

/// The runs where `XTASK_SEEDS` names no number. `cargo xtask test` names one.
const SEEDS: u64 = 300;
/// In so many runs every fault hits every call.
const SEEDS_OF_A_SUITE: u64 = 5_000;

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

/// What came of many runs.
#[derive(Default)]
struct Tally {
    runs: u64,
    hits: BTreeMap<(InjectedFault, PortCall), u32>,
    exits: BTreeMap<(FaultClass, u8), u32>,
    /// Of the runs with one fault, by that.
    exits_by_fault: BTreeMap<InjectedFault, BTreeMap<u8, u32>>,
    failed: BTreeMap<u64, Vec<String>>,
}

impl Tally {
    fn count(&mut self, script: &Script, end: RunEnd) {
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
            self.failed.insert(script.seed, end.violations);
        }
    }

    fn table(&self) -> String {
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

    fn never_hit(&self) -> Vec<(InjectedFault, PortCall)> {
        let mut pairs = InjectedFault::pairs();
        pairs.retain(|pair| !self.hits.contains_key(pair));
        pairs
    }

    /// Of the runs with one faulty call, those that did not end wholly on one release, and all.
    fn undecided(&self) -> (u32, u32) {
        let faulty = self.exits_by_fault.iter();
        let faulty = faulty.filter(|(fault, _)| fault.is_of_one_call());
        let exits = faulty.flat_map(|(_, exits)| exits.iter());
        exits.fold((0, 0), |(undecided, all), (exit, count)| {
            let is_undecided = matches!(exit, 21 | 22);
            (undecided + u32::from(is_undecided) * count, all + count)
        })
    }
}

/// Runs the seeds on all cores. What came of them does not depend on their order.
fn tally(seeds: std::ops::Range<u64>) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let tally = Mutex::new(Tally::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let bases = simulate(StartStates::make());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let end = run_seed(&bases, seed, None);
                    tally.lock().unwrap().count(&Script::of(seed), end);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long a suite takes")]
fn seeds() {
    if let Some(seed) = variable("XTASK_SEED") {
        let end = run_seed(&simulate(StartStates::make()), seed, None);
        println!("{:#?}", Script::of(seed));
        println!("{}", end.transcript.join("\n"));
        println!("exit {}, {:#?}", end.exit_code, end.violations);
        assert!(end.violations.is_empty(), "seed {seed}");
        return;
    }
    let began = Instant::now();
    let first = variable("XTASK_FIRST_SEED").unwrap_or(0);
    let count = variable("XTASK_SEEDS").unwrap_or(SEEDS);
    let tally = tally(first..first + count);
    println!("{}\n{:?}", tally.table(), tally.exits);
    for (fault, exits) in &tally.exits_by_fault {
        println!("one {fault:?}: {exits:?}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let (undecided, all) = tally.undecided();
    println!("{} runs in {seconds:.1} s", tally.runs);
    println!("with one faulty call {undecided} of {all} end with 21 or 22");
    let shown = tally.failed.iter().take(20);
    let shown = shown.map(|(seed, found)| format!("XTASK_SEED={seed}: {}", found.join("\n    ")));
    let shown: Vec<String> = shown.collect();
    let failed = tally.failed.len();
    assert!(failed == 0, "{failed} seeds fail:\n{}", shown.join("\n"));
    if count >= SEEDS_OF_A_SUITE {
        assert_eq!(tally.never_hit(), [], "no run has these");
        assert!(undecided * 100 <= all, "{undecided} of {all}");
    }
}

#[test]
fn a_seed_gives_the_same_transcript_each_time() {
    let bases = simulate(StartStates::make());
    for seed in 0..100 {
        let transcripts = [(), ()].map(|()| run_seed(&bases, seed, None).transcript);
        assert_eq!(transcripts[0], transcripts[1], "seed {seed}");
    }
}

/// Each is found by the seeds of a suite: what is wrong with it is not wrong without it.
#[test]
fn broken_engines_are_found() {
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for broken in BrokenEngine::ALL {
            let missed = &missed;
            scope.spawn(move || match first_that_finds(broken) {
                Some((seed, wrong)) => println!("{broken:?}: seed {seed}: {wrong}"),
                None => missed.lock().unwrap().push(broken),
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert_eq!(missed, [], "no seed finds these");
}

fn first_that_finds(broken: BrokenEngine) -> Option<(u64, String)> {
    let bases = simulate(StartStates::make());
    (0..SEEDS_OF_A_SUITE).find_map(|seed| {
        let mut wrong = run_seed(&bases, seed, Some(broken)).violations;
        let is_found = !wrong.is_empty() && run_seed(&bases, seed, None).violations.is_empty();
        is_found.then(|| (seed, wrong.remove(0)))
    })
}
