//! The steps of the pipelines' workflows, run from their files, in their order.

use e2e::{CheckoutCopy, workflow};

use crate::{Story, releases};

/// Nothing is released, because everything is deployed. The step of `check` is this very test, and is
/// compared with `.ci/run` instead; the steps of `rollback` are run in the chapter of that name.
pub(crate) fn workflows(story: &Story) {
    let checkout = story.deployed();
    let names = |workflow: &str| -> Vec<String> {
        let text = checkout.read(&format!(".github/workflows/{workflow}.yml"));
        let steps = workflow::steps(&text).into_iter();
        steps.map(|step| step.name).collect()
    };
    assert_eq!(names("check"), ["Test"]);
    let ci = checkout.read(".ci/run");
    let test = ci.lines().next_back().expect("a command");
    let check = checkout.read(".github/workflows/check.yml");
    assert_eq!(
        workflow::steps(&check)[0].script,
        format!("exec {test} --format github")
    );

    let before = releases(checkout);
    assert_eq!(names("build"), ["Build"]);
    assert_eq!(names("deploy"), ["Prepare", "Deploy", "Verify"]);
    deploy_runs_the_bundle(checkout);
    let of_rollback = [
        "Find",
        "Prepare",
        "Let releases go on",
        "Roll back",
        "Verify",
    ];
    assert_eq!(names("rollback"), of_rollback);
    assert_eq!(names("plan"), ["Refuse a fork", "Prepare", "Plan"]);
    plan_is_on_the_page(checkout);
    assert_eq!(releases(checkout), before);
}

/// The bundle that the steps of the other workflows run.
pub(crate) fn build_bundle(checkout: &CheckoutCopy) {
    let environments = [("ENVIRONMENTS", "local")];
    let built = checkout.run_step("build", "Build", &environments);
    let kept = "kept governance, axon, orbit in target/bundle";
    built.expect(0, &["nothing to compile", "axon demo/axon@", kept]);
}

fn deploy_runs_the_bundle(checkout: &CheckoutCopy) {
    build_bundle(checkout);
    checkout.lose_modes("target/bundle");
    let step = |name: &str| checkout.run_step("deploy", name, &[]);
    step("Prepare").expect(0, &[]);
    assert_eq!(checkout.read("target/step.output"), "region=us-east-1\n");
    step("Deploy").expect(0, &["nothing to do"]);
    step("Verify").expect(0, &["PASS  Services deploy to ECS"]);
}

fn plan_is_on_the_page(checkout: &CheckoutCopy) {
    let summary = checkout.summary_file();
    let variables = [("GITHUB_STEP_SUMMARY", summary.as_str())];
    let fork = checkout.run_step("plan", "Refuse a fork", &variables);
    fork.expect(12, &["::error title=plan::a pull request from a fork"]);
    let plan = checkout.run_step("plan", "Plan", &variables);
    plan.expect(0, &["nothing to do"]);
    let page = checkout.read("target/summary.md");
    let (refused, planned) = page.split_once("### Plan for local").expect("a plan");
    assert!(refused.contains("a fork gets no credentials"), "{page}");
    assert!(planned.contains("nothing to do"), "{page}");
}
