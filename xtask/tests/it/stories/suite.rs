//! `test`: on a developer's machine it installs nothing, and names the stages that it had to skip;
//! in CI a skipped stage is a failure.

use serde_json::Value;
use std::path::Path;
use xtask::commands::coverage::coverage;
use xtask::commands::test::{TestParts, TestScope, test};
use xtask::ports::Context;
use xtask::report::Format;

use crate::world::{CommandOutput, Fake};

#[derive(Clone, Copy, Default)]
struct Flags {
    fix: bool,
    ci: bool,
}

async fn run(fake: &Fake, flags: Flags, format: Format) -> CommandOutput {
    run_scope(fake, TestScope::All, flags, format).await
}

async fn run_scope(fake: &Fake, scope: TestScope, flags: Flags, format: Format) -> CommandOutput {
    fake.run_in(format, async |context| {
        let parts = TestParts {
            catalog: context.catalog,
            toolchain: fake,
            report: context.report,
            source: fake,
            infra: fake,
            workflows: fake,
            suites: fake,
            machine: fake,
            fix: flags.fix,
            ci: flags.ci,
            corpora: Path::new("corpora"),
            program: Path::new("xtask"),
        };
        test(&parts, scope).await
    })
    .await
}

const IN_CI: Flags = Flags {
    fix: true,
    ci: true,
};

#[tokio::test(start_paused = true)]
async fn alone_it_names_what_it_could_not_look_at_and_installs_nothing() {
    let fake = Fake::empty();
    fake.state().machine.has_llvm = false;
    let output = run(&fake, Flags::default(), Format::Human).await;
    output.succeeds();
    let lines: Vec<&str> = output.data.lines().collect();
    assert_eq!(lines[0], "1 stage skipped:");
    assert!(lines[1].starts_with("  coverage: llvm-cov"), "{lines:?}");
    assert!(
        lines[1].ends_with("`cargo xtask test --fix` gets it"),
        "{lines:?}"
    );
    assert_eq!(lines[2], "tests: 9 passed, 0 failed");
    assert_eq!(fake.state().machine.installed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn programs_that_take_long_are_run_only_when_they_are_asked_for() {
    for (scope, runs) in [(TestScope::All, 0), (TestScope::Long, 1)] {
        let fake = Fake::empty();
        let output = run_scope(&fake, scope, Flags::default(), Format::Human).await;
        output.succeeds();
        let ran = fake.state().machine.ran.clone();
        for program in [
            "--test traffic",
            "--test service -- suites::",
            "--fuzz-dir=xtask/fuzz",
        ] {
            let long = ran.iter().filter(|run| run.contains(program));
            assert_eq!(long.count(), runs, "{ran:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suite_that_the_machine_lacks_is_skipped_by_its_name() {
    for (has_h2load, skipped) in [(true, 0), (false, 1)] {
        let fake = Fake::empty();
        fake.state().machine.has_h2load = has_h2load;
        let output = run_scope(&fake, TestScope::Long, Flags::default(), Format::Human).await;
        output.succeeds();
        let lines = output.data.lines();
        let named = lines.filter(|line| line.starts_with("  h2load: h2load is not on the PATH"));
        assert_eq!(named.count(), skipped, "{}", output.data);
    }
}

#[tokio::test(start_paused = true)]
async fn simulations_and_the_contract_are_longer_where_that_is_asked_for() {
    let scopes = [
        (TestScope::Fast, vec![]),
        (TestScope::All, vec!["5000", "some"]),
        (TestScope::Long, vec!["100000", "all"]),
    ];
    for (scope, runs) in scopes {
        let fake = Fake::empty();
        let output = run_scope(&fake, scope, Flags::default(), Format::Human).await;
        output.succeeds();
        assert_eq!(fake.state().machine.simulated, runs);
    }
}

#[tokio::test(start_paused = true)]
async fn in_ci_a_stage_that_is_skipped_is_a_failure() {
    let fake = Fake::empty();
    fake.state().machine.has_llvm = false;
    let flags = Flags {
        fix: false,
        ci: true,
    };
    let output = run(&fake, flags, Format::Human).await;
    output.fails(30).says(&["skipped in CI: coverage"]);
}

#[tokio::test(start_paused = true)]
async fn fix_gets_what_is_missing_and_the_tests_are_run_once() {
    let fake = Fake::empty();
    fake.state().machine.has_llvm = false;
    let output = run(&fake, IN_CI, Format::Json).await;
    output.succeeds();
    let result = output
        .data
        .lines()
        .find(|line| line.contains("skipped_stages"));
    let result: Value = serde_json::from_str(result.unwrap()).unwrap();
    assert_eq!(result["skipped_stages"], serde_json::json!([]));
    let machine = &fake.state().machine;
    assert_eq!(
        machine.installed,
        [
            "apt-get update",
            "apt-get install -y --no-install-recommends llvm-22"
        ]
    );
    let tests = machine
        .ran
        .iter()
        .filter(|run| run.contains("--exclude e2e"));
    let tests: Vec<&String> = tests.collect();
    assert_eq!(tests.len(), 1, "{tests:?}");
    assert!(
        tests[0].starts_with("counted cargo test --workspace"),
        "{tests:?}"
    );
    assert!(machine.coverage.is_some(), "verify finds it");
}

#[tokio::test(start_paused = true)]
async fn completion_in_a_shell_that_is_not_installed_is_skipped_by_name() {
    let fake = Fake::empty();
    fake.state().machine.shells_missing = [false, true, true];
    let output = run(&fake, Flags::default(), Format::Human).await;
    output.succeeds();
    for stage in ["zsh", "fish"] {
        let line = format!("  completions in {stage}: {stage} is not installed; `apt-get update");
        assert!(output.data.contains(&line), "{}", output.data);
    }
}

#[tokio::test(start_paused = true)]
async fn what_apt_does_not_have_rustup_has() {
    let fake = Fake::empty();
    fake.state().machine.has_llvm = false;
    fake.state().machine.apt_has_llvm = false;
    let output = run(&fake, IN_CI, Format::Human).await;
    output.succeeds().says(&["unable to locate package"]);
    let installed = fake.state().machine.installed.clone();
    assert_eq!(installed.last().unwrap(), "rustup component add llvm-tools");
}

#[tokio::test(start_paused = true)]
async fn too_little_coverage_fails() {
    let fake = Fake::empty();
    fake.state().machine.lines_percent = 80.0;
    let output = run(&fake, Flags::default(), Format::Human).await;
    output
        .fails(30)
        .says(&["expected more than 80 %", "failed: coverage"]);
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_every_component_count() {
    let fake = Fake::empty();
    fake.add_echo();
    let output = fake.run_in(Format::Human, async |context| {
        let Context {
            report, catalog, ..
        } = context;
        coverage((&fake, &fake), report, &fake, catalog, false).await
    });
    output.await.succeeds();
    let machine = &fake.state().machine;
    let command = "counted cargo test --locked --message-format=json-render-diagnostics \
                   --package service-kit --package governance --package axon --package echo \
                   --package orbit";
    assert_eq!(machine.ran, [command]);
    let folders = ["kit", "governance", "axon", "echo", "orbit"];
    assert_eq!(
        machine.counted,
        folders.map(|folder| format!("services/{folder}/src"))
    );
}

/// No command on this machine can fix that, so it is no skipped stage.
#[tokio::test(start_paused = true)]
async fn advisories_that_nobody_can_reach_are_told_and_fail_nothing() {
    let fake = Fake::empty();
    fake.state().machine.has_advisories = false;
    let output = run(&fake, IN_CI, Format::Human).await;
    output.succeeds().says(&["advisories  not checked"]);
    fake.state().machine.has_advisories = true;
    fake.state().machine.fails = Some("advisories");
    let output = run(&fake, IN_CI, Format::Human).await;
    output.fails(30).says(&["failed: advisories"]);
}
