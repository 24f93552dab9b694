//! `rollback --stop`: set the desired counts to 0, wait, deregister the revisions.

use std::time::Duration;

use xtask::commands::rollback::{rollback, stop};
use xtask::decide::release::record::{RecordKind, ReleaseState};
use xtask::decide::release::rollout::Outcome;

use crate::world::components::{AXON, GOVERNANCE, ORBIT, SERVICES};
use crate::world::{CommandOutput, Fake, back_to};

async fn stop_all(fake: &Fake) -> CommandOutput {
    fake.run_on_outputs(async |context, outputs| stop(context, outputs, false).await)
        .await
}

#[tokio::test(start_paused = true)]
async fn orbit_goes_first_and_what_ran_is_deregistered() {
    let fake = Fake::released().await;
    stop_all(&fake).await.succeeds();
    let changes = [
        "open 2",
        "update orbit demo-orbit:1 desired 0",
        "deregister demo-orbit:1",
        "update axon demo-axon:1 desired 0",
        "deregister demo-axon:1",
        "close 2 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
    let record = fake.record(2);
    assert_eq!((record.kind, &*record.why), (RecordKind::Stop, "stop"));
    let entry = &record.entries.services[&AXON];
    assert_eq!(
        (&entry.after, entry.outcome),
        (&None, Some(Outcome::Succeeded))
    );
    assert!(
        record.entries.functions[&GOVERNANCE].after.is_some(),
        "the function stays"
    );
    stop_all(&fake).await.succeeds().says(&["nothing runs"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_starts_again_what_ran_before_the_stop() {
    let fake = Fake::released().await;
    stop_all(&fake).await.succeeds();
    drop(fake.changes());
    let again = async |fake: &Fake| {
        fake.run_on_outputs(async |context, outputs| {
            rollback(context, outputs, &back_to(None)).await
        })
        .await
    };
    again(&fake)
        .await
        .succeeds()
        .says(&["to release 1", "answered 200"]);
    let changes = [
        "open 3",
        "register demo-axon:2",
        "update axon demo-axon:2 desired 2",
        "register demo-orbit:2",
        "update orbit demo-orbit:2 desired 2",
        "close 3 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
    fake.deploy_all().await.succeeds().says(&["nothing to do"]);
}

#[tokio::test(start_paused = true)]
async fn a_deploy_after_a_stop_releases_anew() {
    let fake = Fake::released().await;
    stop_all(&fake).await.succeeds();
    drop(fake.changes());
    fake.deploy_all().await.succeeds();
    let changes = fake.changes_after("open 3");
    assert!(changes.starts_with(&[
        "register demo-axon:2".to_owned(),
        "update axon demo-axon:2 desired 2".to_owned(),
    ]));
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_the_way_is_recorded_and_the_next_stop_goes_on() {
    let fake = Fake::released().await;
    fake.fail("update axon", 1);
    stop_all(&fake)
        .await
        .fails(22)
        .says(&["refused: update axon", "cargo xtask rollback --stop"]);
    assert_eq!(fake.record(2).state, ReleaseState::Detached);
    drop(fake.changes());
    stop_all(&fake).await.succeeds();
    let changes = [
        "open 3",
        "update axon demo-axon:1 desired 0",
        "deregister demo-axon:1",
        "close 3 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_leaves_a_record_that_says_so() {
    let fake = Fake::released().await;
    fake.interrupt("update orbit");
    stop_all(&fake).await.fails(22).says(&["stopped watching"]);
    let record = fake.record(2);
    assert_eq!(record.state, ReleaseState::Detached);
    assert_eq!(
        record.entries.services[&ORBIT].outcome,
        Some(Outcome::Detached)
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_in_progress_is_not_stopped_under_its_holder() {
    let fake = Fake::released().await;
    fake.put_record(&fake.release_by_grace(2));
    stop_all(&fake)
        .await
        .fails(11)
        .says(&["release 2 by grace@laptop"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_released_since_the_question_is_not_stopped_by_its_answer() {
    let fake = Fake::released_twice().await;
    fake.meanwhile("open 3", |state| {
        state.update_by_hand(AXON, Some("demo-axon:1"), None);
    });
    let output = stop_all(&fake).await;
    output
        .fails(11)
        .says(&["axon went from demo-axon:2 to demo-axon:1"]);
    assert_eq!(fake.changes(), ["open 3", "close 3 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_release_ends_a_stop_before_its_next_change() {
    let fake = Fake::released().await;
    let later = fake.release_by_grace(3);
    fake.meanwhile("deregister demo-orbit:1", move |state| {
        state.put_record(&later);
    });
    stop_all(&fake)
        .await
        .fails(23)
        .says(&["release 2 was superseded: release 3 by grace@laptop"]);
    let changes = [
        "open 2",
        "update orbit demo-orbit:1 desired 0",
        "deregister demo-orbit:1",
    ];
    assert_eq!(fake.changes(), changes);
}

#[tokio::test(start_paused = true)]
async fn a_long_stop_keeps_its_lock() {
    let fake = Fake::released().await;
    // Each of the two services takes nearly all the time that a stop gives it.
    for service in SERVICES {
        fake.state().drains_for(service, Duration::from_secs(200));
    }
    fake.meanwhile("deregister demo-axon:1", |state| {
        let beats = state.lock.as_ref().unwrap().beat;
        assert!(beats > 60, "{beats}");
    });
    stop_all(&fake).await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn a_hotfix_by_hand_in_the_middle_is_left() {
    let fake = Fake::released().await;
    fake.meanwhile("deregister demo-orbit:1", |state| {
        state.hotfix(AXON, "demo-axon:77");
    });
    stop_all(&fake)
        .await
        .fails(23)
        .says(&["was superseded: axon runs demo-axon:77"]);
    let entries = fake.record(2).entries;
    assert_eq!(entries.services[&AXON].outcome, Some(Outcome::Superseded));
    assert_eq!(entries.services[&ORBIT].outcome, Some(Outcome::Succeeded));
    assert_eq!(fake.state().desired(AXON), 2);
}
