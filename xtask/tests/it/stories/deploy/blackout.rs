//! The network is gone for a while, somebody deploys a hotfix by hand, a look is stale.

use std::time::Duration;

use xtask::decide::release::record::ReleaseState;
use xtask::decide::release::rollout::Outcome;

use super::resilience::{a_second_release, distinct};
use crate::model::ImageScript;
use crate::world::Fake;
use crate::world::components::{AXON, ORBIT};

/// At whatever call of a release it begins.
#[tokio::test(start_paused = true)]
async fn a_release_goes_on_after_a_while_without_a_network() {
    let fake = a_second_release().await;
    let before = fake.calls().len();
    fake.deploy_all().await.succeeds();
    let calls = fake.calls().split_off(before);
    let opened = calls.iter().position(|it| it.starts_with("open")).unwrap();
    for (index, call) in distinct(&calls).filter(|(index, _)| *index > opened) {
        let fake = a_second_release().await;
        fake.meanwhile_at(index, |state| state.lose_network(Duration::from_secs(45)));
        let output = fake.deploy_all().await;
        assert_eq!(output.exit_code, 0, "{index} {call}: {}", output.talk);
        assert_eq!(fake.record(2).state, ReleaseState::Succeeded, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_network_for_minutes_a_release_is_left_and_the_next_goes_on() {
    let fake = a_second_release().await;
    fake.script(ORBIT, ImageScript::PullNeverEnds);
    fake.meanwhile("look orbit", |state| {
        state.lose_network(Duration::from_mins(30));
    });
    fake.deploy_all().await.fails(22).says(&[
        "AWS has not answered for 5 minutes in the middle of release 2",
        "what was begun in AWS goes on",
        "cargo xtask deploy",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::InProgress);
    assert!(!fake.changes().iter().any(|it| it.contains("demo-axon:1")));
    tokio::time::sleep(Duration::from_mins(30)).await;
    fake.edit(&[ORBIT], "three");
    fake.deploy_all().await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn a_hotfix_by_hand_in_the_middle_is_left_and_the_others_go_back() {
    let fake = a_second_release().await;
    fake.meanwhile("register demo-orbit", |state| {
        state.hotfix(ORBIT, "demo-orbit:77");
    });
    fake.deploy_all().await.fails(23).says(&[
        "left alone: superseded by demo-orbit:77",
        "release 2 was superseded: orbit runs demo-orbit:77",
        "axon        rolled back to demo-axon:1",
    ]);
    let record = fake.record(2);
    assert_eq!(
        record.cause[0],
        "  cause       superseded: orbit runs demo-orbit:77"
    );
    assert_eq!(
        record.entries.services[&ORBIT].outcome,
        Some(Outcome::Superseded)
    );
    assert_eq!(
        record.entries.services[&AXON].outcome,
        Some(Outcome::RolledBack)
    );
    assert_eq!(fake.state().primary(ORBIT), "demo-orbit:77");
}

/// There may be another hotfix.
#[tokio::test(start_paused = true)]
async fn after_a_hotfix_last_looks_that_are_all_refused_leave_open_what_runs() {
    let fake = a_second_release().await;
    fake.meanwhile("register demo-orbit", |state| {
        state.hotfix(ORBIT, "demo-orbit:77");
    });
    fake.after_write_of("axon rolled back", |state| {
        state.fail("look axon orbit", 4);
    });
    fake.deploy_all().await.fails(22).says(&[
        "release 2 was superseded: orbit runs demo-orbit:77",
        "what runs now could not be read: refused",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::Detached);
}

/// The update is sent again when the network is back.
#[tokio::test(start_paused = true)]
async fn a_hotfix_while_an_update_is_not_answered_is_left() {
    let fake = a_second_release().await;
    fake.meanwhile("update orbit demo-orbit:2", |state| {
        state.lose_network(Duration::from_secs(45));
        state.hotfix(ORBIT, "demo-orbit:77");
    });
    fake.deploy_all().await.fails(23).says(&[
        "left alone: superseded by demo-orbit:77",
        "axon        rolled back to demo-axon:1",
    ]);
    assert_eq!(fake.state().primary(ORBIT), "demo-orbit:77");
}

#[tokio::test(start_paused = true)]
async fn a_hotfix_of_what_a_failed_release_did_not_touch_is_told() {
    let fake = Fake::released().await;
    fake.edit(&[ORBIT], "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.meanwhile("update orbit", |state| {
        state.hotfix(AXON, "demo-axon:77");
    });
    fake.deploy_all()
        .await
        .fails(23)
        .says(&["left alone: superseded by demo-axon:77"]);
    let outcome = |service| fake.record(2).entries.services[&service].outcome;
    assert_eq!(outcome(AXON), Some(Outcome::Superseded));
    assert_eq!(outcome(ORBIT), Some(Outcome::RolledBack));
}

#[tokio::test(start_paused = true)]
async fn each_of_two_hotfixes_is_told() {
    let fake = Fake::released().await;
    fake.edit(&[ORBIT], "two");
    fake.meanwhile("register demo-orbit", |state| {
        state.hotfix(ORBIT, "demo-orbit:77");
        state.hotfix(AXON, "demo-axon:77");
    });
    fake.deploy_all().await.fails(23).says(&[
        "left alone: superseded by demo-orbit:77",
        "left alone: superseded by demo-axon:77",
    ]);
    for service in [ORBIT, AXON] {
        let outcome = fake.record(2).entries.services[&service].outcome;
        assert_eq!(outcome, Some(Outcome::Superseded), "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hotfix_by_hand_after_its_part_is_noticed_at_the_end() {
    let fake = a_second_release().await;
    fake.meanwhile("dispatch", |state| {
        state.hotfix(AXON, "demo-axon:77");
    });
    fake.deploy_all()
        .await
        .fails(23)
        .says(&["release 2 was superseded: axon runs demo-axon:77"]);
    assert_eq!(fake.state().primary(AXON), "demo-axon:77");
    assert_eq!(fake.state().primary(ORBIT), "demo-orbit:1");
}

/// Whichever look of a release it is.
#[tokio::test(start_paused = true)]
async fn one_stale_look_proves_nothing() {
    let fake = a_second_release().await;
    let before = fake.calls().len();
    fake.deploy_all().await.succeeds();
    let calls = fake.calls().split_off(before);
    let opened = calls.iter().position(|it| it.starts_with("open")).unwrap();
    let mut looks = 0;
    for (index, call) in distinct(&calls).filter(|(index, _)| *index > opened) {
        if !call.starts_with("look ") {
            continue;
        }
        looks += 1;
        let fake = a_second_release().await;
        fake.make_look_stale(index);
        let output = fake.deploy_all().await;
        assert_eq!(output.exit_code, 0, "{index} {call}: {}", output.talk);
    }
    assert!(looks > 6, "{looks}");
}
