//! `verify`: every criterion is looked at, and nothing is changed.

use std::time::Duration;

use serde_json::{Value, json};
use xtask::commands::verify::{Tools, VerifyScope, verify};
use xtask::report::Format;

use crate::world::components::{AXON, ECHO, GOVERNANCE, ORBIT, changed};
use crate::world::{Answers, Fake, FakeState, Wrong};

/// The exit code of a run, the status of each criterion in order, and the whole output.
struct Checked {
    exit_code: u8,
    statuses: String,
    checks: Vec<Value>,
}

impl Checked {
    /// The numbers of the criteria that failed.
    fn failed(&self) -> impl Iterator<Item = usize> {
        let failed = self.checks.iter().enumerate();
        let failed = failed.filter(|(_, check)| check["status"] == "FAIL");
        failed.map(|(index, _)| index + 1)
    }

    /// What was seen of a criterion, by its number.
    fn seen(&self, number: usize) -> String {
        self.checks[number - 1]["seen"].to_string()
    }
}

async fn deployed(fake: &Fake) -> Checked {
    checked(fake, VerifyScope::Deployed).await
}

async fn whole(fake: &Fake) -> Checked {
    let tools = Tools {
        containers: fake,
        toolchain: fake,
    };
    checked(fake, VerifyScope::Whole(tools)).await
}

async fn checked(fake: &Fake, scope: VerifyScope<'_>) -> Checked {
    let output = fake
        .run_on_outputs_in(Format::Json, async |context, outputs| {
            verify(context, outputs, scope).await
        })
        .await;
    let checks: Vec<Value> = serde_json::from_str(&output.data).unwrap();
    let statuses: Vec<&str> = checks
        .iter()
        .map(|check| check["status"].as_str().unwrap())
        .collect();
    Checked {
        exit_code: output.exit_code,
        statuses: statuses.join(" "),
        checks,
    }
}

const ALL_PASS: &str = "PASS PASS PASS PASS PASS PASS PASS PASS PASS PASS PASS PASS";

#[tokio::test(start_paused = true)]
async fn what_works_passes_each_criterion_and_nothing_is_left() {
    let fake = Fake::released().await;
    let checked = whole(&fake).await;
    assert_eq!(checked.statuses, ALL_PASS, "{:#?}", checked.checks);
    assert_eq!(checked.exit_code, 0);
    assert_eq!(fake.changes(), [""; 0]);
    assert_eq!(fake.state().alone.images, [""; 0]);
    assert_eq!(fake.state().machine.installed, [""; 0]);
}

/// For each criterion, in order, a fault that fails it and no other.
const FAULTS: [fn(&mut FakeState); 12] = [
    |state| state.alone.wrong = Some(Wrong::HealthStatus),
    |state| state.alone.wrong = Some(Wrong::Message),
    |state| state.alone.wrong = Some(Wrong::HealthCheck),
    |state| state.alone.wrong = Some(Wrong::FailsOpen),
    |state| state.alone.wrong = Some(Wrong::DenialIgnored),
    |state| state.alone.wrong = Some(Wrong::IdLost),
    |state| state.alone.wrong = Some(Wrong::PlainLog),
    |state| state.alone.wrong = Some(Wrong::Size),
    |state| state.machine.fails = Some("--lib"),
    |state| state.machine.fails = Some("--test"),
    |state| state.dispatch_status = 502,
    |state| state.fails_its_container_check = Some(ORBIT),
];

#[tokio::test(start_paused = true)]
async fn each_criterion_fails_alone_and_is_named() {
    for (index, fault) in FAULTS.into_iter().enumerate() {
        let fake = Fake::released().await;
        fault(&mut fake.state());
        let checked = whole(&fake).await;
        let mut expected: Vec<&str> = ALL_PASS.split(' ').collect();
        expected[index] = "FAIL";
        assert_eq!(
            checked.statuses,
            expected.join(" "),
            "{:#?}",
            checked.checks
        );
        assert_eq!(checked.exit_code, 30);
        let failed = &checked.checks[index];
        assert!(
            failed["seen"][0].is_string() && failed["remedy"].is_string(),
            "{failed:#}"
        );
    }
}

/// A fault of echo's, and the numbers of the criteria that see it.
type FaultOfEcho = (fn(&mut FakeState), &'static [usize]);

const FAULTS_OF_ECHO: [FaultOfEcho; 6] = [
    (|state| state.alone.wrong = Some(Wrong::EchoPlainLog), &[7]),
    (|state| state.alone.wrong = Some(Wrong::EchoSize), &[8]),
    (|state| state.update_by_hand(ECHO, None, Some(1)), &[11, 12]),
    (
        |state| state.alone.wrong = Some(Wrong::EchoHealthStatus),
        &[12],
    ),
    (
        |state| state.alone.wrong = Some(Wrong::EchoHealthCheck),
        &[12],
    ),
    (
        |state| {
            let outputs = state.published.as_mut().unwrap();
            outputs["services"]["echo"]["probe"]["headers"] = json!({});
        },
        &[12],
    ),
];

#[tokio::test(start_paused = true)]
async fn what_is_true_of_every_service_is_checked_of_one_more() {
    let fake = Fake::released_with_echo().await;
    let checked = whole(&fake).await;
    assert_eq!(checked.statuses, ALL_PASS, "{:#?}", checked.checks);
    for (fault, expected) in FAULTS_OF_ECHO {
        let fake = Fake::released_with_echo().await;
        fault(&mut fake.state());
        // What is changed by hand takes ECS a moment.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let checked = whole(&fake).await;
        assert_eq!(checked.exit_code, 30);
        let failed: Vec<_> = checked.failed().collect();
        assert_eq!(failed, expected, "{:#?}", checked.checks);
        for number in failed {
            let seen = checked.seen(number);
            assert!(seen.contains("echo"), "{seen}");
        }
    }
}

/// The alias was moved by hand to a version that a release had refused.
#[tokio::test(start_paused = true)]
async fn what_the_alias_names_must_answer_as_the_catalog_says() {
    let fake = Fake::released().await;
    fake.state().lambda.script = Answers::YesToAll;
    fake.edit(&[GOVERNANCE], "two");
    fake.deploy_all().await.fails(20);
    fake.state().lambda.move_alias("3");
    let checked = whole(&fake).await;
    assert_eq!(checked.failed().collect::<Vec<_>>(), [11]);
    let seen = checked.seen(11);
    assert!(seen.contains("governance: version 3: answered"), "{seen}");
}

/// The requirements are about axon and orbit. What is true of every service is still checked.
#[tokio::test(start_paused = true)]
async fn without_them_only_what_needs_it_is_skipped() {
    let fake = Fake::released_with_echo().await;
    fake.state().catalog = changed(|components| {
        components.retain(|it| it["name"] == "governance");
        components.push(json!({
            "name": "echo", "kind": "service", "crate": "services/echo", "port": 80,
            "default_route": true,
        }));
    });
    let checked = whole(&fake).await;
    let expected = "SKIP SKIP SKIP SKIP SKIP SKIP PASS PASS PASS PASS PASS PASS";
    assert_eq!(checked.statuses, expected, "{:#?}", checked.checks);
    assert!(checked.seen(1).contains("there is no axon"));

    let checked = deployed(&fake).await;
    let expected = "SKIP SKIP SKIP SKIP SKIP SKIP FAIL SKIP SKIP SKIP PASS PASS";
    assert_eq!(checked.statuses, expected, "{:#?}", checked.checks);
}

/// The tests are compiled once and run once, and a coverage that is known is not measured again.
#[tokio::test(start_paused = true)]
async fn coverage_is_measured_of_the_tests_own_run_and_once_for_the_same_sources() {
    let fake = Fake::released().await;
    let first = whole(&fake).await;
    assert!(
        first.seen(9).contains("coverage 90.0 % of the lines"),
        "{}",
        first.seen(9)
    );
    let ran = fake.state().machine.ran.clone();
    assert_eq!(ran.len(), 2, "{ran:?}");
    assert!(
        ran.iter().all(|run| run.starts_with("counted cargo test ")),
        "{ran:?}"
    );
    whole(&fake).await;
    assert_eq!(fake.state().machine.measured, 1);

    fake.edit(&[AXON], "changed");
    fake.state().machine.lines_percent = 79.0;
    let changed = whole(&fake).await;
    assert_eq!(fake.state().machine.measured, 2);
    assert!(
        changed.statuses.ends_with("PASS FAIL PASS PASS PASS"),
        "{}",
        changed.statuses
    );
    assert!(changed.seen(9).contains("79.0 %"), "{}", changed.seen(9));
}

/// The tests are run all the same, and the output of one that fails is shown.
#[tokio::test(start_paused = true)]
async fn without_llvm_the_coverage_is_not_known_and_how_to_get_it_is_told() {
    let fake = Fake::released().await;
    fake.state().machine.has_llvm = false;
    let checked = whole(&fake).await;
    assert_eq!(checked.exit_code, 0);
    let expected = "PASS PASS PASS PASS PASS PASS PASS PASS SKIP PASS PASS PASS";
    assert_eq!(checked.statuses, expected);
    let seen = checked.seen(9);
    assert!(
        seen.contains("llvm-cov") && seen.contains("`cargo xtask test --fix`"),
        "{seen}"
    );
    assert!(seen.contains("3 passed"), "{seen}");

    fake.state().machine.fails = Some("--lib");
    let checked = whole(&fake).await;
    assert_eq!(checked.exit_code, 30);
    assert!(checked.seen(9).contains("1 failed"), "{}", checked.seen(9));
}

/// The lines of the fake's logs are plain text, in which no request is found.
#[tokio::test(start_paused = true)]
async fn logs_that_are_no_json_fail_what_rests_on_them_and_nothing_else() {
    let fake = Fake::released().await;
    let checked = deployed(&fake).await;
    assert_eq!(checked.exit_code, 30);
    let expected = "PASS PASS PASS SKIP FAIL FAIL FAIL SKIP SKIP SKIP PASS PASS";
    assert_eq!(checked.statuses, expected);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_that_fails_is_no_release_that_works() {
    let fake = Fake::released().await;
    fake.state().dispatch_status = 502;
    let checked = deployed(&fake).await;
    let expected = "PASS FAIL PASS FAIL FAIL FAIL FAIL SKIP SKIP SKIP FAIL PASS";
    assert_eq!(checked.statuses, expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_released_fails_each_criterion_that_is_looked_at() {
    let fake = Fake::applied();
    let checked = deployed(&fake).await;
    assert_eq!(checked.exit_code, 30);
    let expected = "FAIL FAIL FAIL FAIL FAIL FAIL FAIL SKIP SKIP SKIP FAIL FAIL";
    assert_eq!(checked.statuses, expected);
}
