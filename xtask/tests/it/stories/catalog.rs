//! Components that come and go: what the catalog says against what runs.

use serde_json::{Value, json};
use xtask::catalog::{Component, FILE};
use xtask::commands::deploy::{Options, deploy};
use xtask::commands::plan::plan;
use xtask::report::Format;

use crate::world::Fake;
use crate::world::components::{
    AXON, COMPONENTS, ECHO, GOVERNANCE, ORBIT, catalog, changed, echo_entry, entry,
};

/// What orbit's template has of axon.
const AXON_URL: &str =
    "{ \"name\": \"AXON_SERVICE_URL\", \"value\": \"http://axon.${NAMESPACE}/reason\" },";

type Change = fn(&mut Vec<Value>);

/// Orbit calls nothing, and axon is out of service.
fn axon_retired(components: &mut [Value]) {
    entry(components, "orbit")["calls"] = json!([{ "function": "governance" }]);
    entry(components, "axon")["retired"] = json!(true);
}

fn applies_anew(fake: &Fake) {
    "infra-two".clone_into(&mut fake.state().infra);
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_would_destroy_what_runs_is_refused_by_name() {
    let fake = Fake::released().await;
    applies_anew(&fake);
    fake.state().destroyed_by_apply = vec!["axon".to_owned()];
    let ran = fake.deploy_all().await;
    ran.fails(11).says(&[
        "terraform would destroy axon, which runs",
        "\"retired\": true",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_runs_keeps_its_port_its_kind_its_routes_and_its_name() {
    let fake = Fake::released().await;
    let cases: [(Change, &str, &str); 4] = [
        (
            |components| entry(components, "axon")["port"] = json!(81),
            "axon runs on port 80 and not 81",
            "set the port of axon to 80, or make a new entry and retire this one",
        ),
        (
            |components| {
                axon_retired(components);
                let axon = entry(components, "axon");
                let checks = json!([{ "request": {}, "response": { "a": 1 } }]);
                *axon = json!({ "name": "axon", "kind": "function", "crate": "services/axon", "checks": checks });
            },
            "axon runs as another kind of component",
            "give the new component another name than axon",
        ),
        (
            |components| {
                let routes = entry(components, "axon")["routes"].take();
                entry(components, "axon")["routes"] = json!([{ "priority": 90, "path": "/old" }]);
                components.push(json!({
                    "name": "echo", "kind": "service", "crate": "services/echo", "port": 80, "routes": routes,
                }));
            },
            "echo takes the route /reason from axon",
            "release echo with another route, then move /reason to it",
        ),
        (
            |components| {
                entry(components, "axon")["name"] = json!("axon-two");
                entry(components, "orbit")["calls"][0]["service"] = json!("axon-two");
            },
            "axon-two takes the route /reason from axon, which runs and has no entry any more",
            "an entry that runs keeps its name: put axon back, and retire it first",
        ),
    ];
    for (change, expected, remedy) in cases {
        fake.state().catalog = changed(change);
        applies_anew(&fake);
        let ran = fake.deploy(&[ORBIT]).await;
        ran.fails(11).says(&[FILE, expected, remedy]);
        assert_eq!(fake.changes(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retired_service_is_stopped_after_the_others_and_then_removed() {
    let fake = Fake::released().await;
    fake.state().catalog = changed(|components| axon_retired(components));
    applies_anew(&fake);
    fake.edit_template(ORBIT, AXON_URL, "");
    fake.state().destroyed_by_apply = vec!["axon".to_owned()];
    let ran = fake.deploy_all().await;
    ran.succeeds().says(&["axon        will be retired"]);
    let changes = fake.changes();
    let place = |text: &str| changes.iter().position(|change| change.contains(text));
    let (orbit, axon, apply) = (place("update orbit"), place("update axon"), place("apply"));
    assert!(
        orbit.is_some() && orbit < axon && axon < apply,
        "{changes:?}"
    );
    let state = fake.state();
    assert_eq!(state.desired(AXON), 0);
    drop(state);

    // The newest record says that nothing of it runs.
    let newest = fake.record(3);
    assert!(!newest.runs(AXON.name()) && newest.runs(ORBIT.name()));
    assert!(newest.runs(GOVERNANCE.name()));
}

#[tokio::test(start_paused = true)]
async fn what_terraform_has_not_made_yet_is_told_and_left_out_of_a_plan() {
    let fake = Fake::released().await;
    fake.add_echo();
    let components = fake.state().catalog.components();
    assert_eq!(components.len(), COMPONENTS.len() + 1);
    let ran = fake.run_on_outputs(async |context, outputs| {
        xtask::commands::plan::plan(context, outputs, &components, false).await
    });
    ran.await
        .succeeds()
        .says(&["echo        is in the catalog and not created yet"]);
}

/// The role of a pipeline names each component. A deploy of one that it does not know fails before
/// anything is built.
#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_know_a_component_is_told_before_a_build() {
    for (denied, says) in [
        ("tail /ecs/demo-orbit", "orbit: tail /ecs/demo-orbit"),
        ("look governance", "look governance"),
    ] {
        let fake = Fake::applied();
        fake.deny(denied);
        fake.deploy_all().await.fails(12).says(&[
            "these credentials may not release all components",
            says,
            "cd infra/bootstrap",
            "-var-file=../environments/local.tfvars.json",
        ]);
        assert_eq!(fake.changes(), [""; 0]);
        assert_eq!(fake.state().builds, 0);
    }
    // Of what runs already no log is read.
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.deny("tail /ecs/demo-orbit");
    fake.deploy_all().await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn what_is_retired_is_not_changed_at_once() {
    let fake = Fake::released().await;
    fake.state().catalog = changed(|components| {
        axon_retired(components);
        entry(components, "axon")["port"] = json!(81);
        entry(components, "axon")["routes"] = json!([{ "priority": 90, "path": "/old" }]);
    });
    applies_anew(&fake);
    fake.deploy_all().await.fails(11).says(&[
        "axon is retired and changed at once: it runs on port 80 and not 81",
        "hint: set the port of axon to 80 until it is gone",
    ]);
    assert_eq!(fake.changes(), [""; 0]);
}

/// Refused by `plan` and a dry run too, which apply nothing.
#[tokio::test(start_paused = true)]
async fn what_a_deploy_would_refuse_is_not_planned() {
    let fake = Fake::released().await;
    fake.state().catalog = changed(|components| entry(components, "axon")["port"] = json!(81));
    applies_anew(&fake);
    let components = fake.state().catalog.components();
    let options = Options {
        components: components.clone(),
        dry_run: true,
        yes: false,
        lift_hold: false,
    };
    let dry_run = fake.run(async |context| deploy(context, &options).await);
    let plan = fake
        .run_on_outputs(async |context, outputs| plan(context, outputs, &components, false).await);
    for ran in [dry_run.await, plan.await] {
        ran.fails(11).says(&["axon runs on port 80 and not 81"]);
        assert_eq!(ran.data, "");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_would_retire_is_planned() {
    let fake = Fake::released().await;
    fake.state().catalog = changed(|components| axon_retired(components));
    applies_anew(&fake);
    fake.edit_template(ORBIT, AXON_URL, "");
    let components = fake.state().catalog.components();
    let options = Options {
        components: components.clone(),
        dry_run: true,
        yes: false,
        lift_hold: false,
    };
    let line = "axon        retire: stop its tasks, then remove it; its repository, secret and log \
                group stay";
    let dry_run = fake.run(async |context| deploy(context, &options).await);
    dry_run
        .await
        .succeeds()
        .says(&[line, "a dry run ends here"]);
    let planned = fake
        .run_on_outputs(async |context, outputs| plan(context, outputs, &components, true).await);
    let planned = planned.await;
    planned.fails(13);
    assert!(planned.data.contains(line), "{}", planned.data);
    assert_eq!(fake.changes(), [""; 0]);

    // The others run as they are in the checkout already.
    fake.deploy(&[ORBIT]).await.succeeds();
}

/// Nothing calls a new service, so that its retirement changes nothing else.
#[tokio::test(start_paused = true)]
async fn a_deploy_that_only_retires_does_not_say_that_nothing_is_to_do() {
    let fake = Fake::released().await;
    fake.add_echo();
    applies_anew(&fake);
    fake.deploy_all().await.succeeds();
    let mut retired = echo_entry();
    retired["retired"] = json!(true);
    fake.state().catalog = changed(|components| components.push(retired));
    "infra-three".clone_into(&mut fake.state().infra);
    fake.state().destroyed_by_apply = vec!["echo".to_owned()];
    let components = fake.state().catalog.components();
    let planned = fake
        .run_on_outputs(async |context, outputs| plan(context, outputs, &components, true).await);
    let planned = planned.await;
    planned.fails(13);
    assert!(
        planned.data.contains("echo        retire: "),
        "{}",
        planned.data
    );
    let ran = fake.deploy_in::<Component>(Format::Json, &[]).await;
    ran.succeeds().says(&["\"event\":\"will_retire\""]);
    assert!(!ran.talk.contains("nothing_to_deploy"), "{}", ran.talk);
    let result: Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(
        (&result["outcome"], &result["release"]),
        (&json!("succeeded"), &json!(4))
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_entry_any_more_and_runs_is_not_planned() {
    let fake = Fake::released().await;
    fake.add_echo();
    applies_anew(&fake);
    fake.deploy_all().await.succeeds();
    fake.state().catalog = catalog();
    drop(fake.changes());
    let options = Options {
        components: COMPONENTS.into(),
        dry_run: true,
        yes: false,
        lift_hold: false,
    };
    let dry_run = fake.run(async |context| deploy(context, &options).await);
    let plan = fake
        .run_on_outputs(async |context, outputs| plan(context, outputs, &COMPONENTS, false).await);
    for ran in [dry_run.await, plan.await] {
        ran.fails(11).says(&[
            "terraform would destroy echo, which runs",
            "\"retired\": true",
        ]);
        assert_eq!(ran.data, "");
    }
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_record_has_is_released_alone() {
    let fake = Fake::released().await;
    fake.add_echo();
    applies_anew(&fake);
    fake.edit(&COMPONENTS, "two");
    fake.deploy(&[ECHO]).await.succeeds();
    let changes = fake.changes();
    let updates: Vec<_> = changes
        .iter()
        .filter(|it| it.starts_with("update"))
        .collect();
    assert_eq!(
        updates,
        ["update echo demo-echo:1 desired 2"],
        "{changes:?}"
    );
    // 2 is the apply.
    let entries = fake.record(3).entries;
    assert!(entries.services[&ECHO].before.is_none() && entries.services[&ECHO].after.is_some());
    assert_eq!(
        entries.services[&AXON].before,
        entries.services[&AXON].after
    );
    assert_eq!((entries.services.len(), entries.functions.len()), (3, 1));
}

/// The new one is created and waits for its own release.
#[tokio::test(start_paused = true)]
async fn others_are_released_without_a_name_that_no_record_has() {
    let fake = Fake::released().await;
    fake.add_echo();
    applies_anew(&fake);
    fake.edit(&COMPONENTS, "two");
    fake.deploy(&[AXON]).await.succeeds();
    let release = fake.record(3);
    assert!(!release.runs(ECHO.name()) && release.runs(AXON.name()));
    assert_eq!(fake.state().desired(ECHO), 0);
    fake.deploy_all().await.succeeds();
    assert!(fake.record(4).runs(ECHO.name()));
}
