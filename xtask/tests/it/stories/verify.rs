//! `verify`: every criterion is looked at, and nothing is changed.

use serde_json::Value;
use xtask::commands::verify::{Scope, verify};
use xtask::report::Format;

use crate::world::Fake;

/// The status of each criterion, in their order.
async fn statuses(fake: &Fake) -> (u8, Vec<String>) {
    let told = fake
        .run_on_site_in(Format::Json, async |_, world| {
            verify(world, Scope::Deployed).await
        })
        .await;
    let checks: Vec<Value> = serde_json::from_str(&told.data).unwrap();
    let status = |check: &Value| check["status"].as_str().unwrap().to_owned();
    (told.exit_code, checks.iter().map(status).collect())
}

/// The logs of this world are plain text, in which no request is found.
#[tokio::test(start_paused = true)]
async fn logs_that_are_no_json_fail_what_rests_on_them_and_nothing_else() {
    let fake = Fake::released().await;
    let (exit_code, statuses) = statuses(&fake).await;
    assert_eq!(exit_code, 30);
    let expected = "PASS PASS PASS SKIP FAIL FAIL FAIL SKIP SKIP SKIP PASS PASS";
    assert_eq!(statuses.join(" "), expected);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_that_fails_is_no_release_that_works() {
    let fake = Fake::released().await;
    fake.state().dispatch_status = 502;
    let (_, statuses) = statuses(&fake).await;
    let expected = "PASS FAIL PASS FAIL FAIL FAIL FAIL SKIP SKIP SKIP FAIL PASS";
    assert_eq!(statuses.join(" "), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_released_fails_each_criterion_that_is_looked_at() {
    let fake = Fake::applied();
    let (exit_code, statuses) = statuses(&fake).await;
    assert_eq!(exit_code, 30);
    let left_out = ["SKIP"; 3];
    assert_eq!(statuses[7..10], left_out);
    let passed = statuses.iter().filter(|status| *status == "PASS").count();
    assert_eq!(passed, 0, "{statuses:?}");
}
