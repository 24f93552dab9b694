//! Releases that fail: everything that they changed is rolled back, in reverse order.

use serde_json::Value;
use xtask::catalog::Component;
use xtask::commands::deploy::{Options, deploy};
use xtask::decide::release::record::ReleaseState;
use xtask::decide::release::rollout::Outcome;
use xtask::ports::WallClock;
use xtask::report::Format;

use crate::model::{ImageScript, ServiceDeploymentStatus};
use crate::world::components::{AXON, COMPONENTS, ORBIT, SERVICES};
use crate::world::{Answers, Fake, FakeState, Written};

/// The changes of a release of all three components, up to orbit.
const FORWARD: [&str; 9] = [
    "open 2",
    "push axon",
    "push orbit",
    "publish version 3",
    "move alias to 3",
    "register demo-axon:2",
    "update axon demo-axon:2",
    "register demo-orbit:2",
    "update orbit demo-orbit:2",
];

/// A release of all three components in which orbit has this outcome.
async fn release_where_orbit(image: ImageScript) -> Fake {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, image);
    fake
}

#[track_caller]
fn everything_is_back(fake: &Fake) {
    let state = fake.state();
    assert_eq!(state.primary(AXON), "demo-axon:1");
    assert_eq!(state.primary(ORBIT), "demo-orbit:1");
    assert_eq!(state.lambda.alias, "2");
    drop(state);
    let record = fake.record(2);
    assert_eq!(record.state, ReleaseState::RolledBack);
    assert!(record.closed.is_some());
    for entry in record.entries.services.values() {
        assert_eq!(entry.outcome, Some(Outcome::RolledBack));
        assert_eq!(entry.after, entry.before);
    }
    for entry in record.entries.functions.values() {
        assert_eq!(entry.outcome, Some(Outcome::RolledBack));
        assert_eq!(entry.after, entry.before);
    }
}

#[tokio::test(start_paused = true)]
async fn in_json_a_release_that_failed_has_no_result_and_its_failure_is_the_last_event() {
    let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
    let output = fake.deploy_in::<Component>(Format::Json, &[]).await;
    assert_eq!(output.fails(20).data, "");
    let last: Value = serde_json::from_str(output.talk.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"failure".into(), &20.into())
    );
}

#[tokio::test(start_paused = true)]
async fn where_ecs_goes_back_by_itself_the_rest_follows_in_reverse_order() {
    let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
    fake.hide_tasks_until_given_up(ORBIT);
    let output = fake.deploy_all().await;
    output.fails(20);
    let back = [
        "update axon demo-axon:1",
        "move alias to 2",
        "close 2 rolled back",
    ];
    assert_eq!(fake.changes(), [&FORWARD[..], &back].concat());
    everything_is_back(&fake);
    let mut stopped = fake.state().ecs.stopped_tasks("orbit", "demo-orbit:2");
    stopped.retain(|it| it.exit_code == Some(101));
    let (id, others) = (&stopped[0].id, stopped.len() - 1);
    output.says(&[
        "release 2 failed",
        "what        orbit",
        "the circuit breaker threshold was exceeded",
        &format!(
            "task        {} EssentialContainerExited: Essential container",
            &id[..8]
        ),
        "container orbit exit code 101",
        &format!("log       last words in /ecs/demo-orbit ecs/orbit/{id}"),
        &format!("tasks       {others} more stopped the same way"),
        "orbit       rolled back to demo-orbit:1",
        "axon        rolled back to demo-axon:1",
        "governance  rolled back to 2",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_only_drained_is_no_evidence() {
    let drained = "ServiceSchedulerInitiated";
    for seed in 1.. {
        let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
        fake.hide_tasks_until_given_up(ORBIT);
        fake.state().ecs.roll(seed);
        let output = fake.deploy_all().await;
        output.fails(20).says(&["EssentialContainerExited"]);
        assert!(!output.talk.contains(drained), "{}", output.talk);
        let stopped = fake.state().ecs.stopped_tasks("orbit", "demo-orbit:2");
        if stopped.iter().any(|it| it.stop_code == drained) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_health_check_is_told_with_what_the_load_balancer_and_ecs_said() {
    let fake = release_where_orbit(ImageScript::NeverListens).await;
    fake.hide_tasks_until_given_up(ORBIT);
    let earlier = "was unable to place a task, a week ago";
    fake.state().ecs.tell(ORBIT.name(), earlier);
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "why         Task failed ELB health checks in (target-group demo); \
            Service deployment rolled back because the circuit breaker threshold was exceeded",
        "task        0004orbi ServiceSchedulerInitiated: Task failed ELB health checks",
        "targets     Health checks failed",
        "event       (port 80) is unhealthy in (target-group arn) due to (reason Health checks failed)",
        "orbit       rolled back to demo-orbit:1",
    ]);
    assert!(!output.talk.contains("a week ago"), "{}", output.talk);
    everything_is_back(&fake);
}

/// Such as no capacity, which ECS waits for.
#[tokio::test(start_paused = true)]
async fn what_keeps_ecs_from_going_on_is_told_meanwhile() {
    let fake = release_where_orbit(ImageScript::PullTimesOut).await;
    fake.meanwhile("update orbit demo-orbit:2", |state| {
        let told = "was unable to place a task. Reason: Capacity is unavailable at this time.";
        state.ecs.tell(ORBIT.name(), told);
    });
    fake.deploy_all().await.fails(20).says(&[
        "; waiting for tasks to",
        "was unable to place a task. Reason: Capacity is unavailable at this time.",
    ]);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_dead_task_is_waited_for_but_not_for_ever() {
    for (looks, comes) in [(3, true), (1000, false)] {
        let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
        fake.state().logs_are_late = looks;
        let output = fake.deploy_all().await;
        output.fails(20).says(&["container orbit exit code 101"]);
        assert_eq!(output.talk.contains("log       last words"), comes);
    }
    let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
    fake.fail("tail", 1);
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "container orbit exit code 101",
        "log       could not be read: refused",
    ]);
}

#[tokio::test(start_paused = true)]
async fn where_ecs_does_not_go_back_we_act() {
    let fake = release_where_orbit(ImageScript::PullTimesOut).await;
    fake.state().ecs.never_goes_back(ORBIT.name());
    fake.deploy_all().await.fails(20);
    let back = [
        "update orbit demo-orbit:1",
        "update axon demo-axon:1",
        "move alias to 2",
        "close 2 rolled back",
    ];
    assert_eq!(fake.changes_after("update orbit demo-orbit:2"), back);
    everything_is_back(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_listens_has_not_succeeded_although_ecs_says_so() {
    let fake = release_where_orbit(ImageScript::AnswersChecksOnly).await;
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "did not prove itself",
        "503 from a task that names no revision",
    ]);
    let back = fake.changes_after("update orbit demo-orbit:2");
    assert_eq!(back.first().unwrap(), "update orbit demo-orbit:1");
    everything_is_back(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_ends_neither_way_is_taken_back_when_its_time_is_over() {
    let fake = release_where_orbit(ImageScript::PullNeverEnds).await;
    let output = fake.deploy_all().await;
    output
        .fails(20)
        .says(&["timed out with 0 of 2 tasks running"]);
    everything_is_back(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_stands_still_is_looked_at_less_and_less_in_aws() {
    // The way back, which takes ECS some seconds, is looked at too.
    for (is_local, looks_at_most) in [(true, 2_300), (false, 290)] {
        let fake = release_where_orbit(ImageScript::PullNeverEnds).await;
        if !is_local {
            fake.is_not_local();
        }
        let options = Options {
            components: COMPONENTS.to_vec(),
            dry_run: false,
            yes: true,
            lift_hold: false,
        };
        let before = fake.calls().len();
        let output = fake.run(async |context| deploy(context, &options).await);
        output.await.fails(20);
        let calls = fake.calls().split_off(before);
        let looks = calls.iter().filter(|it| *it == "look orbit").count();
        let least = looks_at_most * 8 / 10;
        assert!((least..=looks_at_most).contains(&looks), "{looks}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_that_is_not_answered_takes_everything_back() {
    let fake = release_where_orbit(ImageScript::Good).await;
    fake.state().dispatch_status = 502;
    let output = fake.deploy_all().await;
    output.fails(20).says(&["a dispatch was not answered: 502"]);
    everything_is_back(&fake);
}

/// What was called answers, so only the logs know why.
#[tokio::test(start_paused = true)]
async fn a_dispatch_that_lacks_a_permission_says_which() {
    let fake = release_where_orbit(ImageScript::Good).await;
    let now = WallClock::now(&fake);
    let line = |text| Written {
        at: now,
        arrives: now,
        text,
    };
    fake.state().dispatch_status = 503;
    fake.state().logs_are_late = 4;
    fake.state().written = vec![
        line(r#"{"message":"request","correlation_id":"release-2"}"#),
        line(
            r#"{"message":"governance cannot answer","correlation_id":"release-2","error":"User: arn:aws:sts::1:assumed-role/demo-orbit/1 is not authorized to perform: lambda:InvokeFunction on resource: live"}"#,
        ),
    ];
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "cause       permission missing: the role demo-orbit may not call lambda:InvokeFunction",
        "log         orbit: governance cannot answer: User: arn:aws:sts::1",
    ]);
    everything_is_back(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_first_release_that_fails_goes_back_to_the_placeholder_with_none_desired() {
    for image in [
        ImageScript::CrashesAtOnce,
        ImageScript::PullTimesOut,
        ImageScript::AnswersChecksOnly,
        ImageScript::PullNeverEnds,
    ] {
        let fake = Fake::applied();
        fake.script(ORBIT, image);
        fake.deploy_all().await.fails(20);
        let back = [
            "update orbit demo-orbit-placeholder:1 desired 0",
            "update axon demo-axon-placeholder:1 desired 0",
            "move alias to 1",
            "close 1 rolled back",
        ];
        assert_eq!(
            fake.changes_after("update orbit demo-orbit:1 desired 2"),
            back,
            "{image:?}"
        );
        for service in SERVICES {
            let state = fake.state();
            assert_eq!(state.desired(service), 0);
            assert!(state.primary(service).contains("placeholder"));
        }
        fake.edit(&[ORBIT], "two");
        fake.deploy_all().await.succeeds();
    }
}

#[tokio::test(start_paused = true)]
async fn two_tasks_that_die_of_one_lasting_cause_stop_the_deployment_early() {
    let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "stopping the deployment: container exited: orbit exited with 101",
        "cause       container exited: orbit exited with 101: last words in /ecs/demo-orbit",
        "remedy      the program ended by itself",
        "orbit       rolled back to demo-orbit:1",
    ]);
    assert!(
        !output.talk.contains("stopped by somebody"),
        "{}",
        output.talk
    );
    let changes = fake.changes_after("update orbit demo-orbit:2");
    assert_eq!(changes[0], "stop orbit/2");
    everything_is_back(&fake);

    // There is nothing that ECS could go back to.
    let fake = Fake::applied();
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    let changes = fake.changes_after("update orbit demo-orbit:1 desired 2");
    assert_eq!(
        changes[0],
        "update orbit demo-orbit-placeholder:1 desired 0"
    );
}

#[tokio::test(start_paused = true)]
async fn stopped_tasks_that_cannot_be_read_for_a_while_end_no_release() {
    let fake = release_where_orbit(ImageScript::CrashesAtOnce).await;
    fake.fail("stopped tasks demo-orbit:2", 3);
    let output = fake.deploy_all().await;
    output.fails(20).says(&["stopping the deployment"]);
    everything_is_back(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_somebody_stops_is_told_as_that() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.meanwhile("deployment orbit/2", |state| {
        state.stop_deployment_by_hand(ORBIT);
    });
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "cause       deployment stopped by somebody",
        "orbit       rolled back to demo-orbit:1",
    ]);
    everything_is_back(&fake);
}

/// The services alone show what becomes of a rollout, and the action that is missing is named.
#[tokio::test(start_paused = true)]
async fn without_permission_for_service_deployments_the_services_are_followed() {
    for (script, exit_code) in [(ImageScript::Good, 0), (ImageScript::CrashesAtOnce, 20)] {
        let fake = release_where_orbit(script).await;
        fake.deny("deployments");
        let before = fake.calls().len();
        let output = fake.deploy_all().await;
        assert_eq!(output.exit_code, exit_code, "{}", output.talk);
        output.says(&["service deployments cannot be read, going by the services"]);
        let warnings = output.talk.matches("service deployments cannot be read");
        assert_eq!(warnings.count(), 1);
        let calls = fake.calls().split_off(before);
        let asked = calls.iter().filter(|it| it.starts_with("deployment"));
        assert_eq!(asked.count(), 1, "once refused it is not asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_permits_what_it_must_deny_never_gets_the_alias() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.state().lambda.script = Answers::YesToAll;
    let output = fake.deploy_all().await;
    output
        .fails(20)
        .says(&["version 3 answered", "expected {\"allowed\":false}"]);
    let changes = [
        "open 2",
        "push axon",
        "push orbit",
        "publish version 3",
        "close 2 rolled back",
    ];
    assert_eq!(fake.changes(), changes);
    assert_eq!(fake.state().lambda.alias, "2");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_back_is_told_with_the_command_that_brings_it_back() {
    let fake = release_where_orbit(ImageScript::PullTimesOut).await;
    fake.state().ecs.never_goes_back(ORBIT.name());
    fake.fail("update orbit demo-orbit:1", 5);
    let output = fake.deploy_all().await;
    output.fails(21).says(&[
        "orbit       warning: ROLLBACK FAILED: refused",
        "axon        rolled back to demo-axon:1",
        "governance  rolled back to 2",
        "hint: aws ecs update-service --cluster demo-local --service demo-orbit \
         --task-definition demo-orbit:1 --force-new-deployment\n",
    ]);
    let record = fake.record(2);
    assert_eq!(record.state, ReleaseState::RollbackFailed);
    assert_eq!(
        record.entries.services[&ORBIT].outcome,
        Some(Outcome::RollbackFailed)
    );
    assert_eq!(
        record.entries.services[&AXON].outcome,
        Some(Outcome::RolledBack)
    );
}

#[tokio::test(start_paused = true)]
async fn the_command_for_a_first_release_that_is_stuck_sends_the_desired_count() {
    let fake = Fake::applied();
    fake.script(AXON, ImageScript::CrashesAtOnce);
    fake.fail("update axon demo-axon-placeholder:1", 5);
    let output = fake.deploy_all().await;
    output
        .fails(21)
        .says(&["update-service --cluster demo-local --service demo-axon --desired-count 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_cannot_be_registered_has_changed_nothing_that_runs() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    fake.fail("register demo-axon", 1);
    fake.deploy_all()
        .await
        .fails(20)
        .says(&["what        axon", "refused: register"]);
    assert_eq!(
        fake.changes(),
        ["open 2", "push axon", "close 2 rolled back"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_after_a_stop_that_fails_stops_again() {
    let fake = Fake::released().await;
    fake.run_on_outputs(async |context, outputs| {
        xtask::commands::rollback::stop(context, outputs, true).await
    })
    .await
    .succeeds();
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    for service in SERVICES {
        assert_eq!(fake.state().desired(service), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_exposed_is_taken_back_by_what_its_targets_say() {
    let fake = Fake::released().await;
    fake.state().published.as_mut().unwrap()["services"]["axon"]["probe"] = Value::Null;
    fake.edit(&[AXON], "two");
    let is_completed = |state: &FakeState| {
        let status = state.deployment_status(AXON);
        state.primary(AXON) == "demo-axon:2" && status == Some(ServiceDeploymentStatus::Successful)
    };
    fake.once(is_completed, |state| state.ecs.falls_sick(AXON.name()));
    fake.deploy_all()
        .await
        .fails(20)
        .says(&["targets are unhealthy, unhealthy"]);
    assert_eq!(
        fake.changes_after("update axon demo-axon:2"),
        ["update axon demo-axon:1", "close 2 rolled back"]
    );
}
