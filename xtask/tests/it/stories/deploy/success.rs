//! Releases that succeed, and runs that change nothing.

use std::time::Duration;

use serde_json::{Value, json};
use xtask::catalog::Component;
use xtask::commands::deploy::{Options, deploy};
use xtask::commands::plan;
use xtask::decide::release::record::{RecordKind, ReleaseState};
use xtask::decide::release::rollout::Outcome;
use xtask::report::Format;

use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, ORBIT, SERVICES};
use crate::world::{Fake, secret_arn};

const FIRST: [&str; 10] = [
    "open 1",
    "push axon",
    "push orbit",
    "publish version 2",
    "move alias to 2",
    "register demo-axon:1",
    "update axon demo-axon:1 desired 2",
    "register demo-orbit:1",
    "update orbit demo-orbit:1 desired 2",
    "close 1 succeeded",
];

/// A later release, of axon alone.
const OF_AXON: [&str; 5] = [
    "open 2",
    "push axon",
    "register demo-axon:2",
    "update axon demo-axon:2",
    "close 2 succeeded",
];

#[tokio::test(start_paused = true)]
async fn a_first_release_sends_the_desired_counts_and_ends_with_an_answered_dispatch() {
    let fake = Fake::applied();
    let output = fake.deploy_all().await;
    output
        .succeeds()
        .says(&["answered 200", "release     1 closed: succeeded"]);
    assert_eq!(fake.changes(), FIRST);
    let record = fake.record(1);
    assert_eq!(record.state, ReleaseState::Succeeded);
    for service in SERVICES {
        assert_eq!(
            record.entries.services[&service].outcome,
            Some(Outcome::Succeeded)
        );
        assert_eq!(record.entries.services[&service].before, None);
        assert!(record.entries.services[&service].after.is_some());
    }
    let image = record.entries.services[&AXON].after.clone().unwrap().image;
    assert_eq!(image, Some(fake.state().digest(AXON)));
}

#[tokio::test(start_paused = true)]
async fn the_very_first_run_applies_the_infrastructure_and_makes_up_the_secrets() {
    let fake = Fake::empty();
    fake.deploy_all().await.succeeds();
    let before = [
        "apply",
        "put demo/local/axon-AbCdEf",
        "put demo/local/orbit-GhIjKl",
    ];
    // `put` names the secret by the last part of its ARN.
    assert_eq!(fake.changes(), [&before[..], &FIRST].concat());
    assert_eq!(
        fake.state().builds,
        1,
        "the images are built once, while the apply goes on"
    );
}

/// The run before was interrupted after the apply and before the secrets got their values.
#[tokio::test(start_paused = true)]
async fn a_first_run_that_was_cut_off_is_gone_on_with() {
    let fake = Fake::applied();
    fake.state().secrets.clear();
    fake.deploy_all().await.succeeds();
    let secrets = ["put demo/local/axon-AbCdEf", "put demo/local/orbit-GhIjKl"];
    assert_eq!(fake.changes(), [&secrets[..], &FIRST].concat());
}

#[tokio::test(start_paused = true)]
async fn the_next_run_changes_nothing_and_says_so() {
    let fake = Fake::released().await;
    let before = fake.calls().len();
    let output = fake.deploy_all().await;
    output.succeeds().says(&["nothing to do"]);
    assert_eq!(fake.changes(), [""; 0]);
    assert_eq!(fake.state().builds, 1);
    let calls = fake.calls().split_off(before);
    let looked_up = calls.iter().filter(|call| call.starts_with("image "));
    assert_eq!(looked_up.count(), 0, "an image that runs is not looked up");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_registry_lost_is_pushed_again_for_a_new_definition() {
    let fake = Fake::released().await;
    fake.state().images.clear();
    fake.edit_template(AXON, "\"cpu\": \"256\"", "\"cpu\": \"512\"");
    fake.edit_template(AXON, "\"memory\": \"512\"", "\"memory\": \"1024\"");
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.changes(), OF_AXON);
}

/// The image may be why it does not settle.
#[tokio::test(start_paused = true)]
async fn an_image_that_the_registry_lost_is_pushed_again_where_a_service_is_not_settled() {
    let fake = Fake::released().await;
    fake.state().images.clear();
    fake.state().stop_task_by_hand(ORBIT);
    tokio::time::sleep(Duration::from_secs(1)).await;
    fake.deploy_all().await;
    assert_eq!(fake.changes()[..2], ["open 2", "push orbit"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_release_changes_what_changed_and_leaves_the_desired_count_alone() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.changes(), OF_AXON);
    let record = fake.record(2);
    assert_eq!(
        record.entries.services.len() + record.entries.functions.len(),
        3,
        "a record covers all three"
    );
    assert_eq!(record.entries.services[&ORBIT].outcome, None);
    let before = record.entries.services[&AXON].before.clone().unwrap();
    assert_eq!(before.revision.as_str(), "demo-axon:1");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_prints_the_plan_of_the_run_and_changes_nothing() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    let options = Options {
        components: COMPONENTS.to_vec(),
        dry_run: true,
        yes: false,
        lift_hold: false,
    };
    let dry = fake
        .run(async |context| deploy(context, &options).await)
        .await;
    dry.succeeds().says(&["nothing was changed"]);
    assert_eq!(fake.changes(), [""; 0]);
    let output = fake.deploy_all().await;
    let plan = |talk: &str| talk.split("deploy  ").next().unwrap().to_owned();
    let printed = plan(&dry.talk);
    assert!(printed.contains("register demo-axon"), "{printed}");
    assert!(
        output.talk.starts_with(&printed),
        "{printed}\nis not how this begins:\n{}",
        output.talk
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_before_the_first_apply_applies_nothing() {
    let fake = Fake::empty();
    let options = Options {
        components: COMPONENTS.to_vec(),
        dry_run: true,
        yes: true,
        lift_hold: false,
    };
    let output = fake
        .run(async |context| deploy(context, &options).await)
        .await;
    output.succeeds().says(&["was never applied"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn names_restrict_a_release() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.deploy(&[ORBIT]).await.succeeds();
    let changes = [
        "open 2",
        "push orbit",
        "register demo-orbit:2",
        "update orbit demo-orbit:2",
        "close 2 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
}

#[tokio::test(start_paused = true)]
async fn a_changed_infrastructure_is_applied_and_leaves_the_secrets_alone() {
    let fake = Fake::released().await;
    "infra-two".clone_into(&mut fake.state().infra);
    let before = fake.state().secrets[&secret_arn(AXON)].clone();
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.changes(), ["open 2", "apply", "close 2 succeeded"]);
    assert_eq!(fake.state().secrets[&secret_arn(AXON)], before);
    let apply = fake.record(2);
    assert_eq!(
        (apply.kind, apply.why.as_str()),
        (RecordKind::Infra, "apply")
    );
    fake.deploy_all().await.succeeds().says(&["nothing to do"]);
    let calls = fake.calls();
    let described = calls
        .iter()
        .filter(|it| it.starts_with("describe demo-axon:1"));
    assert_eq!(
        described.count(),
        1,
        "when it was released: the record of an apply knows it too"
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_fails_is_recorded_and_gives_the_lock_back() {
    let fake = Fake::released().await;
    "infra-two".clone_into(&mut fake.state().infra);
    fake.fail("apply", 1);
    fake.deploy_all().await.fails(1);
    assert_eq!(fake.changes(), ["open 2", "close 2 failed"]);
    assert_eq!(fake.record(2).cause, ["refused: apply"]);
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.record(3).state, ReleaseState::Succeeded);
}

/// Nothing is released that would notice it.
#[tokio::test(start_paused = true)]
async fn an_apply_that_makes_targets_fail_is_told() {
    let fake = Fake::released().await;
    "infra-two".clone_into(&mut fake.state().infra);
    fake.meanwhile("apply", |state| state.ecs.falls_sick(AXON.name()));
    let output = fake.deploy_all().await;
    output.fails(30).says(&[
        "checking for 12 s whether all services are still served",
        "after the apply, axon: no target is healthy: Health checks failed",
    ]);
    assert_eq!(fake.changes(), ["open 2", "apply", "close 2 succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_was_killed_is_gone_on_with() {
    let fake = Fake::released().await;
    "infra-two".clone_into(&mut fake.state().infra);
    fake.kill("apply");
    drop(fake.deploy_all().await);
    assert_eq!(fake.record(2).state, ReleaseState::InProgress);
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.record(2).state, ReleaseState::Abandoned);
}

#[tokio::test(start_paused = true)]
async fn an_apply_whose_lock_was_taken_over_says_so() {
    let fake = Fake::released().await;
    "infra-two".clone_into(&mut fake.state().infra);
    fake.meanwhile("apply", |state| state.lock = None);
    fake.deploy_all()
        .await
        .fails(23)
        .says(&["apply 2 was superseded"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_exposed_is_proven_by_its_targets() {
    let fake = Fake::applied();
    fake.state().published.as_mut().unwrap()["services"]["axon"]["probe"] = Value::Null;
    fake.fail("probe axon", 100);
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.changes(), FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_exposed_need_not_wait_for_targets_that_drain() {
    let fake = Fake::released().await;
    fake.state().published.as_mut().unwrap()["services"]["axon"]["probe"] = Value::Null;
    fake.state().completes_early(AXON);
    fake.state().drains_for(AXON, Duration::from_mins(3));
    fake.edit(&[AXON], "two");
    let output = fake.deploy_in::<Component>(Format::Json, &[]).await;
    output.succeeds().says(&["(2 draining left out)"]);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_release_is_taken_over_and_named() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    let mut abandoned = fake.record(1);
    abandoned.number = 2;
    abandoned.state = ReleaseState::InProgress;
    fake.put_record(&abandoned);
    tokio::time::advance(Duration::from_mins(11)).await;
    fake.deploy_all().await.succeeds();
    assert_eq!(fake.record(3).why, "deploy, after 2 was abandoned");
}

#[tokio::test(start_paused = true)]
async fn the_result_is_json_on_stdout_and_no_secret_is_told() {
    let fake = Fake::applied();
    let output = fake.deploy_in::<Component>(Format::Json, &[]).await;
    let result: Value = serde_json::from_str(&output.succeeds().data).unwrap();
    assert_eq!(result["outcome"], json!("succeeded"));
    assert_eq!(result["release"], json!(1));
    output.says(&["\"event\":\"plan\""]);
    let all = output.data.clone() + &output.talk;
    assert!(!all.contains("secret-of-the"), "{all}");
}

#[tokio::test(start_paused = true)]
async fn plan_says_what_deploy_would_change_and_changes_nothing() {
    let fake = Fake::released().await;
    fake.edit_template(AXON, "\"cpu\": \"256\"", "\"cpu\": \"512\"");
    fake.edit_template(AXON, "\"memory\": \"512\"", "\"memory\": \"1024\"");
    let output = fake
        .run_on_outputs(async |context, outputs| {
            plan::plan(context, outputs, &COMPONENTS, false).await
        })
        .await;
    output.succeeds();
    let texts = [
        "governance  unchanged, 2 runs",
        "axon        register demo-axon and roll it out (now: demo-axon:1)",
        "cpu",
        "orbit       unchanged, demo-orbit:1 runs",
    ];
    for text in texts {
        assert!(
            output.data.contains(text),
            "no `{text}` in:\n{}",
            output.data
        );
    }
    assert!(
        !output.data.contains("status"),
        "what only ECS writes is no change:\n{}",
        output.data
    );
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn plan_names_nothing_to_do() {
    let fake = Fake::released().await;
    let output = fake
        .run_on_outputs(async |context, outputs| {
            plan::plan(context, outputs, &SERVICES.map(Component::from), false).await
        })
        .await;
    assert_eq!(output.succeeds().data, "nothing to do\n");
}

#[tokio::test(start_paused = true)]
async fn the_exit_code_tells_nothing_to_do_from_changes_where_it_is_asked_for() {
    let fake = Fake::released().await;
    let plan_all = async |fake: &Fake| {
        fake.run_on_outputs(async |context, outputs| {
            plan::plan(context, outputs, &COMPONENTS, true).await
        })
        .await
    };
    plan_all(&fake).await.succeeds();
    fake.edit(&[ORBIT], "two");
    let output = plan_all(&fake).await;
    output.fails(13);
    assert!(
        output.data.contains("orbit       register"),
        "{}",
        output.data
    );
    assert!(!output.talk.contains("error"), "an answer: {}", output.talk);
    // A plan that can't be made has another exit code.
    fake.edit_template(ORBIT, ":database_url::", ":database_url");
    plan_all(&fake).await.fails(10);
    assert_eq!(fake.changes(), [""; 0]);
}

/// ECS is replacing tasks of a service that the release leaves as it is.
#[tokio::test(start_paused = true)]
async fn a_dispatch_waits_for_a_service_that_has_no_healthy_task_at_the_time() {
    let fake = Fake::applied();
    fake.script(ORBIT, ImageScript::SlowStart);
    let fake = fake.released_anew().await;
    fake.edit(&[AXON], "two");
    for call in ["update axon demo-axon:2", "dispatch"] {
        fake.meanwhile(call, |state| {
            state.stop_task_by_hand(ORBIT);
            state.stop_task_by_hand(ORBIT);
        });
    }
    let run = fake.deploy_all().await;
    run.succeeds();
    run.says(&["orbit", "no target is healthy"]);
    assert_eq!(fake.changes(), OF_AXON);
}
