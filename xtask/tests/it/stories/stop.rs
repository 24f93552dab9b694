//! `rollback --stop`: none desired, wait, deregister what ran.

use xtask::catalog::Component;
use xtask::commands::rollback::{rollback, stop};
use xtask::decide::release::record::ReleaseState;
use xtask::decide::release::rollout::Outcome;

use crate::world::{CommandOutput, Fake};

async fn stop_all(fake: &Fake) -> CommandOutput {
    fake.run_on_outputs(async |desk, world| stop(desk, world, false).await)
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
    assert_eq!(record.why, "stop");
    let entry = &record.components[&Component::Axon];
    assert_eq!(
        (&entry.after, entry.outcome),
        (&None, Some(Outcome::Succeeded))
    );
    assert!(
        record.components[&Component::Governance].after.is_some(),
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
        fake.run_on_outputs(async |desk, world| rollback(desk, world, None, false).await)
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
    assert_eq!(
        fake.changes()[1..3],
        ["register demo-axon:2", "update axon demo-axon:2 desired 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_the_way_is_recorded_and_the_next_stop_goes_on() {
    let fake = Fake::released().await;
    fake.fail("update axon", 1);
    stop_all(&fake).await.fails(1).says(&["throttled"]);
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
        record.components[&Component::Orbit].outcome,
        Some(Outcome::Detached)
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_in_progress_is_not_stopped_under_its_holder() {
    let fake = Fake::released().await;
    let mut held = fake.record(1);
    held.number = 2;
    held.state = ReleaseState::InProgress;
    fake.put_record(&held);
    stop_all(&fake)
        .await
        .fails(11)
        .says(&["release 2 by ada@laptop"]);
    assert_eq!(fake.changes(), [""; 0]);
}
