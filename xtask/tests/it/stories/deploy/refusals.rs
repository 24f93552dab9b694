//! Deploys that are refused before they change anything.

use xtask::commands::deploy::{Options, deploy};
use xtask::planning::outputs::required;

use crate::world::components::{AXON, COMPONENTS, ORBIT};
use crate::world::{Fake, secret_arn};

#[tokio::test(start_paused = true)]
async fn a_release_in_progress_is_named_with_its_holder() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    let mut held = fake.release_by_grace(2);
    "desk".clone_into(&mut held.host);
    fake.put_record(&held);
    let output = fake.deploy_all().await;
    output
        .fails(11)
        .says(&["release 2 by grace@desk", "hint: "]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_opens_the_same_number_first_wins() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    let first = fake.release_by_grace(2);
    fake.meanwhile("open 2", move |state| state.put_record(&first));
    fake.deploy_all()
        .await
        .fails(11)
        .says(&["release 2 by grace@laptop"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_applied_only_on_what_it_was_made_for() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.meanwhile("open 2", |state| {
        state.hotfix(ORBIT, "demo-orbit:7");
    });
    let output = fake.deploy_all().await;
    output
        .fails(11)
        .says(&["orbit went from demo-orbit:1 to demo-orbit:7"]);
    assert_eq!(fake.changes(), ["open 2", "close 2 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_stopped_since_the_plan_is_noticed() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    fake.meanwhile("open 2", |state| state.update_by_hand(AXON, None, Some(0)));
    let output = fake.deploy_all().await;
    output
        .fails(11)
        .says(&["axon went from 2 to 0 tasks desired"]);
    assert_eq!(fake.changes(), ["open 2", "close 2 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_was_moved_since_the_plan_is_noticed() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    fake.meanwhile("open 2", |state| state.lambda.move_alias("1"));
    fake.deploy_all()
        .await
        .fails(11)
        .says(&["alias of governance was moved"]);
    assert_eq!(fake.changes(), ["open 2", "close 2 rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_value_is_named_with_the_command_that_gives_it_one() {
    let fake = Fake::applied();
    fake.is_not_local();
    fake.state().secrets.remove(&secret_arn(ORBIT));
    let output = fake.deploy_all().await;
    output.fails(12).says(&[
        "the secrets of orbit",
        "cargo xtask secrets init --env staging",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_lint_ends_a_deploy_before_anything_is_changed() {
    let fake = Fake::applied();
    fake.edit_template(ORBIT, ":database_url::", ":database_url");
    let output = fake.deploy_all().await;
    output
        .fails(10)
        .says(&["orbit T05 error", "lint found 1 error"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn faults_of_both_templates_are_told_at_once() {
    let fake = Fake::applied();
    fake.edit_template(AXON, "${AXON_IMAGE}", "${AXON_IMAGES}");
    fake.edit_template(ORBIT, "${LOG_GROUP}", "${LOG GROUP}");
    let output = fake.deploy_all().await;
    output.fails(10).says(&[
        "task-definitions/axon.json: no value for placeholder `${AXON_IMAGES}`",
        "task-definitions/orbit.json: ",
        "invalid placeholder `${LOG GROUP}`",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_is_not_local_is_not_changed_without_a_yes() {
    let fake = Fake::applied();
    fake.is_not_local();
    fake.deploy_all()
        .await
        .fails(11)
        .says(&["not confirmed", "staging", "--yes"]);
    assert_eq!(fake.changes(), [""; 0]);
    let options = Options {
        components: COMPONENTS.to_vec(),
        dry_run: false,
        yes: true,
        lift_hold: false,
    };
    fake.run(async |context| deploy(context, &options).await)
        .await
        .succeeds();
}

#[tokio::test(start_paused = true)]
async fn an_infrastructure_that_is_not_local_is_not_applied_without_a_yes() {
    let fake = Fake::empty();
    fake.is_not_local();
    let output = fake.deploy_all().await;
    output
        .fails(11)
        .says(&["terraform would change this", "not confirmed"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_applied_is_what_was_planned() {
    let fake = Fake::empty();
    fake.state().infra = "planned".to_owned();
    fake.meanwhile("apply", |state| state.infra = "saved meanwhile".to_owned());
    fake.deploy_all().await.succeeds();
    let published = fake.state().published.clone().unwrap();
    assert_eq!(published["infra_sha256"], "planned");
}

#[tokio::test(start_paused = true)]
async fn outputs_of_another_place_is_refused() {
    let fake = Fake::applied();
    for (field, value) in [
        ("project", "other"),
        ("environment", "staging"),
        ("region", "eu-west-1"),
        ("account_id", "444455556666"),
    ] {
        let before = fake.state().published.clone();
        fake.state().published.as_mut().unwrap()[field] = value.into();
        fake.deploy_all().await.fails(12).says(&[
            "demo-local-releases is not local's",
            field,
            value,
        ]);
        assert_eq!(fake.changes(), [""; 0]);
        fake.state().published = before;
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_of_another_version_are_refused_and_an_unknown_field_is_told() {
    let fake = Fake::applied();
    fake.state().published.as_mut().unwrap()["colour"] = "blue".into();
    fake.deploy_all()
        .await
        .succeeds()
        .says(&["ignores: colour"]);
    fake.state().published.as_mut().unwrap()["version"] = 4.into();
    fake.deploy_all()
        .await
        .fails(12)
        .says(&["demo-local-releases", "version 4", "as new as"]);
}

#[tokio::test(start_paused = true)]
async fn outputs_of_an_older_infra_is_applied_again_by_a_deploy_and_refused_by_others() {
    let fake = Fake::applied();
    let outdate = || {
        let mut state = fake.state();
        let outputs = state.published.as_mut().unwrap().as_object_mut().unwrap();
        outputs.remove("namespace");
    };
    outdate();
    let looked = fake.run(async |context| required(context).await.map(drop));
    looked
        .await
        .fails(12)
        .says(&["missing: namespace", "cargo xtask deploy --env local"]);
    fake.deploy_all()
        .await
        .succeeds()
        .says(&["missing: namespace", "applied"]);
    outdate();
    let options = Options {
        components: COMPONENTS.to_vec(),
        dry_run: true,
        yes: false,
        lift_hold: false,
    };
    let dry = fake.run(async |context| deploy(context, &options).await);
    dry.await.succeeds().says(&["missing: namespace"]);
}
