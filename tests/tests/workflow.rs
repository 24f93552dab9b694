//! Reading what the workflows run, and the one step that asks GitHub itself.

#![expect(
    clippy::disallowed_methods,
    reason = "a step is read and leaves files, as it does on a runner"
)]

use std::path::Path;

use e2e::workflow::{Step, steps};

#[test]
fn scripts_of_one_line_and_of_many_are_found_with_their_names() {
    let text = "name: it\njobs:\n  job:\n    steps:\n      - uses: somebody/something@abc\n      \
        - name: One\n        run: exec one --now\n      - name: Two\n        run: |\n          \
        echo a\n          echo b\n      - name: Three\n        run: three\n";
    let found: Vec<_> = steps(text)
        .into_iter()
        .map(|step| (step.name, step.script))
        .collect();
    let expected = [
        ("One", "exec one --now"),
        ("Two", "echo a\necho b\n"),
        ("Three", "three"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, script)| (name.to_owned(), script.to_owned()))
    );
}

fn find() -> Step {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workflow = std::fs::read_to_string(root.join(".github/workflows/rollback.yml"));
    let mut steps = steps(&workflow.expect("the workflow")).into_iter();
    steps.find(|step| step.name == "Find").expect("the step")
}

/// What the step found, where `gh` is this program.
fn found(gh: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/e2e/find");
    drop(std::fs::remove_dir_all(&folder));
    find().run_with(&folder, "gh", gh);
    std::fs::read_to_string(folder.join("target/step.output")).unwrap_or_default()
}

#[test]
fn a_rollback_takes_the_newest_xtask_of_main_that_is_still_kept() {
    let gh = r#"
        case "$2" in
            "repos/example/demo/actions/workflows/release.yml/runs?branch=main&event=push&"*)
                printf '3 ccc\n2 bbb\n1 aaa\n' ;;
            "repos/example/demo/actions/runs/3/artifacts?name=bundle") echo 0 ;;
            "repos/example/demo/actions/runs/"[12]"/artifacts?name=bundle") echo 1 ;;
            *) exit 1 ;;
        esac"#;
    assert_eq!(found(gh), "run-id=2\ncommit=bbb\n");
    // Where nothing is kept, or GitHub does not say, one is built.
    assert_eq!(found(&gh.replace("echo 1", "echo 0")), "");
    assert_eq!(found(&gh.replace("echo 1", "exit 1")), "");
    assert_eq!(found("exit 1"), "");
}
