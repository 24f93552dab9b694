//! `secrets rotate`: a new signing pair, and never one that axon does not know, whatever Secrets
//! Manager answers, whoever else changes a secret and wherever it ends. It holds the environment's
//! lock. No value is output.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::catalog::Service;
use xtask::commands::rollback::rollback;
use xtask::commands::secrets::rotate;
use xtask::decide::release::record::{Entries, LEASE, RecordKind, ReleaseState};
use xtask::decide::release::rotation::{SigningPair, offered, retired, switched};

use crate::world::components::{AXON, COMPONENTS, ORBIT};
use crate::world::{CallFault, CommandOutput, Fake, KILLED, SlowCall, secret_arn};

const ROTATION: [&str; 5] = [
    "open 2",
    "put demo/local/axon-AbCdEf",
    "put demo/local/orbit-GhIjKl",
    "put demo/local/axon-AbCdEf",
    "close 2 succeeded",
];
/// Longer than a lease: a record in progress that nobody renews is abandoned afterwards.
const LEASE_IS_OVER: Duration = Duration::from_mins(11);
/// How long reads may be stale: less than the time for which a rotation wants the same answers.
const STALE: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// A release, with tasks that read their secrets at times that depend on `chance`.
async fn running(chance: u64) -> Fake {
    let fake = Fake::released().await;
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

fn document_of_fake() -> Value {
    document(&Fake::applied(), AXON)
}

/// Both have the same new pair, the other fields are unchanged, no dispatch was lost and no secret
/// was printed.
#[track_caller]
fn is_rotated(fake: &Fake, output: &CommandOutput) {
    let first = document_of_fake();
    let (axon, orbit) = (document(fake, AXON), document(fake, ORBIT));
    let everything = format!("{}{}", output.data, output.talk);
    for name in ["sigv4_access_key_id", "sigv4_secret_access_key"] {
        assert_eq!(axon[name], orbit[name], "{}", output.talk);
        assert_ne!(axon[name], first[name], "{}", output.talk);
        assert!(
            !everything.contains(axon[name].as_str().unwrap()),
            "{name} is printed"
        );
    }
    for document in [&axon, &orbit] {
        assert_eq!(document.as_object().unwrap().len(), 4);
        assert_eq!(document["api_key"], first["api_key"]);
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
        let axon = offered(&document(&fake, AXON), &pair("NEW"));
        fake.put_secret(AXON, &axon);
        tokio::time::sleep(Duration::from_mins(6)).await;
        if orbit_switched {
            let orbit = switched(&document(&fake, ORBIT), &axon);
            fake.put_secret(ORBIT, &orbit);
        }
        drop(fake.changes());
        let output = rotate_key(&fake, false).await;
        output.succeeds().says(&["going on: "]);
        assert_eq!(fake.changes_after("open 2"), changes);
        is_rotated(&fake, &output);
        let new = SigningPair::current(&retired(&document(&fake, ORBIT)));
        assert!(new == Some(pair("NEW")));
    }
}

/// Calls about secrets of one whole rotation, by their index: the first, the last, and those
/// around each that changes something.
async fn telling_calls(chance: u64) -> Vec<usize> {
    let fake = running(chance).await;
    let before = fake.calls().len();
    rotate_key(&fake, false).await.succeeds();
    let mut calls = fake.calls().split_off(before);
    calls.retain(|call| call.contains(":secret:"));
    let replaces = (0..calls.len()).filter(|index| calls[*index].starts_with("replace"));
    let mut indices: Vec<usize> = replaces.flat_map(|index| index - 2..index + 3).collect();
    indices.extend((0..4).chain([calls.len() - 1]));
    indices.sort_unstable();
    indices.dedup();
    assert!(indices.len() > 15, "{calls:?}");
    indices
}

/// Each of these calls once fails, loses its answer, is interrupted by Ctrl-C or ended by SIGKILL:
/// the next run finishes the rotation. Only after SIGKILL it has to wait for the end of the lease.
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
            let broken = rotate_key(&fake, false).await;
            assert!(
                [0, 1, 22, KILLED].contains(&broken.exit_code),
                "{}",
                broken.talk
            );
            let newest = fake.state().newest().unwrap();
            let is_open = newest.state == ReleaseState::InProgress;
            assert_eq!(is_open, broken.exit_code == KILLED && newest.number > 1);
            if is_open {
                rotate_key(&fake, false).await.fails(11);
                tokio::time::sleep(LEASE_IS_OVER).await;
            }
            let output = rotate_key(&fake, false).await;
            output.succeeds();
            is_rotated(&fake, &output);
        }
    }
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

/// One call of the first is so slow that its lease may end meanwhile. The second comes back until
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
        // Longer than a lease after the rotation began: it renews its own.
        tokio::time::sleep(LEASE_IS_OVER).await;
        fake.deploy_all().await
    };
    let (rotated, deployed) = tokio::join!(rotate_key(&fake, false), deploys);
    deployed.fails(11).says(&["rotation 2 by ada@laptop"]);
    rotated.succeeds();
    is_rotated(&fake, &rotated);
    let record = fake.record(2);
    let worked = record.until.duration_since(record.opened);
    assert!(worked > LEASE, "{worked}");
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
    let changes = ["open 2", ROTATION[1], "close 2 superseded"];
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
    rotate_key(&fake, false)
        .await
        .fails(1)
        .says(&["throttled", "nothing has to be put back: run it again"]);
    assert_eq!(fake.record(3).state, ReleaseState::Detached);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_after_a_rotation_goes_to_the_release_before_it() {
    let fake = Fake::released_twice().await;
    fake.start_tasks(0);
    rotate_key(&fake, false).await.succeeds();
    let roll_back = async |to| {
        fake.run_on_outputs(async |context, outputs| rollback(context, outputs, to, false).await)
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
    for service in [AXON, ORBIT] {
        for seconds in (0..1100).step_by(50) {
            let fake = running(4).await;
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
        offered(&first_with("NEW"), &pair("NEWER")),
        no_pair,
    ];
    for axon in axons {
        let fake = Fake::released().await;
        fake.put_secret(AXON, &axon);
        fake.start_tasks(5);
        assert_ne!(fake.state().lost, [""; 0]);
        let output = rotate_key(&fake, false).await;
        let says = [
            "orbit signs with a key that axon does not have: axon gets it first",
            "key that orbit signs with in its secret",
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
    let no_pair = "neither the secret of axon nor that of orbit has a signing pair";
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
