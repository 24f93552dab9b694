//! `rollback`: to a release that succeeded; with a record of its own.

use xtask::commands::rollback::rollback;
use xtask::decide::release::record::ReleaseState;

use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, ORBIT};
use crate::world::{CommandOutput, Fake, back_to};

async fn roll_back(fake: &Fake, to: Option<u64>) -> CommandOutput {
    fake.run_on_outputs(async |context, outputs| rollback(context, outputs, &back_to(to)).await)
        .await
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_the_newest_that_succeeded_and_does_not_run_and_is_itself_a_release() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, None)
        .await
        .succeeds()
        .says(&["to release 1", "answered 200"]);
    let changes = [
        "open 3",
        "move alias to 2",
        "update axon demo-axon:1",
        "update orbit demo-orbit:1",
        "close 3 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
    let record = fake.record(3);
    assert_eq!(
        (record.state, record.why.as_str()),
        (ReleaseState::Succeeded, "rollback to 1")
    );
    let content = |number| {
        fake.record(number).entries.services[&AXON]
            .after
            .clone()
            .unwrap()
            .content
    };
    assert_eq!(content(3), content(1));
}

#[tokio::test(start_paused = true)]
async fn a_second_rollback_goes_forward_again() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, None).await.succeeds();
    roll_back(&fake, None)
        .await
        .succeeds()
        .says(&["to release 2"]);
    assert_eq!(fake.state().primary(ORBIT), "demo-orbit:2");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_failed_is_no_target() {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    fake.script(AXON, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    roll_back(&fake, None)
        .await
        .succeeds()
        .says(&["to release 1"]);
    roll_back(&fake, Some(3))
        .await
        .fails(11)
        .says(&["release 3 did not succeed", "back"]);
}

#[tokio::test(start_paused = true)]
async fn to_chooses_a_release_and_one_that_runs_is_nothing_to_do() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, Some(2))
        .await
        .succeeds()
        .says(&["release 2 is what runs now"]);
    assert_eq!(fake.changes(), [""; 0]);
    roll_back(&fake, Some(1)).await.succeeds();
    assert_eq!(fake.state().primary(AXON), "demo-axon:1");
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_target_it_says_so() {
    let fake = Fake::released().await;
    roll_back(&fake, None)
        .await
        .fails(11)
        .says(&["no release succeeded that is not what runs"]);
    roll_back(&fake, Some(9))
        .await
        .fails(11)
        .says(&["there is no release 9"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn all_that_aws_does_not_have_any_more_is_named_at_once() {
    let fake = Fake::released_twice().await;
    let digest = fake.record(1).entries.services[&AXON]
        .after
        .clone()
        .unwrap()
        .image
        .unwrap();
    fake.state().images.clear();
    fake.state().ecs.delete_revision("demo-orbit:1");
    let output = roll_back(&fake, None).await;
    output.fails(11).says(&[
        &format!("the image {digest} of axon"),
        "the revision demo-orbit:1",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deregistered_revision_is_registered_anew_with_the_same_content() {
    let fake = Fake::released_twice().await;
    fake.state().deregister_by_hand("demo-axon:1");
    roll_back(&fake, None).await.succeeds();
    let changes = fake.changes();
    assert!(
        changes.contains(&"register demo-axon:3".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"update axon demo-axon:3".to_owned()),
        "{changes:?}"
    );
    let state = fake.state();
    let (old, new) = (
        state.ecs.revision("demo-axon:1").unwrap(),
        state.ecs.revision("demo-axon:3").unwrap(),
    );
    assert_eq!(new.body, old.body, "without what only ECS writes");
    assert_eq!(new.tag, old.tag);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_itself_taken_back() {
    let fake = Fake::released_twice().await;
    let script = ImageScript::SecretMissing;
    fake.state().ecs.script_revision("demo-orbit:1", script);
    roll_back(&fake, None).await.fails(20);
    let state = fake.state();
    assert_eq!(state.primary(AXON), "demo-axon:2");
    assert_eq!(state.primary(ORBIT), "demo-orbit:2");
    assert_eq!(state.lambda.alias, "3");
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_is_not_local_is_not_rolled_back_without_a_yes() {
    let fake = Fake::released_twice().await;
    fake.is_not_local();
    roll_back(&fake, None)
        .await
        .fails(11)
        .says(&["not confirmed: roll back on staging"]);
    assert_eq!(fake.changes(), [""; 0]);
}
