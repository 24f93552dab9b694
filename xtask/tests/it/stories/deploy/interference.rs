//! Other people change the environment during a release, or the user interrupts it.

use xtask::catalog::Component;
use xtask::decide::release::record::ReleaseState;
use xtask::decide::release::rollout::Outcome;

use crate::model::ImageScript;
use crate::world::Fake;
use crate::world::components::{AXON, COMPONENTS, GOVERNANCE, ORBIT};

#[tokio::test(start_paused = true)]
async fn what_somebody_else_deployed_over_ours_is_left_and_told() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.meanwhile("deployment orbit/2", |state| {
        state.hotfix(ORBIT, "demo-orbit:99");
    });
    let output = fake.deploy_all().await;
    output
        .fails(23)
        .says(&["superseded: orbit runs demo-orbit:99", "left alone"]);
    let changes = [
        "update orbit demo-orbit:2",
        "update axon demo-axon:1",
        "move alias to 2",
        "close 2 superseded",
    ];
    assert_eq!(fake.changes_after("register demo-orbit:2"), changes);
    let record = fake.record(2);
    assert_eq!(record.state, ReleaseState::Superseded);
    assert_eq!(
        record.entries.services[&ORBIT].outcome,
        Some(Outcome::Superseded)
    );
    assert_eq!(
        record.entries.services[&AXON].outcome,
        Some(Outcome::RolledBack)
    );
}

#[tokio::test(start_paused = true)]
async fn a_later_release_in_the_ledger_stops_ours_before_its_next_change() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    let later = fake.release_by_grace(3);
    fake.meanwhile("probe axon", move |state| state.put_record(&later));
    let output = fake.deploy_all().await;
    output
        .fails(23)
        .says(&["release 2 was superseded: release 3 by grace@laptop"]);
    assert_eq!(
        fake.changes_after("register demo-axon:2"),
        ["update axon demo-axon:2"]
    );
    assert_eq!(fake.record(2).state, ReleaseState::InProgress);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_long_for_ecs_raises_its_beat_all_the_time() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::PullNeverEnds);
    fake.meanwhile("stopped tasks demo-orbit:2", |state| {
        let beats = state.lock.as_ref().unwrap().beat;
        assert!((150..250).contains(&beats), "15 minutes: {beats}");
    });
    fake.deploy_all().await.fails(20);
    assert_eq!(fake.changes().last().unwrap(), "close 2 rolled back");
}

#[tokio::test(start_paused = true)]
async fn a_later_release_stops_the_taking_back_too() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::PullTimesOut);
    fake.state().ecs.never_goes_back(ORBIT.name());
    let later = fake.release_by_grace(3);
    fake.meanwhile("stopped tasks demo-orbit:2", move |state| {
        state.put_record(&later);
    });
    let output = fake.deploy_all().await;
    output.fails(23).says(&["release 3 by grace@laptop"]);
    assert!(
        !output.talk.contains("aws ecs update-service"),
        "{}",
        output.talk
    );
    assert_eq!(
        fake.changes_after("register demo-orbit:2"),
        ["update orbit demo-orbit:2"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_somebody_else_moved_is_left_alone() {
    let fake = Fake::released().await;
    fake.edit(&[Component::Function(GOVERNANCE)], "two");
    fake.meanwhile("ask 3", |state| state.lambda.move_alias("1"));
    fake.deploy_all()
        .await
        .fails(23)
        .says(&["the alias names version 1 now"]);
    assert_eq!(
        fake.changes(),
        ["open 2", "publish version 3", "close 2 superseded"]
    );
    assert_eq!(fake.state().lambda.alias, "1");
}

#[tokio::test(start_paused = true)]
async fn after_ctrl_c_aws_goes_on_and_the_next_run_goes_on_to_the_end() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.interrupt("update orbit demo-orbit:2");
    let output = fake.deploy_all().await;
    output
        .fails(22)
        .says(&["stopped watching release 2", "cargo xtask status"]);
    let record = fake.record(2);
    assert_eq!(record.state, ReleaseState::Detached);
    assert_eq!(
        record.entries.services[&AXON].outcome,
        Some(Outcome::Succeeded)
    );
    assert_eq!(
        record.entries.services[&ORBIT].outcome,
        Some(Outcome::Detached)
    );
    assert_eq!(
        fake.changes_after("register demo-orbit:2"),
        ["update orbit demo-orbit:2", "close 2 detached"]
    );

    fake.deploy_all()
        .await
        .succeeds()
        .says(&["follow it", "answered 200"]);
    assert_eq!(fake.changes(), ["open 3", "close 3 succeeded"]);
    assert_eq!(fake.record(3).state, ReleaseState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_running_and_fails_goes_back_to_what_succeeded_last() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::PullTimesOut);
    fake.state().ecs.never_goes_back(ORBIT.name());
    fake.interrupt("update orbit demo-orbit:2");
    fake.deploy_all().await.fails(22);
    // A rotation that succeeded is no release to go back to.
    fake.put_record(&fake.rotation_by_grace(3));
    drop(fake.changes());

    fake.deploy_all().await.fails(20);
    assert_eq!(
        fake.changes(),
        ["open 4", "update orbit demo-orbit:1", "close 4 rolled back"]
    );
    fake.edit(&[ORBIT], "three");
    fake.deploy_all().await.succeeds();
}
