//! `build`: only what is missing is built and pushed, and each line of the result has a digest.

use std::path::Path;

use serde_json::Value;
use xtask::catalog::{Component, Service};
use xtask::commands::build::{Request, Target, build};
use xtask::decide::artifact::types::Digest;
use xtask::report::Format;

use crate::world::components::{AXON, COMPONENTS, GOVERNANCE, ORBIT};
use crate::world::{CommandOutput, Fake};

/// Where a build leaves its artifacts, beside the cache.
#[derive(Clone, Copy)]
struct Destination {
    is_registry: bool,
    folder: Option<&'static str>,
}

const CACHE: Destination = Destination {
    is_registry: false,
    folder: None,
};
const REGISTRY: Destination = Destination {
    is_registry: true,
    folder: None,
};

async fn build_to(
    fake: &Fake,
    destination: Destination,
    format: Format,
    components: &[Component],
) -> CommandOutput {
    fake.run_on_outputs_in(format, async |context, outputs| {
        let target = Target {
            outputs,
            registry: context.registry,
        };
        let request = Request {
            components,
            architecture: context.architecture,
            project: &context.environment.project,
            push: destination.is_registry.then_some(target),
            out: destination.folder.map(Path::new),
        };
        build(context.builder, context.report, &request).await
    })
    .await
}

/// What was built, bundled and pushed, in order.
fn done(fake: &Fake) -> Vec<String> {
    let mut calls = fake.calls();
    let work = ["build ", "bundle ", "push "];
    calls.retain(|call| work.iter().any(|name| call.starts_with(name)));
    calls
}

/// The sources of these components were built before.
fn cached(fake: &Fake, components: &[Component]) {
    let mut state = fake.state();
    let keys: Vec<_> = components.iter().map(|it| state.key(*it)).collect();
    state.cached.extend(keys);
}

/// The registry has the images of these services.
fn pushed(fake: &Fake, services: &[Service]) {
    let mut state = fake.state();
    for service in services {
        let image = (state.key(*service), state.digest(*service));
        state.images.entry(*service).or_default().extend([image]);
    }
}

fn digest(fake: &Fake, component: impl Into<Component>) -> Digest {
    fake.state().digest(component)
}

#[tokio::test(start_paused = true)]
async fn without_a_push_names_are_those_of_the_project() {
    let fake = Fake::applied();
    let output = build_to(&fake, CACHE, Format::Human, &COMPONENTS).await;
    assert_eq!(done(&fake), ["build governance axon orbit"]);
    let expected = format!(
        "governance {}\naxon demo/axon@{}\norbit demo/orbit@{}\n",
        digest(&fake, GOVERNANCE),
        digest(&fake, AXON),
        digest(&fake, ORBIT)
    );
    assert_eq!(output.succeeds().data, expected);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_for_is_built_and_only_once() {
    let fake = Fake::applied();
    cached(&fake, &[AXON.into()]);
    let output = build_to(&fake, CACHE, Format::Human, &[AXON.into()]).await;
    let expected = format!("axon demo/axon@{}\n", digest(&fake, AXON));
    assert_eq!(output.succeeds().data, expected);
    assert_eq!(done(&fake), [""; 0]);
    for _ in 0..2 {
        let output = build_to(&fake, CACHE, Format::Human, &[ORBIT.into()]).await;
        output.succeeds();
        assert_eq!(done(&fake), ["build orbit"]);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_the_registry_lacks_is_pushed() {
    let fake = Fake::applied();
    pushed(&fake, &[AXON]);
    let output = build_to(&fake, REGISTRY, Format::Human, &COMPONENTS).await;
    assert_eq!(done(&fake), ["build governance orbit", "push orbit"]);
    let axon = format!("axon localhost:4577/demo/axon@{}\n", digest(&fake, AXON));
    assert!(output.succeeds().data.contains(&axon), "{}", output.data);

    let fake = Fake::applied();
    pushed(&fake, &[AXON, ORBIT]);
    let services = [AXON.into(), ORBIT.into()];
    let output = build_to(&fake, REGISTRY, Format::Human, &services).await;
    output.succeeds();
    assert_eq!(done(&fake), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_asked_for_is_bundled_whatever_the_registry_has() {
    let fake = Fake::applied();
    pushed(&fake, &[AXON]);
    let destination = Destination {
        is_registry: true,
        folder: Some("there"),
    };
    let output = build_to(&fake, destination, Format::Human, &COMPONENTS).await;
    output.succeeds();
    let expected = [
        "build governance axon orbit",
        "bundle governance axon orbit in there",
        "push orbit",
    ];
    assert_eq!(done(&fake), expected);
}

#[tokio::test(start_paused = true)]
async fn json_is_a_list_of_what_was_built() {
    let fake = Fake::applied();
    cached(&fake, &COMPONENTS);
    let components = [GOVERNANCE.into(), AXON.into()];
    let output = build_to(&fake, CACHE, Format::Json, &components).await;
    let built: Value = serde_json::from_str(&output.succeeds().data).unwrap();
    let image = format!("demo/axon@{}", digest(&fake, AXON));
    assert_eq!(built[0]["name"], "governance");
    assert_eq!(built[0]["image"], Value::Null);
    assert_eq!(built[1]["image"], image);
    assert_eq!(built.as_array().unwrap().len(), 2);
}
