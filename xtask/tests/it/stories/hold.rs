//! A hold: releases wait until it is lifted, rollbacks do not.

use serde_json::Value;
use xtask::commands::deploy::{Options, deploy};
use xtask::commands::hold::{hold, unhold};
use xtask::commands::plan::plan;
use xtask::commands::rollback::{RollbackOptions, rollback};
use xtask::commands::status::status;

use crate::model::ImageScript;
use crate::world::components::{COMPONENTS, ORBIT};
use crate::world::{CommandOutput, Fake};

async fn roll_back(fake: &Fake, holds: bool) -> CommandOutput {
    let options = RollbackOptions {
        holds,
        ..RollbackOptions::default()
    };
    fake.run_on_outputs(async |context, outputs| rollback(context, outputs, &options).await)
        .await
}

#[tokio::test(start_paused = true)]
async fn after_a_rollback_nothing_is_released_until_somebody_lifts_that() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, true)
        .await
        .succeeds()
        .says(&["no release until"]);
    drop(fake.changes());
    let output = fake.deploy_all().await;
    output.fails(11).says(&[
        "local takes no release: rolled back to release 1 (ada@laptop, 20",
        "cargo xtask unhold --env local",
        "cargo xtask deploy --lift-hold",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
    let told = ["hold        warning: no release until `cargo xtask unhold`"];
    let components = fake.state().catalog.components();
    let planned = fake
        .run_on_outputs(async |context, outputs| plan(context, outputs, &components, false).await)
        .await;
    planned.succeeds().says(&told);
    let shown = fake
        .run_on_outputs(async |context, outputs| status(context, outputs).await)
        .await;
    assert!(
        shown
            .data
            .contains("held        no release until it is lifted"),
        "{}",
        shown.data
    );

    roll_back(&fake, false).await.succeeds();
    fake.deploy_all().await.fails(11);
    fake.run(async |context| unhold(context, false).await)
        .await
        .succeeds()
        .says(&["lifted: rolled back to release 1"]);
    fake.edit(&COMPONENTS, "three");
    fake.deploy_all().await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_goes_back_and_a_rollback_that_shall_not_hold_set_none() {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    assert_eq!(fake.state().hold, None);
    roll_back(&fake, false).await.succeeds();
    assert_eq!(fake.state().hold, None);
}

#[tokio::test(start_paused = true)]
async fn a_hold_by_hand_is_told_and_lifted_with_a_release() {
    let fake = Fake::released().await;
    let holds = async || {
        fake.run(async |context| hold(context, "a sale", false).await)
            .await
    };
    holds()
        .await
        .succeeds()
        .says(&["no release from now on: a sale"]);
    holds().await.fails(11).says(&["a sale (ada@laptop"]);
    fake.edit(&COMPONENTS, "two");
    fake.deploy_all().await.fails(11);
    let options = Options {
        components: fake.state().catalog.components(),
        dry_run: false,
        yes: false,
        lift_hold: true,
    };
    fake.run(async |context| deploy(context, &options).await)
        .await
        .succeeds()
        .says(&["lifted: a sale"]);
}

/// Set between the look at it and the opening of the release.
#[tokio::test(start_paused = true)]
async fn a_hold_that_is_set_meanwhile_keeps_a_release_from_opening() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, true).await.succeeds();
    let set = fake.state().hold.take();
    fake.edit(&COMPONENTS, "three");
    drop(fake.changes());
    fake.meanwhile("open 4", |state| state.hold = set);
    fake.deploy_all()
        .await
        .fails(11)
        .says(&["put on hold meanwhile"]);
    assert_eq!(fake.changes(), [""; 0]);
    let value: Value = serde_json::to_value(fake.state().hold.clone()).unwrap();
    assert_eq!(value["where"], "laptop");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_lifted_while_another_is_set_makes_room() {
    let fake = Fake::released_twice().await;
    roll_back(&fake, true).await.succeeds();
    fake.meanwhile("read the hold", |state| state.hold = None);
    fake.run(async |context| hold(context, "an audit", false).await)
        .await
        .succeeds();
    let held = fake.state().hold.clone().unwrap();
    assert_eq!(held.why, "an audit");
}
