//! What the model does, as AWS's documents have it.

use serde_json::json;

use super::deployments::{ServiceDeploymentStatus, breaker_threshold};
use super::ecs::{AlarmSettings, EcsCall, EcsModel, UpdateCall};
use super::images::ImageScript;
use super::truth::{Actor, Runs};
use super::{Millis, RolloutStatus};

const SEEDS: u64 = 60;
/// More than any rollout takes here.
const LONG: Millis = 15 * 60_000;
const ACTOR: Actor = Actor::Process(1);

/// The service `s` runs revision `s:1` with so many tasks.
pub(super) fn running(seed: u64, desired: u32) -> EcsModel {
    let mut model = EcsModel::new(seed);
    model.create_service("s", "s-placeholder:1");
    let first = register(&mut model, ImageScript::Good);
    update(&mut model, &first, Some(desired));
    let now = model.now;
    model.advance(now + LONG);
    model
}

pub(super) fn register(model: &mut EcsModel, script: ImageScript) -> String {
    let body = json!({ "family": "s" });
    let call = EcsCall::Register {
        body,
        tag: None,
        script: Some(script),
    };
    model.call(ACTOR, false, &call).unwrap().unwrap()
}

pub(super) fn update(model: &mut EcsModel, revision: &str, desired: Option<u32>) {
    let update = UpdateCall {
        service: "s".to_owned(),
        revision: Some(revision.to_owned()),
        desired,
        ..UpdateCall::default()
    };
    model.call(ACTOR, false, &EcsCall::Update(update)).unwrap();
}

pub(super) fn wait(model: &mut EcsModel, time: Millis) {
    model.advance(model.now + time);
}

fn runs(model: &EcsModel) -> &Runs {
    &model.truth.moments.last().unwrap().runs["s"]
}

fn whole(revision: &str) -> Runs {
    Runs::Whole(revision.to_owned())
}

#[test]
fn a_good_revision_takes_the_place_of_the_one_before_without_a_dip() {
    for seed in 0..SEEDS {
        for desired in [1, 2, 5] {
            let mut model = running(seed, desired);
            assert_eq!(*runs(&model), whole("s:1"), "{seed}");
            let second = register(&mut model, ImageScript::Good);
            update(&mut model, &second, None);
            let seen = model.describe_service("s", 0).unwrap();
            assert_eq!(seen.deployments[0].rollout, RolloutStatus::InProgress);
            assert!(seen.current.is_some());
            wait(&mut model, LONG);
            assert_eq!(*runs(&model), whole("s:2"), "{seed} {desired}");
            assert_eq!(model.truth.dips, [""; 0], "{seed} {desired}");
            let seen = model.describe_service("s", 0).unwrap();
            assert_eq!(seen.deployments.len(), 1);
            assert_eq!((seen.running, seen.pending), (desired, 0));
            let newest = model.service_deployments("s").last().unwrap();
            assert_eq!(newest.status, ServiceDeploymentStatus::Successful);
        }
    }
}

#[test]
fn the_breaker_goes_back_to_what_was_completed_and_the_old_tasks_never_end() {
    let scripts = [
        ImageScript::CrashesAtOnce,
        ImageScript::NeverListens,
        ImageScript::OutOfMemory,
        ImageScript::NotPulled,
        ImageScript::SecretMissing,
    ];
    for seed in 0..SEEDS {
        for script in scripts {
            let mut model = running(seed, 2);
            let second = register(&mut model, script);
            update(&mut model, &second, None);
            wait(&mut model, LONG);
            assert_eq!(*runs(&model), whole("s:1"), "{seed} {script:?}");
            assert_eq!(model.primary("s"), "s:1");
            assert_eq!(model.truth.dips, [""; 0], "{seed} {script:?}");
            let newest = model.service_deployments("s").last().unwrap();
            assert_eq!(newest.status, ServiceDeploymentStatus::RollbackSuccessful);
            assert_eq!(newest.breaker, "TRIGGERED");
            assert_eq!(newest.back_to.as_deref(), Some("s:1"));
            let failed = model.stopped_tasks("s", "s:2").len();
            assert!((3..9).contains(&failed), "{seed} {script:?}: {failed}");
        }
    }
}

#[test]
fn the_breaker_counts_half_of_the_desired_count_within_its_bounds() {
    let thresholds = [1, 2, 6, 7, 25, 400, 800].map(breaker_threshold);
    assert_eq!(thresholds, [3, 3, 3, 4, 13, 200, 200]);
}

#[test]
fn a_healthy_task_resets_the_breaker_so_that_nothing_ends_the_deployment() {
    let mut endless = 0;
    for seed in 0..SEEDS {
        let mut model = running(seed, 2);
        let second = register(&mut model, ImageScript::CrashesLater);
        update(&mut model, &second, None);
        wait(&mut model, 120_000);
        let seen = model.describe_service("s", 0).unwrap();
        endless += u32::from(seen.deployments[0].revision == "s:2");
    }
    assert!(u64::from(endless) > SEEDS * 3 / 4, "{endless}");
}

#[test]
fn without_a_completed_deployment_that_can_be_deployed_a_failed_one_stays() {
    let mut stayed = 0;
    let mut went_back = 0;
    for seed in 0..SEEDS {
        let mut model = EcsModel::new(seed);
        model.create_service("s", "s-placeholder:1");
        let first = register(&mut model, ImageScript::CrashesAtOnce);
        update(&mut model, &first, Some(2));
        wait(&mut model, LONG);
        let seen = model.describe_service("s", 0).unwrap();
        assert_eq!(seen.desired, 2, "the desired count is the one of now");
        if seen.deployments[0].revision == "s:1" {
            assert_eq!(seen.deployments[0].rollout, RolloutStatus::Failed);
            stayed += 1;
        } else {
            went_back += 1;
        }
        update(&mut model, &first, Some(0));
        wait(&mut model, LONG);
        assert_eq!(*runs(&model), Runs::Nothing, "{seed}");
    }
    assert!(stayed > 10 && went_back > 10, "{stayed} {went_back}");
}

#[test]
fn a_failed_task_of_the_old_revision_is_replaced_by_the_old_one() {
    for seed in 0..SEEDS {
        let mut model = running(seed, 2);
        let second = register(&mut model, ImageScript::NeverListens);
        update(&mut model, &second, None);
        wait(&mut model, 20_000);
        let stop = EcsCall::StopTask {
            service: "s".to_owned(),
            reason: "by hand".to_owned(),
        };
        model.call(Actor::Person, false, &stop).unwrap();
        wait(&mut model, LONG);
        assert_eq!(*runs(&model), whole("s:1"), "{seed}");
        let stopped = model.stopped_tasks("s", "s:1");
        assert!(stopped.iter().any(|it| it.stop_code == "UserInitiated"));
    }
}

#[test]
fn an_alarm_ends_a_deployment_while_it_bakes_unless_it_was_on_before() {
    for (before, ends_on) in [(false, "s:1"), (true, "s:2")] {
        for seed in 0..SEEDS {
            let mut model = running(seed, 2);
            let alarms = AlarmSettings {
                names: vec!["a".to_owned()],
                enabled: true,
                rollback: true,
            };
            let set = UpdateCall {
                service: "s".to_owned(),
                alarms: Some(alarms),
                ..UpdateCall::default()
            };
            model.call(ACTOR, false, &EcsCall::Update(set)).unwrap();
            let alarm = |on| EcsCall::Alarm {
                service: "s".to_owned(),
                on,
            };
            model.call(Actor::Ecs, false, &alarm(before)).unwrap();
            let second = register(&mut model, ImageScript::Good);
            update(&mut model, &second, None);
            while *runs(&model) != whole("s:2") {
                wait(&mut model, 500);
            }
            wait(&mut model, 2_000);
            let seen = model.describe_service("s", 0).unwrap();
            let moves = seen.deployments[0].rollout == RolloutStatus::InProgress;
            assert!(moves || before, "{seed}: it bakes");
            model.call(Actor::Ecs, false, &alarm(true)).unwrap();
            wait(&mut model, LONG);
            assert_eq!(*runs(&model), whole(ends_on), "{seed}");
        }
    }
}

#[test]
fn the_load_balancer_fails_open_where_no_target_is_healthy() {
    let mut model = EcsModel::new(7);
    model.create_service("s", "s-placeholder:1");
    let first = register(&mut model, ImageScript::SlowStart);
    update(&mut model, &first, Some(1));
    let (mut silent, mut answered) = (0, 0);
    while model
        .target_health("s")
        .first()
        .is_none_or(|it| it.state != "healthy")
    {
        wait(&mut model, 100);
        match model.request("s") {
            Some(revision) => {
                assert_eq!(revision, "s:1");
                answered += 1;
            }
            None => silent += 1,
        }
    }
    assert!(silent > 0 && answered > 0, "{silent} {answered}");
}

#[test]
fn an_inactive_revision_is_refused_and_the_same_one_starts_no_deployment() {
    let mut model = running(1, 2);
    let first = model.primary("s").to_owned();
    update(&mut model, &first, None);
    assert_eq!(model.describe_service("s", 0).unwrap().deployments.len(), 1);
    let second = register(&mut model, ImageScript::Good);
    model
        .call(ACTOR, false, &EcsCall::Deregister(second.clone()))
        .unwrap();
    let update = UpdateCall {
        service: "s".to_owned(),
        revision: Some(second),
        ..UpdateCall::default()
    };
    let refused = model
        .call(ACTOR, false, &EcsCall::Update(update))
        .unwrap_err();
    assert!(refused.0.contains("inactive"), "{refused:?}");
}

#[test]
fn a_stale_answer_is_what_was_answered_then_and_a_late_call_comes_at_its_time() {
    let mut model = running(1, 2);
    let second = register(&mut model, ImageScript::Good);
    let update = UpdateCall {
        service: "s".to_owned(),
        revision: Some(second),
        ..UpdateCall::default()
    };
    let at = model.now + 30_000;
    model.in_advance(at, ACTOR, true, EcsCall::Update(update));
    wait(&mut model, 29_000);
    assert_eq!(model.primary("s"), "s:1");
    wait(&mut model, 2_000);
    assert_eq!(model.primary("s"), "s:2");
    let stale = model.describe_service("s", 3_000).unwrap();
    assert_eq!(stale.deployments[0].revision, "s:1");
    let change = model.truth.changes.last().unwrap();
    assert!(change.late && change.at == at && change.from == "s:1");
}

#[test]
fn the_same_seed_and_calls_give_the_same_history() {
    let history = |seed| {
        let mut model = running(seed, 3);
        let second = register(&mut model, ImageScript::SickLater);
        update(&mut model, &second, None);
        wait(&mut model, LONG);
        format!("{:?}", model.truth)
    };
    for seed in 0..10 {
        assert_eq!(history(seed), history(seed));
    }
    assert_ne!(history(1), history(2));
}
