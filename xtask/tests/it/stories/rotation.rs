//! `secrets rotate`: a new signing pair, and never one that a called service does not know, whoever
//! calls whom, whatever Secrets Manager answers, whoever else changes a secret and wherever it ends.
//! It holds the environment's lock. No value is output.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use xtask::catalog::{CatalogEntry, FILE, Service};
use xtask::commands::rollback::rollback;
use xtask::commands::secrets::rotate;
use xtask::decide::release::record::{Entries, RecordKind, ReleaseState};
use xtask::decide::release::rotation::SigningPair;

use crate::world::components::{
    AXON, COMPONENTS, ECHO, ORBIT, catalog, changed, echo_entry, entry,
};
use crate::world::{CallFault, CommandOutput, Fake, KILLED, SlowCall, back_to, secret_arn};

const ROTATION: [&str; 5] = [
    "open 2",
    "put demo/local/axon-AbCdEf",
    "put demo/local/orbit-GhIjKl",
    "put demo/local/axon-AbCdEf",
    "close 2 succeeded",
];
/// Longer than a lock is held by a run that is gone.
const LOCK_IS_FREE: Duration = Duration::from_secs(30);
/// How long reads may be stale: less than the time for which a rotation wants the same answers.
const STALE: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// Which services there are, and who calls whom.
#[derive(Clone, Copy, PartialEq)]
enum CallShape {
    /// Orbit calls axon.
    Two,
    /// Echo calls axon, too.
    TwoCallers,
    /// Orbit calls echo, too, and echo calls axon.
    Chain,
}

impl CallShape {
    async fn released(self) -> Fake {
        if self == Self::Two {
            return Fake::released().await;
        }
        let fake = Fake::released_with_echo().await;
        let call = |callee: Service| json!({ "service": callee.name(), "path": "/reason" });
        fake.state().catalog = changed(|components| {
            let mut echo = echo_entry();
            echo["calls"] = json!([call(AXON)]);
            components.push(echo);
            if self == Self::Chain {
                let calls = &mut entry(components, "orbit")["calls"];
                calls.as_array_mut().unwrap().push(call(ECHO));
            }
        });
        fake
    }
}

/// A release, with tasks that read their secrets at times that depend on `chance`.
async fn running(chance: u64) -> Fake {
    running_as(CallShape::Two, chance).await
}

async fn running_as(shape: CallShape, chance: u64) -> Fake {
    let fake = shape.released().await;
    fake.start_tasks(chance);
    fake
}

async fn rotate_key(fake: &Fake, yes: bool) -> CommandOutput {
    fake.run_on_outputs(async |context, outputs| rotate(context, outputs, yes).await)
        .await
}

fn document(fake: &Fake, service: Service) -> Value {
    fake.state().secrets[&secret_arn(service)].clone()
}

fn pair(id: &str) -> SigningPair {
    SigningPair {
        access_key_id: id.to_owned(),
        secret_access_key: format!("secret-of-{id}"),
    }
}

/// The first document, with another pair.
fn first_with(id: &str) -> Value {
    let mut document = document_of_fake();
    pair(id).put_into(&mut document);
    document
}

/// The first document, with another pair and that of an older document as the previous one.
fn first_with_beside(id: &str, old: &Value) -> Value {
    let mut document = first_with(id);
    for name in ["access_key_id", "secret_access_key"] {
        let old = old[format!("sigv4_{name}")].clone();
        document[format!("sigv4_previous_{name}")] = old;
    }
    document
}

fn document_of_fake() -> Value {
    document(&Fake::applied(), AXON)
}

/// All have the same new pair, the other fields are unchanged, no call was lost and no secret was
/// printed.
#[track_caller]
fn is_rotated(fake: &Fake, output: &CommandOutput) {
    let first = document_of_fake();
    let axon = document(fake, AXON);
    let everything = format!("{}{}", output.data, output.talk);
    for name in ["sigv4_access_key_id", "sigv4_secret_access_key"] {
        assert_ne!(axon[name], first[name], "{}", output.talk);
        assert!(
            !everything.contains(axon[name].as_str().unwrap()),
            "{name} is printed"
        );
    }
    assert_eq!(axon.as_object().unwrap().len(), 4);
    assert_eq!(axon["api_key"], first["api_key"]);
    let catalog = fake.state().catalog.clone();
    for entry in catalog
        .entries()
        .iter()
        .filter_map(CatalogEntry::as_service)
    {
        assert!(document(fake, entry.service) == axon, "{}", entry.service);
    }
    assert!(!everything.contains("secret-of"), "{everything}");
    assert_eq!(fake.state().lost, [""; 0], "{}", output.talk);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_offers_switches_and_retires_and_no_dispatch_is_lost_beside_stale_reads() {
    for stale_for in STALE {
        for chance in 0..6 {
            let fake = running(chance).await;
            fake.state().stale_for = stale_for;
            let output = rotate_key(&fake, false).await;
            output.succeeds().says(&[
                "axon gets a new key beside the old one",
                "new key in its secret, beside the old one",
                "new key to sign with in its secret",
                "old key removed from its secret",
                "done",
            ]);
            assert_eq!(fake.changes(), ROTATION);
            is_rotated(&fake, &output);
        }
    }
}

/// A task reads again while answers are stale, and then has an older version than it has logged.
#[tokio::test(start_paused = true)]
async fn tasks_that_go_back_to_the_version_before_lose_no_dispatch() {
    for (stale_for, stale_for_tasks) in [(3, 3), (9, 9), (0, 40)] {
        for chance in 0..12 {
            let fake = Fake::released().await;
            fake.state().stale_for = Duration::from_secs(stale_for);
            fake.state().stale_for_tasks = Duration::from_secs(stale_for_tasks);
            fake.state().secret_refresh = Duration::from_secs(2);
            fake.start_tasks(chance);
            let output = rotate_key(&fake, false).await;
            output.succeeds();
            is_rotated(&fake, &output);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_gone_on_with_from_where_it_stands() {
    for (orbit_switched, changes) in [(false, &ROTATION[2..]), (true, &ROTATION[3..])] {
        let fake = running(1).await;
        let axon = first_with_beside("NEW", &document(&fake, AXON));
        fake.put_secret(AXON, &axon);
        tokio::time::sleep(Duration::from_mins(6)).await;
        if orbit_switched {
            fake.put_secret(ORBIT, &first_with("NEW"));
        }
        drop(fake.changes());
        let output = rotate_key(&fake, false).await;
        output.succeeds().says(&["going on: "]);
        assert_eq!(fake.changes_after("open 2"), changes);
        is_rotated(&fake, &output);
        let new = SigningPair::current(&document(&fake, ORBIT));
        assert!(new == Some(pair("NEW")));
    }
}

/// What is called gets the new pair first, and loses the old one when all have the new one.
#[tokio::test(start_paused = true)]
async fn a_third_service_loses_no_call_whether_it_calls_or_is_called_too() {
    let [axon, orbit] = [ROTATION[1], ROTATION[2]];
    let echo = "put demo/local/echo-AbCdEf";
    for (shape, puts) in [
        (CallShape::TwoCallers, &[axon, echo, orbit, axon][..]),
        (CallShape::Chain, &[axon, echo, orbit, axon, echo]),
    ] {
        for stale_for in STALE {
            for chance in 0..4 {
                let fake = running_as(shape, chance).await;
                fake.state().stale_for = stale_for;
                let output = rotate_key(&fake, false).await;
                output.succeeds();
                is_rotated(&fake, &output);
                let changes = fake.changes_after("open 2");
                assert_eq!(changes[..changes.len() - 1], *puts);
            }
        }
    }
}

/// One whose tasks still run when the catalog retires it already.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_to_be_retired_loses_no_call() {
    let fake = running_as(CallShape::TwoCallers, 1).await;
    fake.state().catalog = changed(|components| {
        let mut echo = echo_entry();
        echo["calls"] = json!([{ "service": "axon", "path": "/reason" }]);
        echo["retired"] = json!(true);
        components.push(echo);
    });
    let output = rotate_key(&fake, false).await;
    output.succeeds();
    is_rotated(&fake, &output);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_catalog_does_not_name_lets_no_rotation_begin() {
    let fake = running_as(CallShape::TwoCallers, 1).await;
    fake.state().catalog = catalog();
    rotate_key(&fake, false)
        .await
        .fails(11)
        .says(&["what echo calls is not known", FILE]);
    assert_eq!(fake.changes(), [""; 0]);
}

/// Orbit and echo each sign with a key of their own.
#[tokio::test(start_paused = true)]
async fn of_several_keys_that_axon_does_not_have_all_are_mended() {
    let fake = CallShape::TwoCallers.released().await;
    fake.put_secret(ORBIT, &first_with("ORBITS"));
    fake.put_secret(ECHO, &first_with("ECHOS"));
    fake.start_tasks(3);
    let output = rotate_key(&fake, false).await;
    output.succeeds().says(&[
        "orbit       warning: signs with a key that axon does not have",
        "echo        warning: signs with a key that axon does not have",
    ]);
    fake.state().lost.clear();
    is_rotated(&fake, &output);
}

/// The calls about secrets of one whole rotation.
async fn secret_calls(shape: CallShape, chance: u64) -> Vec<String> {
    let fake = running_as(shape, chance).await;
    let before = fake.calls().len();
    rotate_key(&fake, false).await.succeeds();
    let mut calls = fake.calls().split_off(before);
    calls.retain(|call| call.contains(":secret:"));
    calls
}

/// Those that change something, by their index.
fn replaces(calls: &[String]) -> impl Iterator<Item = usize> {
    (0..calls.len()).filter(|index| calls[*index].starts_with("replace"))
}

/// The first, the last, and those around each that changes something.
async fn telling_calls(chance: u64) -> Vec<usize> {
    let calls = secret_calls(CallShape::Two, chance).await;
    let mut indices: Vec<usize> = replaces(&calls).flat_map(|it| it - 2..it + 3).collect();
    indices.extend((0..4).chain([calls.len() - 1]));
    indices.sort_unstable();
    indices.dedup();
    assert!(indices.len() > 15, "{calls:?}");
    indices
}

/// Each of these calls once fails, loses its answer, is interrupted by Ctrl-C or ended by SIGKILL:
/// the next run finishes the rotation.
#[tokio::test(start_paused = true)]
async fn wherever_a_rotation_ends_the_next_run_goes_on() {
    let indices = telling_calls(2).await;
    for fault in [
        CallFault::Fails,
        CallFault::LosesItsAnswer,
        CallFault::IsInterrupted,
        CallFault::IsKilled,
    ] {
        for (count, index) in indices.iter().copied().enumerate() {
            let fake = running(2).await;
            fake.state().stale_for = STALE[count % 3];
            fake.spoil_secret_call(index, fault);
            ends_and_goes_on(&fake).await;
        }
    }
}

/// SIGKILL comes before each change, and the answer to each is lost.
#[tokio::test(start_paused = true)]
async fn between_any_two_changes_of_three_services_the_next_run_goes_on() {
    for shape in [CallShape::TwoCallers, CallShape::Chain] {
        let calls = secret_calls(shape, 2).await;
        assert!(replaces(&calls).count() > 3, "{calls:?}");
        for index in replaces(&calls) {
            for fault in [CallFault::IsKilled, CallFault::LosesItsAnswer] {
                let fake = running_as(shape, 2).await;
                fake.spoil_secret_call(index, fault);
                ends_and_goes_on(&fake).await;
            }
        }
    }
}

/// Only after SIGKILL the next run has to see first that nobody holds the lock any more.
async fn ends_and_goes_on(fake: &Fake) {
    let broken = rotate_key(fake, false).await;
    let expected = [0, 1, 12, 22, KILLED].contains(&broken.exit_code);
    assert!(expected, "{}", broken.talk);
    let newest = fake.state().newest().unwrap();
    let is_open = newest.state == ReleaseState::InProgress;
    assert_eq!(is_open, broken.exit_code == KILLED && newest.number > 1);
    let began = Instant::now();
    let output = rotate_key(fake, false).await;
    output.succeeds();
    if is_open {
        output.says(&["nobody works on rotation 2"]);
        assert!(began.elapsed() > LOCK_IS_FREE / 2);
    }
    is_rotated(fake, &output);
}

#[tokio::test(start_paused = true)]
async fn of_two_rotations_at_once_the_second_is_refused() {
    let fake = running(3).await;
    let (one, other) = tokio::join!(rotate_key(&fake, false), rotate_key(&fake, false));
    other.fails(11).says(&["rotation 2 by ada@laptop"]);
    one.succeeds();
    is_rotated(&fake, &one);
    assert_eq!(fake.changes(), ROTATION);
}

/// The machine of the first falls asleep at one of its calls. The second comes back until
/// it is not refused any more: then it goes on from what is there, and the first makes no change
/// after that, whether the lock tells it or the version that it would replace.
#[tokio::test(start_paused = true)]
async fn a_rotation_that_takes_over_an_abandoned_one_drops_no_key_in_use() {
    let mut superseded = 0;
    for (count, index) in telling_calls(3).await.into_iter().enumerate() {
        let fake = running(3).await;
        fake.state().stale_for = STALE[count % 3];
        let slow = Arc::new(SlowCall {
            index,
            pause: Duration::from_mins(40),
            ..SlowCall::default()
        });
        let slow_one = fake.with_slow_call(&slow);
        let comes_back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            loop {
                let output = rotate_key(&fake, false).await;
                if output.exit_code != 11 {
                    return output;
                }
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
        };
        let (one, other) = tokio::join!(rotate_key(&slow_one, false), comes_back);
        assert!(slow.calls.load(Ordering::SeqCst) > index);
        if one.exit_code == 23 {
            superseded += 1;
            one.says(&["rotation 2 was superseded: rotation 3 by ada@laptop"]);
        } else {
            one.succeeds();
        }
        other.succeeds();
        is_rotated(&fake, &other);
    }
    assert!(superseded > 3, "{superseded}");
}

#[tokio::test(start_paused = true)]
async fn a_release_in_progress_lets_no_rotation_begin() {
    let fake = running(0).await;
    fake.put_record(&fake.release_by_grace(2));
    rotate_key(&fake, false)
        .await
        .fails(11)
        .says(&["release 2 by grace@laptop"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_in_progress_lets_no_release_begin() {
    let fake = running(0).await;
    fake.edit(&COMPONENTS, "two");
    let deploys = async {
        // Longer than a run that is gone would hold it.
        tokio::time::sleep(LOCK_IS_FREE).await;
        fake.deploy_all().await
    };
    let (rotated, deployed) = tokio::join!(rotate_key(&fake, false), deploys);
    deployed.fails(11).says(&["rotation 2 by ada@laptop"]);
    rotated.succeeds();
    is_rotated(&fake, &rotated);
    let record = fake.record(2);
    assert_eq!(record.kind, RecordKind::Rotation);
    assert_eq!(record.entries, Entries::default());
    fake.deploy_all().await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn a_later_release_ends_a_rotation_before_its_next_replace() {
    let fake = running(0).await;
    let later = fake.release_by_grace(3);
    let takes_over = async {
        tokio::time::sleep(Duration::from_mins(2)).await;
        fake.put_record(&later);
    };
    let (output, ()) = tokio::join!(rotate_key(&fake, false), takes_over);
    output
        .fails(23)
        .says(&["rotation 2 was superseded: release 3 by grace@laptop"]);
    let changes = ["open 2", ROTATION[1]];
    assert_eq!(fake.changes(), changes);
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_and_a_failure_close_the_record_of_a_rotation() {
    let fake = running(0).await;
    fake.interrupt("replace");
    rotate_key(&fake, false).await.fails(22).says(&[
        "stopped watching rotation 2; nothing has to be put back",
        "cargo xtask secrets rotate --env local",
        "rotation    2 closed: detached",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::Detached);
    fake.fail("replace", 1);
    rotate_key(&fake, false).await.fails(1).says(&[
        "refused: replace",
        "nothing has to be put back: run it again",
    ]);
    assert_eq!(fake.record(3).state, ReleaseState::Detached);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_after_a_rotation_goes_to_the_release_before_it() {
    let fake = Fake::released_twice().await;
    fake.start_tasks(0);
    rotate_key(&fake, false).await.succeeds();
    let roll_back = async |to| {
        fake.run_on_outputs(async |context, outputs| rollback(context, outputs, &back_to(to)).await)
            .await
    };
    roll_back(Some(3))
        .await
        .fails(11)
        .says(&["3 is a rotation of the signing key, no release"]);
    roll_back(None).await.succeeds().says(&["to release 1"]);
    assert_eq!(fake.record(4).kind, RecordKind::Rollback);
    rotate_key(&fake, false).await.succeeds();
    roll_back(None).await.succeeds().says(&["to release 2"]);
}

/// A new task may start with a stale version, and the old one signs or verifies until it ends.
#[tokio::test(start_paused = true)]
async fn tasks_that_come_and_go_meanwhile_lose_no_dispatch() {
    for (shape, service) in [
        (CallShape::Two, AXON),
        (CallShape::Two, ORBIT),
        (CallShape::Chain, ECHO),
    ] {
        for seconds in (0..1100).step_by(50) {
            let fake = running_as(shape, 4).await;
            fake.state().stale_for = STALE[2];
            let come_and_go = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                fake.replace_task(service, seconds);
                tokio::time::sleep(Duration::from_secs(4)).await;
                fake.replace_task(service, seconds + 1);
            };
            let (output, ()) = tokio::join!(rotate_key(&fake, false), come_and_go);
            output.succeeds();
            is_rotated(&fake, &output);
        }
    }
}

/// Dispatches are lost until axon's tasks have read their secret again, and none after that.
#[tokio::test(start_paused = true)]
async fn a_key_of_orbit_that_axon_does_not_have_is_mended() {
    let first = document_of_fake();
    let no_pair = json!({ "api_key": first["api_key"], "database_url": first["database_url"] });
    let axons = [
        first_with("NEW"),
        first_with_beside("NEWER", &first_with("NEW")),
        no_pair,
    ];
    for axon in axons {
        let fake = Fake::released().await;
        fake.put_secret(AXON, &axon);
        fake.start_tasks(5);
        assert_ne!(fake.state().lost, [""; 0]);
        let output = rotate_key(&fake, false).await;
        let says = [
            "orbit       warning: signs with a key that axon does not have",
            "axon gets a new key beside the one that a caller signs with",
            "new key in its secret, beside the one that a caller signs with",
            "done",
        ];
        output.succeeds().says(&says);
        let lost = std::mem::take(&mut fake.state().lost);
        let is_before = |it: &String| it.ends_with("\"version-01-of-axon-AbCdEf\"]");
        assert!(lost.iter().all(is_before), "{lost:?}");
        is_rotated(&fake, &output);
    }
}

#[tokio::test(start_paused = true)]
async fn an_orbit_without_a_key_gets_that_of_axon() {
    let fake = Fake::released().await;
    fake.start_tasks(6);
    let first = document_of_fake();
    let no_pair = json!({ "api_key": first["api_key"], "database_url": first["database_url"] });
    fake.state().keeps_its_secret = Some(ORBIT);
    fake.put_secret(ORBIT, &no_pair);
    let repaired = async {
        tokio::time::sleep(Duration::from_mins(2)).await;
        fake.state().keeps_its_secret = None;
    };
    let (output, ()) = tokio::join!(rotate_key(&fake, false), repaired);
    output.succeeds();
    is_rotated(&fake, &output);
}

/// In the middle of a rotation, at any time of it.
#[tokio::test(start_paused = true)]
async fn what_somebody_does_by_hand_meanwhile_is_taken_in() {
    for seconds in (0..1200).step_by(100) {
        let fake = running(7).await;
        let by_hand = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            fake.put_secret(ORBIT, &first_with("BYHAND"));
        };
        let (output, ()) = tokio::join!(rotate_key(&fake, false), by_hand);
        // A change after the end of this run is left to the next one.
        let output = if document(&fake, AXON) == document(&fake, ORBIT) {
            output
        } else {
            rotate_key(&fake, false).await
        };
        output.succeeds();
        fake.state().lost.clear();
        is_rotated(&fake, &output);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_take_their_secret_up_stop_a_rotation() {
    let fake = running(8).await;
    fake.state().keeps_its_secret = Some(AXON);
    rotate_key(&fake, false).await.fails(22).says(&[
        "axon did not take its secret up within 390 s: axon-0, axon-1 have not logged version version-01-of-axon-AbCdEf",
        "cargo xtask secrets rotate --env local",
    ]);
    assert_eq!(fake.changes(), ["open 2", ROTATION[1], "close 2 detached"]);
    fake.state().keeps_its_secret = None;
    let output = rotate_key(&fake, false).await;
    output.succeeds();
    is_rotated(&fake, &output);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_comes_back_stops_a_rotation() {
    let fake = running(9).await;
    let moved_back = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        fake.state().move_back(AXON);
    };
    let (output, ()) = tokio::join!(rotate_key(&fake, false), moved_back);
    output.fails(22).says(&[
        "the secret of axon is answered with version version-00-of-axon-AbCdEf, which was replaced, for 390 s",
        "aws secretsmanager list-secret-version-ids --secret-id arn:aws:",
    ]);
    assert_eq!(fake.changes(), ["open 2", ROTATION[1], "close 2 detached"]);
    let output = rotate_key(&fake, false).await;
    output.succeeds();
    is_rotated(&fake, &output);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_elsewhere_is_confirmed() {
    let fake = running(0).await;
    fake.is_not_local();
    rotate_key(&fake, false)
        .await
        .fails(11)
        .says(&["not confirmed: rotate the signing key"]);
    assert_eq!(fake.changes(), [""; 0]);
    rotate_key(&fake, true).await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn secrets_that_no_step_leads_on_from_are_left_alone() {
    let fake = running(0).await;
    fake.is_not_local();
    let says = async |documents: [Value; 2], texts: &[&str]| {
        for (service, document) in [AXON, ORBIT].into_iter().zip(documents) {
            fake.put_secret(service, &document);
        }
        drop(fake.changes());
        rotate_key(&fake, true).await.fails(12).says(texts);
        assert_eq!(fake.changes(), [""; 0]);
    };
    let no_pair = "no service has a signing pair in its secret";
    let hint = "list-secret-version-ids --secret-id arn:";
    says([json!({}), json!({})], &[no_pair, hint]).await;
    let mut encrypted = document_of_fake();
    encrypted["sigv4_secret_access_key"] = json!("kms:secret-of-the-signature");
    let ciphertext = "a signing pair in the secret of orbit is encrypted";
    says([document_of_fake(), encrypted], &[ciphertext, "plain text"]).await;
    fake.state().forget_secret(ORBIT);
    let message = "the secret of orbit has no value";
    rotate_key(&fake, true)
        .await
        .fails(12)
        .says(&[message, "cargo xtask secrets init --env staging"]);
    assert_eq!(fake.changes(), [""; 0]);
}
