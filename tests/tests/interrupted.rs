//! Releases that are killed, asked to stop, cut off or overtaken, at many moments, each followed by
//! the same command: it goes on within a minute, and no dispatch is lost. A moment is an event of
//! the release, and no time. The trials share one local AWS and run in this order.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "what a user waits for is measured, and what a proof counts is printed"
)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use e2e::{CheckoutCopy, Traffic, signal};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

/// Signals, each at so many moments of a release.
const SIGNALS: [(&str, usize); 3] = [("KILL", 20), ("HUP", 10), ("INT", 10)];
/// Releases with stale, throttled and lost answers, and no network for 45 seconds.
const REHEARSALS: usize = 5;
/// Moments at which somebody updates orbit by hand.
const HOTFIXES: [&str; 3] = ["release_opened", "rollout axon", "rolled_out axon"];
/// Until whoever comes after a kill has taken over.
const GOES_ON_WITHIN: Duration = Duration::from_mins(1);

type Run = Box<dyn FnOnce(&SharedCheckout, &str) + Send>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut runs: Vec<(String, Run)> = vec![("two_at_once".to_owned(), Box::new(two_at_once))];
    for moment in HOTFIXES {
        let name = format!("hotfix_at_{}", moment.replace(' ', "_"));
        runs.push((name, Box::new(|shared, name| hotfix(shared, name, moment))));
    }
    for seed in 0..REHEARSALS {
        let run: Run = Box::new(move |shared, name| rehearsal(shared, name, seed));
        runs.push((format!("rehearsal_{seed}"), run));
    }
    for (signal, count) in SIGNALS {
        runs.extend((0..count).map(|nth| {
            let name = format!("{}_{nth:02}", signal.to_lowercase());
            let run: Run =
                Box::new(move |shared, name| signalled(shared, name, signal, (nth, count)));
            (name, run)
        }));
    }
    let shared = Arc::new(SharedCheckout::default());
    let trials = runs.into_iter().map(|(name, run)| {
        let shared = Arc::clone(&shared);
        Trial::test(name.clone(), move || {
            run(&shared, &name);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(shared); // stops the local AWS
    conclusion.exit_code()
}

/// What the trials share.
#[derive(Default)]
struct SharedCheckout {
    checkout: OnceLock<CheckoutCopy>,
    /// The events of a release that nothing disturbs, each once.
    moments: OnceLock<Vec<String>>,
}

impl SharedCheckout {
    /// The checkout with all that is in it deployed.
    fn deployed(&self) -> &CheckoutCopy {
        // The copy of the chapters: what they compiled is not compiled again.
        let checkout = self.checkout.get_or_init(|| CheckoutCopy::fresh("story"));
        if checkout.xtask(&["deploy"]).code != Some(0) {
            // A trial failed, and left a hold or a state from which no deploy goes on.
            checkout.xtask(&["local", "reset"]).expect(0, &[]);
            checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
        }
        checkout
    }

    fn moments(&self) -> &[String] {
        self.moments.get_or_init(|| {
            let checkout = self.deployed();
            edit(checkout, "calm");
            let calm = WatchedRun::start(checkout, &["deploy"]);
            let mut moments = Vec::new();
            for event in calm.events {
                if !moments.contains(&event) {
                    moments.push(event);
                }
            }
            moments
        })
    }
}

/// A change of both services, and of sources: axon is compiled, packed and pushed.
fn edit(checkout: &CheckoutCopy, what: &str) {
    let main = "services/axon/src/main.rs";
    let text = checkout.read(main);
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("// edited: "))
        .collect();
    checkout.write(main, &format!("{}\n// edited: {what}\n", code.join("\n")));
    edit_templates(checkout, what);
}

fn edit_templates(checkout: &CheckoutCopy, what: &str) {
    for service in ["axon", "orbit"] {
        checkout.set_in_template(service, "RUST_LOG", &format!("info,{what}=debug"));
    }
}

/// A run of xtask whose events are read while it goes on.
struct WatchedRun {
    child: Child,
    events: Events,
}

struct Events(Lines<BufReader<ChildStderr>>);

impl Iterator for Events {
    type Item = String;

    /// The kind of the next event, and what it is about, or what failed.
    fn next(&mut self) -> Option<String> {
        let line = self.0.next()?.expect("read the events");
        let event: Value = serde_json::from_str(&line).expect("an event");
        let kind = event["event"].as_str().expect("its kind");
        let mut texts = ["component", "subject", "error"].iter();
        let about = texts.find_map(|it| event[*it].as_str());
        Some(match about {
            Some(about) => format!("{kind} {about}"),
            None => kind.to_owned(),
        })
    }
}

impl WatchedRun {
    fn start(checkout: &CheckoutCopy, command: &[&str]) -> Self {
        let mut child = checkout.start(&[command, &["--format", "json"]].concat());
        let stderr = child.stderr.take().expect("its events");
        let events = Events(BufReader::new(stderr).lines());
        Self { child, events }
    }

    #[track_caller]
    fn reach(&mut self, moment: &str) {
        let seen: Vec<String> = self.events.by_ref().take_while(|it| it != moment).collect();
        let is_over = self.child.try_wait().expect("look at xtask").is_some();
        assert!(!is_over, "no {moment} in {seen:?}");
    }

    fn end(mut self) -> Option<i32> {
        self.events.by_ref().for_each(drop);
        self.child.wait().expect("wait for xtask").code()
    }
}

fn traffic(checkout: &CheckoutCopy) -> Traffic {
    let base_url = &checkout.json(&["status"])["base_url"];
    let url = format!("{}/dispatch", base_url.as_str().expect("a base_url"));
    Traffic::start("POST", &url)
}

#[track_caller]
fn assert_nothing_lost(traffic: Traffic, name: &str) {
    let served = traffic.stop();
    served.tell(name);
    assert!(served.answered > 50, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}

fn newest_state(checkout: &CheckoutCopy) -> String {
    let releases = checkout.json(&["releases"]);
    let state = releases[0]["state"].as_str();
    state.expect("a release").to_owned()
}

fn signalled(shared: &SharedCheckout, name: &str, kind: &str, (nth, of): (usize, usize)) {
    let moments = shared.moments();
    let moment = &moments[nth * moments.len() / of];
    let checkout = shared.deployed();
    let traffic = traffic(checkout);
    edit(checkout, name);
    let mut release = WatchedRun::start(checkout, &["deploy"]);
    release.reach(moment);
    signal(kind, release.child.id());
    let code = release.end();
    let state = newest_state(checkout);
    if kind == "KILL" {
        // At the last event there may be nothing left to kill.
        let is_over = (code, state.as_str()) == (Some(0), "succeeded");
        assert!(code.is_none() || is_over, "{code:?}, {state} at {moment}");
    } else {
        assert!(matches!(code, Some(0 | 22 | 130)), "{code:?} at {moment}");
        assert_ne!(state, "in_progress", "at {moment}");
    }

    let mut started = Instant::now();
    let mut next = WatchedRun::start(checkout, &["deploy"]);
    let opened = next.events.by_ref().any(|it| {
        // What was killed in a build is compiled anew, for as long as that takes.
        if it == "compiled" {
            started = Instant::now();
        }
        it == "release_opened"
    });
    let went_on = started.elapsed();
    assert_eq!(next.end(), Some(0), "after {kind} at {moment}");
    let when = if opened { "opened" } else { "nothing to do" };
    println!(
        "{kind} at {moment}: exit {code:?}, {state}; the next run: {when} after {:.1} s",
        went_on.as_secs_f64()
    );
    assert!(went_on < GOES_ON_WITHIN, "{went_on:?}");
    assert_nothing_lost(traffic, name);
}

fn hotfix(shared: &SharedCheckout, name: &str, moment: &str) {
    let checkout = shared.deployed();
    let hotfix = checkout.json(&["status"])["services"]["orbit"]["revision"].take();
    let hotfix = hotfix.as_str().expect("a revision");
    edit(checkout, &format!("{name}_before"));
    checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
    let traffic = traffic(checkout);
    edit(checkout, name);
    let mut release = WatchedRun::start(checkout, &["deploy"]);
    release.reach(moment);
    checkout.update_service("demo-orbit", hotfix);
    let code = release.end();
    assert!(matches!(code, Some(11 | 23)), "{code:?} at {moment}");
    let orbit = &checkout.json(&["status"])["services"]["orbit"]["revision"];
    assert_eq!(orbit, hotfix);
    checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
    assert_nothing_lost(traffic, name);
}

fn rehearsal(shared: &SharedCheckout, name: &str, seed: usize) {
    let checkout = shared.deployed();
    let traffic = traffic(checkout);
    edit(checkout, name);
    let seed = format!("--seed={seed}");
    let faults = ["--rate=0.1", "--stale=0.1", "--blackout=45s"];
    let rehearsal = [
        &["local", "rehearse", &seed],
        &faults[..],
        &["--", "deploy"],
    ]
    .concat();
    let said = ["no network", "answered 200"];
    checkout.xtask(&rehearsal).expect(0, &said);
    assert_eq!(newest_state(checkout), "succeeded");
    assert_nothing_lost(traffic, name);
}

/// A release has read the checkout once its rollout goes on: whoever edits it and begins another one
/// is as on another machine. That is refused, unless it takes over.
fn two_at_once(shared: &SharedCheckout, name: &str) {
    let checkout = shared.deployed();
    let traffic = traffic(checkout);
    edit(checkout, "first");
    let mut release = WatchedRun::start(checkout, &["deploy"]);
    release.reach("rollout axon");
    edit_templates(checkout, "second");
    let said = ["is in progress", "--take-over"];
    checkout.xtask(&["deploy"]).expect(11, &said);
    assert_eq!(release.end(), Some(0));

    let mut release = WatchedRun::start(checkout, &["deploy"]);
    release.reach("rollout axon");
    let rollback = ["rollback", "--take-over", "--yes"];
    checkout.xtask(&rollback).expect(0, &[]);
    assert_eq!(release.end(), Some(23));
    checkout.xtask(&["deploy"]).expect(11, &["--lift-hold"]);
    let lifted = checkout.xtask(&["deploy", "--lift-hold"]);
    lifted.expect(0, &["answered 200"]);
    assert_nothing_lost(traffic, name);
}
