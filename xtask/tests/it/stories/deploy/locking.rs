//! The lock of an environment: whoever holds it and lives keeps it, whoever is gone loses it within
//! half a minute, and a change begins only while it is held.

use std::time::Duration;

use tokio::time::Instant;
use xtask::decide::release::record::ReleaseState;
use xtask::ports::IfLocked;

use super::resilience::{a_second_release, with_each_call_spoiled};
use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, ORBIT};
use crate::world::{CallFault, KILLED};

#[tokio::test(start_paused = true)]
async fn after_a_kill_at_any_call_the_next_run_goes_on_within_a_minute() {
    let opened = "nobody works on release 2 by ada@laptop (deploy) any more: taking over";
    with_each_call_spoiled(
        CallFault::IsKilled,
        a_second_release,
        async |fake, call, output| {
            output.fails(KILLED);
            let was_open = fake.state().lock.is_some();
            let began = Instant::now();
            let again = fake.deploy_all().await;
            assert_eq!(again.exit_code, 0, "{call}, and then: {}", again.talk);
            assert_eq!(again.talk.contains(opened), was_open, "{call}");
            assert!(began.elapsed() < Duration::from_mins(1), "{call}");
            if was_open {
                assert_eq!(fake.record(2).state, ReleaseState::Abandoned, "{call}");
                let third = fake.record(3);
                assert_eq!(third.took_over, Some(2), "{call}");
                assert_eq!(third.why, "deploy, after 2 was abandoned");
            }
            let state = fake.state();
            assert_eq!(state.desired(AXON), 2);
            assert_eq!(state.lambda.alias, "3", "{call}");
            assert!(state.lock.is_none());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lives_is_told_with_the_ways_on() {
    let fake = a_second_release().await;
    fake.put_record(&fake.release_by_grace(2));
    let began = Instant::now();
    fake.deploy_all().await.fails(11).says(&[
        "release 2 by grace@laptop (deploy) is in progress since",
        "--lock-wait 15m",
        "--take-over",
    ]);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_lock_gets_it_when_the_other_has_ended() {
    let fake = a_second_release().await;
    fake.put_record(&fake.release_by_grace(2));
    fake.state().if_locked.wait = Duration::from_mins(10);
    let ends = async {
        tokio::time::sleep(Duration::from_mins(5)).await;
        let state = &mut *fake.state();
        let mut ended = state.newest().unwrap();
        ended.state = ReleaseState::Succeeded;
        state.put_record(&ended);
        state.lock = None;
    };
    let (deployed, ()) = tokio::join!(fake.deploy_all(), ends);
    deployed.succeeds();
    assert_eq!(fake.record(3).took_over, None);

    fake.edit(&COMPONENTS, "three");
    fake.put_record(&fake.release_by_grace(4));
    let began = Instant::now();
    fake.deploy_all().await.fails(11);
    assert!(began.elapsed() >= Duration::from_mins(10));
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_holder_that_lives_is_taken_where_the_user_wants_that() {
    let fake = a_second_release().await;
    fake.script(ORBIT, ImageScript::PullNeverEnds);
    let taken = async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        fake.edit(&[ORBIT], "three");
        fake.state().if_locked = IfLocked {
            take_over: true,
            ..IfLocked::default()
        };
        fake.deploy_all().await
    };
    let (one, other) = tokio::join!(fake.deploy_all(), taken);
    other
        .succeeds()
        .says(&["taking over from release 2 by ada@laptop (deploy)"]);
    one.fails(23)
        .says(&["release 2 was superseded: release 3 by ada@laptop"]);
    assert_eq!(fake.record(2).state, ReleaseState::Abandoned);
    assert_eq!(fake.record(3).state, ReleaseState::Succeeded);
    let changes = fake.changes_after("open 3");
    assert!(
        !changes.iter().any(|it| it.contains("demo-orbit:2")),
        "{changes:?}"
    );
}

/// Also right at its end: then it does not say that it succeeded.
#[tokio::test(start_paused = true)]
async fn a_lock_that_somebody_deleted_ends_its_holder_and_keeps_nobody_out() {
    for at in ["probe axon", "close 2"] {
        let fake = a_second_release().await;
        fake.meanwhile(at, |state| state.lock = None);
        fake.deploy_all()
            .await
            .fails(23)
            .says(&["release 2 was superseded: the lock is not in the table any more"]);
        assert_eq!(fake.record(2).state, ReleaseState::InProgress, "{at}");
        fake.deploy_all().await.succeeds();
        assert_eq!(fake.record(2).state, ReleaseState::Abandoned, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_goes_on_unless_another_took_over() {
    for taken in [false, true] {
        let fake = a_second_release().await;
        let later = fake.release_by_grace(3);
        fake.meanwhile("look orbit", move |state| {
            state.asleep = Duration::from_hours(3);
            if taken {
                state.put_record(&later);
            }
        });
        let output = fake.deploy_all().await;
        if taken {
            output.fails(23).says(&["release 3 by grace@laptop"]);
        } else {
            output.succeeds();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_of_the_release_before_brings_late_is_no_strangers() {
    let fake = a_second_release().await;
    fake.kill("update orbit demo-orbit:2");
    fake.deploy_all().await.fails(KILLED);
    fake.meanwhile("write 3", |state| {
        state.update_by_hand(ORBIT, Some("demo-orbit:2"), None);
    });
    fake.edit(&[ORBIT], "three");
    fake.deploy_all().await.succeeds();
    assert!(
        fake.changes()
            .contains(&"update orbit demo-orbit:3".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_infrastructure_is_not_changed_under_a_release_in_progress() {
    let fake = a_second_release().await;
    fake.state().infra = "infra-two".to_owned();
    fake.put_record(&fake.release_by_grace(2));
    fake.deploy_all()
        .await
        .fails(11)
        .says(&["release 2 by grace"]);
    assert_eq!(fake.changes(), [""; 0]);
    let opened = fake.record(1).opened;
    fake.put_record(&fake.record(2).abandoned(opened));
    fake.state().lock = None;
    fake.deploy_all().await.succeeds();
}

/// The machine falls asleep right before a change, and another run takes over meanwhile: the change
/// is not made, since no beat of a moment ago is confirmed.
#[tokio::test(start_paused = true)]
async fn nothing_is_changed_by_who_slept_and_lost_the_lock() {
    let fake = a_second_release().await;
    let later = fake.release_by_grace(3);
    fake.after_write_of("demo-orbit:2", move |state| {
        state.asleep = Duration::from_hours(3);
        state.put_record(&later);
    });
    fake.deploy_all()
        .await
        .fails(23)
        .says(&["release 3 by grace@laptop"]);
    assert_eq!(fake.changes_after("register demo-orbit:2"), [""; 0]);
}
