//! The model of ECS against the local AWS: both go through the same sequences of calls and images, and
//! what the API shows of them is the same, times aside. The model is the one of xtask's tests, which
//! has the sequences as well. Some are run, and all of them where `XTASK_SEQUENCES` is `all`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how long it takes is measured and said, and the suite says what is run"
)]

#[expect(
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    reason = "xtask's tests allow the first, and use what is not used here"
)]
#[path = "../../../xtask/tests/it"]
mod it {
    pub(crate) mod model;
}
mod local;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use it::model::contract::{Modeled, SEQUENCES, SequenceStep, history};
use libtest_mimic::{Arguments, Trial};
use local::{ContractAws, LocalService};

/// One of each kind: a release, failures of each cause, a second one in the middle, a stopped one, a
/// changed count, tasks that end, a refusal.
const IN_SUITE: [&str; 10] = [
    "crashes_at_once",
    "crashes_later",
    "deregistered",
    "first_release_fails",
    "good_amid_good",
    "image_not_there",
    "never_listens",
    "scaled_to_none_and_back",
    "stop_deployment_of_good",
    "task_stopped_by_hand",
];

/// What differs for a reason that is known, and is left out on both sides: the sequence, what the
/// line says, and the reason.
const LEFT_OUT: [(&str, &str, &str); 1] = [(
    "crashes_at_once",
    "registered 1 targets",
    "a task that ends at once may have ended before it is registered",
)];

/// How many sequences two cores carry without being late for a health check.
const SIDE_BY_SIDE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(SIDE_BY_SIDE);
    let all = std::env::var("XTASK_SEQUENCES").is_ok_and(|it| it == "all");
    let local = Arc::new(ContractAws::default());
    let sequences = SEQUENCES.iter();
    let run = sequences.filter(|(name, _)| all || IN_SUITE.contains(name));
    let trials = run.map(|&(name, steps)| {
        let local = Arc::clone(&local);
        Trial::test(name, move || {
            compare(&local, name, steps);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(local); // stops the local AWS
    conclusion.exit_code()
}

fn compare(local: &ContractAws, name: &str, steps: &[SequenceStep]) {
    let mut modeled = history(&mut Modeled::new(0), steps);
    let mut service = LocalService::new(local, name);
    let started = Instant::now();
    let mut shown = history(&mut service, steps);
    for (_, said, reason) in LEFT_OUT.iter().filter(|(of, ..)| *of == name) {
        assert!(modeled.iter().any(|it| it.contains(said)), "{reason}");
        for lines in [&mut modeled, &mut shown] {
            lines.retain(|it| !it.contains(said));
        }
    }
    let pairs = modeled.iter().zip(&shown);
    let alike = pairs.take_while(|(model, local)| model == local).count();
    assert!(
        modeled == shown,
        "both:\n{}\nthe model then:\n{}\nthe local AWS then:\n{}",
        modeled[..alike].join("\n"),
        modeled[alike..].join("\n"),
        shown[alike..].join("\n")
    );
    let seconds = started.elapsed().as_secs();
    println!("{name}: {alike} lines are the same, after {seconds} s");
}
