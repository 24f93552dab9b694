//! The step of the workflow `rollback` that finds a bundle, with a fake of GitHub's `gh`.

#![expect(
    clippy::disallowed_methods,
    reason = "a step is read from its file and writes files, as on a runner"
)]

use std::path::Path;

use e2e::workflow::{WorkflowStep, steps};

fn find() -> WorkflowStep {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workflow = std::fs::read_to_string(root.join(".github/workflows/rollback.yml"));
    let mut steps = steps(&workflow.expect("the workflow")).into_iter();
    steps.find(|step| step.name == "Find").expect("the step")
}

/// The step's output, with this script as `gh`.
fn found(gh: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/e2e/find");
    drop(std::fs::remove_dir_all(&folder));
    find().run_with(&folder, "gh", gh);
    std::fs::read_to_string(folder.join("target/step.output")).unwrap_or_default()
}

#[test]
fn a_rollback_uses_the_newest_bundle_of_main_that_is_kept() {
    let gh = r#"
        case "$2" in
            "repos/example/demo/actions/workflows/release.yml/runs?branch=main&event=push&"*)
                printf '3 ccc\n2 bbb\n1 aaa\n' ;;
            "repos/example/demo/actions/runs/3/artifacts?name=bundle") echo 0 ;;
            "repos/example/demo/actions/runs/"[12]"/artifacts?name=bundle") echo 1 ;;
            *) exit 1 ;;
        esac"#;
    assert_eq!(found(gh), "run-id=2\ncommit=bbb\n");
    // Without a bundle, or an answer of GitHub, the output is empty, and the workflow builds one.
    assert_eq!(found(&gh.replace("echo 1", "echo 0")), "");
    assert_eq!(found(&gh.replace("echo 1", "exit 1")), "");
    assert_eq!(found("exit 1"), "");
}
