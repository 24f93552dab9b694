//! `cleanup`: what neither runs nor is needed for a rollback is removed.

use std::time::Duration;

use xtask::commands::cleanup::{CleanupOptions, cleanup};
use xtask::commands::rollback::rollback;
use xtask::decide::release::record::{Record, RecordKind, ReleaseState};

use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, ORBIT};
use crate::world::{CommandOutput, Fake, back_to};

async fn clean_up(fake: &Fake, keep: usize, dry_run: bool) -> CommandOutput {
    let options = CleanupOptions {
        keep,
        dry_run,
        yes: false,
    };
    fake.run_on_outputs(async |context, outputs| cleanup(context, outputs, &options).await)
        .await
}

/// Four releases, of which the third failed.
async fn four_releases() -> Fake {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    fake.edit(&COMPONENTS, "four");
    fake.deploy_all().await.succeeds();
    drop(fake.changes());
    fake
}

#[tokio::test(start_paused = true)]
async fn what_no_rollback_needs_is_removed_and_the_records_last() {
    let fake = four_releases().await;
    let output = clean_up(&fake, 2, false).await;
    output.succeeds();
    // The second and the fourth succeeded, and are kept.
    let removed = [
        "open 5",
        "deregister demo-axon:1",
        "deregister demo-axon:3",
        "deregister demo-orbit:1",
        "deregister demo-orbit:3",
        "delete 2 images of axon",
        "delete 2 images of orbit",
        "delete version 2",
        "delete version 4",
        "remove records [1]",
        "close 5 succeeded",
    ];
    assert_eq!(fake.changes(), removed, "{}", output.talk);
    let record = fake.record(5);
    assert_eq!(
        (record.kind, &*record.why),
        (RecordKind::Cleanup, "cleanup, keep 2")
    );

    // Nothing is left to remove, and both releases can still be gone back to.
    clean_up(&fake, 2, false)
        .await
        .succeeds()
        .says(&["nothing to remove"]);
    assert_eq!(fake.changes(), [""; 0]);
    let go_back = async |to| {
        fake.run_on_outputs(async |context, outputs| {
            rollback(context, outputs, &back_to(Some(to))).await
        })
        .await
    };
    go_back(2).await.succeeds();
    go_back(4).await.succeeds();
    go_back(1).await.fails(11).says(&["there is no release 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_prints_and_changes_nothing() {
    let fake = four_releases().await;
    let output = clean_up(&fake, 1, true).await;
    output.succeeds();
    for part in [
        "axon        demo-axon:1",
        "governance  version 2",
        "ledger      record 3, record 2, record 1",
    ] {
        assert!(output.data.contains(part), "{}", output.data);
    }
    assert!(!output.data.contains("demo-axon:4"), "{}", output.data);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn where_fewer_have_succeeded_all_records_stay_and_what_failed_goes() {
    let fake = four_releases().await;
    clean_up(&fake, 10, false).await.succeeds();
    let changes = fake.changes();
    assert!(
        changes.contains(&"deregister demo-axon:3".to_owned()),
        "{changes:?}"
    );
    assert!(
        !changes.iter().any(|it| it.starts_with("remove records")),
        "{changes:?}"
    );
    assert!(
        !changes.contains(&"deregister demo-axon:1".to_owned()),
        "{changes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hotfix_by_hand_that_runs_is_kept() {
    let fake = Fake::released_twice().await;
    fake.state().hotfix(AXON, "demo-axon:3");
    tokio::time::sleep(Duration::from_mins(1)).await;
    clean_up(&fake, 1, false).await.succeeds();
    let changes = fake.changes();
    assert!(
        changes.contains(&"deregister demo-axon:1".to_owned()),
        "{changes:?}"
    );
    assert!(
        !changes.contains(&"deregister demo-axon:3".to_owned()),
        "{changes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_rollout_nothing_is_removed() {
    let fake = Fake::released_twice().await;
    fake.state().update_by_hand(AXON, Some("demo-axon:1"), None);
    let output = clean_up(&fake, 1, false).await;
    output.fails(11).says(&["in the middle of a rollout"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_is_told_and_the_next_cleanup_goes_on() {
    let fake = four_releases().await;
    fake.fail("delete 2 images of axon", 1);
    let output = clean_up(&fake, 2, false).await;
    output
        .fails(1)
        .says(&["not removed: refused", "2 of 11 could not be removed"]);
    assert_eq!(fake.record(5).state, ReleaseState::Failed);
    drop(fake.changes());
    clean_up(&fake, 2, false).await.succeeds();
    assert_eq!(
        fake.changes(),
        ["open 6", "delete 2 images of axon", "close 6 succeeded"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_beside_it_is_never_cleaned_up_under() {
    let fake = Fake::released_twice().await;
    fake.put_record(&fake.release_by_grace(3));
    clean_up(&fake, 1, false)
        .await
        .fails(11)
        .says(&["release 3 by grace@laptop"]);
    assert_eq!(fake.changes(), [""; 0]);

    // Something is registered between the look and the lock.
    let fake = Fake::released_twice().await;
    fake.meanwhile("open 3", |state| {
        state.ecs.put_revision("demo-axon:9");
    });
    clean_up(&fake, 1, false)
        .await
        .fails(11)
        .says(&["the state moved on since the plan"]);
    assert_eq!(fake.changes(), ["open 3", "close 3 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_run_that_has_the_lock_ends_a_cleanup() {
    let fake = four_releases().await;
    let later = fake.release_by_grace(6);
    fake.meanwhile("remove records", move |state| state.put_record(&later));
    let output = clean_up(&fake, 2, false).await;
    output
        .fails(23)
        .says(&["cleanup 5 was superseded: release 6 by grace@laptop"]);
    let changes = fake.changes();
    assert_eq!(changes.last().unwrap(), "delete version 4");
}

/// Its plan relies on images that the registry had.
#[tokio::test(start_paused = true)]
async fn a_deploy_that_was_planned_before_a_cleanup_is_refused() {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    let cleanup = Record {
        kind: RecordKind::Cleanup,
        ..fake.rotation_by_grace(3)
    };
    // The lock is read once the plan is made.
    fake.meanwhile("read the lock", move |state| {
        state.put_record(&cleanup);
    });
    let output = fake.deploy_all().await;
    output.fails(11).says(&["cleanup 3 by grace@laptop"]);
    assert_eq!(fake.changes(), ["open 4", "close 4 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_leaves_a_record_and_the_command_that_goes_on() {
    let fake = four_releases().await;
    fake.interrupt("deregister demo-axon:3");
    let output = clean_up(&fake, 2, false).await;
    output
        .fails(22)
        .says(&["stopped watching cleanup 5", "cargo xtask cleanup --env"]);
    assert_eq!(fake.record(5).state, ReleaseState::Detached);
    clean_up(&fake, 2, false).await.succeeds();
}
