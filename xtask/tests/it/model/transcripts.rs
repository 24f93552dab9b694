//! What others published of the real ECS, against the model: stop codes, reasons, states, the order
//! of events. The same transcripts are held against the local AWS (`xtask/emulator/tests`).

use serde_json::Value;

use super::ecs::{EcsCall, EcsModel};
use super::images::ImageScript;
use super::tasks::TaskStatus;
use super::tests::{register, running, update, wait};
use super::truth::Actor;
use super::{Millis, RolloutStatus};

fn transcript(name: &str) -> Value {
    let text = match name {
        "circuit-breaker-events" => {
            include_str!("../../../emulator/tests/transcripts/circuit-breaker-events.json")
        }
        "circuit-breaker-state" => {
            include_str!("../../../emulator/tests/transcripts/circuit-breaker-state.json")
        }
        "completed-state" => {
            include_str!("../../../emulator/tests/transcripts/completed-state.json")
        }
        "completed-then-steady" => {
            include_str!("../../../emulator/tests/transcripts/completed-then-steady.json")
        }
        "failed-target-checks" => {
            include_str!("../../../emulator/tests/transcripts/failed-target-checks.json")
        }
        "image-not-there" => {
            include_str!("../../../emulator/tests/transcripts/image-not-there.json")
        }
        "many-tasks-started" => {
            include_str!("../../../emulator/tests/transcripts/many-tasks-started.json")
        }
        "out-of-memory" => include_str!("../../../emulator/tests/transcripts/out-of-memory.json"),
        "rollback-promotes" => {
            include_str!("../../../emulator/tests/transcripts/rollback-promotes.json")
        }
        "scaled-in" => include_str!("../../../emulator/tests/transcripts/scaled-in.json"),
        "secret-not-readable" => {
            include_str!("../../../emulator/tests/transcripts/secret-not-readable.json")
        }
        "states-of-a-stopping-task" => {
            include_str!("../../../emulator/tests/transcripts/states-of-a-stopping-task.json")
        }
        "stopped-by-hand" => {
            include_str!("../../../emulator/tests/transcripts/stopped-by-hand.json")
        }
        "target-reasons" => {
            include_str!("../../../emulator/tests/transcripts/target-reasons.json")
        }
        _ => panic!("no transcript {name}"),
    };
    serde_json::from_str(text).unwrap()
}

/// A text in which ids, numbers and free words stand as `{name}`, against what was said.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    for (index, part) in pattern.split('{').enumerate() {
        let literal = match (index, part.split_once('}')) {
            (0, _) => part,
            (_, Some((_, literal))) => literal,
            (_, None) => return false,
        };
        match rest.find(literal) {
            Some(at) if index > 0 || at == 0 => rest = &rest[at + literal.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('}')
}

/// The events of the pattern come in this order.
fn come_in_order(model: &mut EcsModel, patterns: &Value, from: Millis) {
    let events: Vec<String> = model.services["s"]
        .events
        .iter()
        .filter(|(id, _)| id.split('-').next().unwrap().parse::<Millis>().unwrap() >= from)
        .map(|(_, text)| text.clone())
        .collect();
    let mut left = events.iter();
    for pattern in patterns.as_array().unwrap() {
        // Another task set's and another target's names are left out by some.
        let pattern = pattern.as_str().unwrap();
        let pattern = pattern.replace("(port {port})", "{port}");
        let pattern = pattern.replace("(task {task}) {port}", "{port}");
        let pattern = pattern.replace("these codes: [500]", "");
        let pattern = pattern.replace(" with ).", ").");
        let found = left.any(|text| is_like(&pattern, text));
        assert!(found, "no `{pattern}` in its place in {events:#?}");
    }
}

fn released(seed: u64, script: ImageScript, time: Millis) -> (EcsModel, Millis) {
    let mut model = running(seed, 2);
    let from = model.now;
    let second = register(&mut model, script);
    update(&mut model, &second, None);
    wait(&mut model, time);
    (model, from)
}

#[test]
fn tasks_that_fail_have_the_codes_and_reasons_that_were_seen() {
    let scripts = [
        ("image-not-there", ImageScript::NotPulled),
        ("secret-not-readable", ImageScript::SecretMissing),
        ("out-of-memory", ImageScript::OutOfMemory),
    ];
    for (name, script) in scripts {
        let seen = transcript(name);
        let (model, _) = released(3, script, 15 * 60_000);
        let mut stopped = model.stopped_tasks("s", "s:2");
        // Those that still ran when the breaker was triggered are stopped by ECS.
        stopped.retain(|it| it.stop_code != "ServiceSchedulerInitiated");
        let task = stopped.remove(0);
        assert_eq!(seen["task"]["stopCode"], task.stop_code, "{name}");
        let reason = seen["task"]["stoppedReason"].as_str().unwrap();
        assert!(
            is_like(reason, &task.stopped_reason),
            "{}",
            task.stopped_reason
        );
        let container = &seen["container"];
        if !container.is_null() {
            assert_eq!(container["exitCode"], task.exit_code.unwrap());
            assert_eq!(container["reason"], task.container_reason.unwrap());
        }
    }
}

#[test]
fn a_task_that_is_stopped_passes_the_states_that_were_seen() {
    let seen = transcript("states-of-a-stopping-task");
    let mut model = running(1, 1);
    let reason = transcript("stopped-by-hand")["task"]["stoppedReason"].clone();
    let reason = reason.as_str().unwrap().to_owned();
    let stop = EcsCall::StopTask {
        service: "s".to_owned(),
        reason,
    };
    let mut states = vec![model.services["s"].tasks[0].status];
    model.call(Actor::Person, false, &stop).unwrap();
    while *states.last().unwrap() != TaskStatus::Stopped {
        states.push(model.services["s"].tasks[0].status);
        states.dedup();
        wait(&mut model, 100);
    }
    let states: Vec<&str> = states.into_iter().map(TaskStatus::text).collect();
    assert_eq!(seen["states"], Value::from(states));
    let by_hand = transcript("stopped-by-hand");
    let stopped = model.stopped_tasks("s", "s:1").remove(0);
    assert_eq!(by_hand["task"]["stopCode"], stopped.stop_code);
    assert_eq!(by_hand["task"]["stoppedReason"], stopped.stopped_reason);
}

#[test]
fn events_come_in_the_order_that_was_seen() {
    for seed in 0..20 {
        let (mut model, from) = released(seed, ImageScript::Good, 15 * 60_000);
        come_in_order(
            &mut model,
            &transcript("completed-then-steady")["events"],
            from,
        );
        let (mut model, from) = released(seed, ImageScript::NeverListens, 15 * 60_000);
        come_in_order(
            &mut model,
            &transcript("failed-target-checks")["events"],
            from,
        );
        come_in_order(
            &mut model,
            &transcript("circuit-breaker-events")["events"],
            from,
        );
        if !model.services["s"].undecided.one_at_a_time {
            let started = &transcript("many-tasks-started")["events"];
            come_in_order(&mut model, started, 0);
        }
    }
}

#[test]
fn deployments_are_in_the_states_that_were_seen() {
    let completed = transcript("completed-state");
    let (mut model, _) = released(1, ImageScript::Good, 15 * 60_000);
    let primary = model
        .describe_service("s", 0)
        .unwrap()
        .deployments
        .remove(0);
    let reason = completed["deployments"][0]["rolloutStateReason"]
        .as_str()
        .unwrap();
    assert_eq!(primary.rollout, RolloutStatus::Completed);
    assert!(is_like(reason, &primary.reason), "{}", primary.reason);

    let failed = transcript("circuit-breaker-state");
    let reason = failed["deployments"][0]["rolloutStateReason"]
        .as_str()
        .unwrap();
    let back = &transcript("rollback-promotes")["going_back"];
    let mut were_going_back = 0;
    for seed in 0..20 {
        let (mut model, _) = released(seed, ImageScript::NeverListens, 0);
        while model.primary("s") == "s:2" {
            wait(&mut model, 100);
        }
        let deployments = model.describe_service("s", 0).unwrap().deployments;
        let (first, second) = (&deployments[0], &deployments[1]);
        if first.rollout == RolloutStatus::Completed {
            // Nothing was left to do.
            continue;
        }
        were_going_back += 1;
        assert_eq!(back[0]["rolloutState"], "IN_PROGRESS");
        assert_eq!(
            (first.primary, first.rollout),
            (true, RolloutStatus::InProgress)
        );
        assert_eq!(first.revision, "s:1");
        assert_eq!(
            (second.primary, second.rollout),
            (false, RolloutStatus::Failed)
        );
        assert_eq!(back[1]["desiredCount"], second.desired);
        assert_eq!(reason, second.reason);
    }
    assert!(were_going_back > 5, "{were_going_back}");
}

#[test]
fn what_is_scaled_in_stops_as_it_was_seen() {
    let seen = transcript("scaled-in");
    let mut model = running(2, 2);
    let first = model.primary("s").to_owned();
    update(&mut model, &first, Some(1));
    wait(&mut model, 60_000);
    let task = model.stopped_tasks("s", "s:1").remove(0);
    assert_eq!(seen["task"]["stopCode"], task.stop_code);
    let reason = seen["task"]["stoppedReason"].as_str().unwrap();
    assert!(
        is_like(reason, &task.stopped_reason),
        "{}",
        task.stopped_reason
    );
}

#[test]
fn targets_have_the_states_and_reasons_of_the_api() {
    let known = transcript("target-reasons");
    let known: Vec<(&str, Option<&str>)> = known["targets"]
        .as_object()
        .unwrap()
        .values()
        .map(|it| (it[0].as_str().unwrap(), it[1].as_str()))
        .collect();
    let mut found = Vec::new();
    for script in [ImageScript::Good, ImageScript::NeverListens] {
        let (mut model, _) = released(4, script, 0);
        for _ in 0..1_000 {
            wait(&mut model, 200);
            for target in model.target_health("s") {
                let words = (target.state, target.reason);
                assert!(known.contains(&words), "{words:?}");
                if !found.contains(&words) {
                    found.push(words);
                }
            }
        }
    }
    assert!(found.len() >= 5, "{found:?}");
}
