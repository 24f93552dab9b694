//! Components that come and go: what the catalog says against what runs.

use serde_json::{Value, json};
use xtask::catalog::FILE;

use crate::world::Fake;
use crate::world::components::{AXON, COMPONENTS, GOVERNANCE, ORBIT, changed, entry};

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
async fn what_runs_keeps_its_port_its_kind_and_its_routes() {
    let fake = Fake::released().await;
    let cases: [(Change, &str); 3] = [
        (
            |components| entry(components, "axon")["port"] = json!(81),
            "axon runs on port 80 and not 81",
        ),
        (
            |components| {
                axon_retired(components);
                let axon = entry(components, "axon");
                let checks = json!([{ "request": {}, "response": {} }]);
                *axon = json!({ "name": "axon", "kind": "function", "crate": "services/axon", "checks": checks });
            },
            "axon runs as another kind of component",
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
        ),
    ];
    for (change, expected) in cases {
        fake.state().catalog = changed(change);
        applies_anew(&fake);
        let ran = fake.deploy(&[ORBIT]).await;
        ran.fails(11).says(&[FILE, expected]);
        assert_eq!(fake.changes(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retired_service_is_stopped_after_the_others_and_then_removed() {
    let fake = Fake::released().await;
    fake.state().catalog = changed(|components| axon_retired(components));
    applies_anew(&fake);
    fake.edit_template(
        ORBIT,
        "{ \"name\": \"AXON_SERVICE_URL\", \"value\": \"http://axon.${NAMESPACE}/reason\" },",
        "",
    );
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
    assert_eq!(state.ecs.services[&AXON].desired, 0);
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
