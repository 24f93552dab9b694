//! Each call of a release fails once, in several ways: the release ends with everything new or
//! everything as before, says which, and closes its record.

use std::collections::BTreeMap;

use xtask::catalog::Service;
use xtask::decide::release::record::ReleaseState;

use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, ORBIT, SERVICES};
use crate::world::{CallFault, CommandOutput, Fake};

/// What runs: content and desired count of each service's primary revision, and the alias.
fn running(fake: &Fake) -> (BTreeMap<Service, (Option<String>, u32)>, String) {
    let state = fake.state();
    let running = |name: Service| {
        let revision = state.ecs.revision(state.primary(name)).unwrap();
        (name, (revision.tag.clone(), state.desired(name)))
    };
    (SERVICES.map(running).into(), state.lambda.alias.clone())
}

/// The calls of a command with their places. Of those that it repeats while it waits, the first and
/// the last three.
pub(super) fn distinct(calls: &[String]) -> impl Iterator<Item = (usize, &String)> {
    let same = |call: &str, among: &[String]| among.iter().filter(|it| *it == call).count();
    let all = calls.iter().enumerate();
    all.filter(move |(index, call)| {
        same(call, &calls[..*index]) < 3 || same(call, &calls[index + 1..]) < 3
    })
}

/// Runs the same story once for each of its calls, with a fault at that call.
pub(super) async fn with_each_call_spoiled<Check>(
    fault: CallFault,
    begin: impl AsyncFn() -> Fake,
    check: Check,
) where
    Check: AsyncFn(&Fake, &str, CommandOutput),
{
    let fake = begin().await;
    let before = fake.calls().len();
    drop(fake.deploy_all().await);
    let calls = fake.calls().split_off(before);
    let opened = calls
        .iter()
        .position(|call| call.starts_with("open"))
        .unwrap();
    // Before a release is opened, Ctrl-C ends the process and expired credentials are refused.
    let first = if matches!(
        fault,
        CallFault::IsInterrupted | CallFault::FindsThemExpired
    ) {
        opened + 1
    } else {
        0
    };
    for (index, call) in distinct(&calls).filter(|(index, _)| *index >= first) {
        let fake = begin().await;
        fake.spoil(index, fault);
        let output = fake.deploy_all().await;
        check(&fake, &format!("call {index}, {call}, {fault:?}"), output).await;
    }
}

pub(super) async fn a_second_release() -> Fake {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake
}

async fn a_first_release() -> Fake {
    Fake::applied()
}

#[tokio::test(start_paused = true)]
async fn one_call_that_fails_leaves_everything_new_or_everything_as_before() {
    for fault in [
        CallFault::IsRefused,
        CallFault::Fails,
        CallFault::LosesItsAnswer,
    ] {
        with_each_call_spoiled(fault, a_second_release, all_or_nothing).await;
        with_each_call_spoiled(fault, a_first_release, all_or_nothing).await;
    }
}

async fn all_or_nothing(fake: &Fake, call: &str, output: CommandOutput) {
    let after = running(fake);
    let newest = fake.state().newest();
    let opened = newest.as_ref();
    match output.exit_code {
        0 => assert_eq!(opened.unwrap().state, ReleaseState::Succeeded, "{call}"),
        20 => {
            assert_eq!(opened.unwrap().state, ReleaseState::RolledBack, "{call}");
            let (services, alias) = &after;
            let first = newest.as_ref().unwrap().number == 1;
            for (service, (content, desired)) in services {
                assert_eq!(*desired, if first { 0 } else { 2 }, "{call}: {service}");
                assert_eq!(content.is_none(), first, "{call}: {service}");
            }
            assert_eq!(alias, if first { "1" } else { "2" }, "{call}");
        }
        // Closing the record was refused: the next run takes over.
        1 if call.contains("close 2") || call.contains("close 1") => {}
        1 | 12 => assert_eq!(fake.changes(), [""; 0], "{call}: {}", output.talk),
        code => panic!("{call} ended with {code}:\n{}", output.talk),
    }
    let held = newest.is_some_and(|record| record.state == ReleaseState::InProgress);
    let refused = call.contains("close") && output.exit_code == 1;
    assert_eq!(held, refused, "{call}: the record is open");
    let again = fake.deploy_all().await;
    assert_eq!(again.exit_code, 0, "{call}, and then: {}", again.talk);
}

#[tokio::test(start_paused = true)]
async fn one_call_that_fails_while_taking_back_is_told_and_closes_the_record() {
    let begin = async || {
        let fake = a_second_release().await;
        fake.script(ORBIT, ImageScript::PullTimesOut);
        fake
    };
    for fault in [
        CallFault::IsRefused,
        CallFault::Fails,
        CallFault::LosesItsAnswer,
    ] {
        with_each_call_spoiled(fault, begin, async |fake, call, output| {
            let newest = fake.state().newest().unwrap();
            match output.exit_code {
                // Closing the record was refused: the next run takes over.
                1 if call.contains("close 2") || call.contains("close 1") => {}
                1 | 12 => assert_eq!(fake.changes(), [""; 0], "{call}: {}", output.talk),
                20 => {
                    let is_closed = newest.state == ReleaseState::RolledBack;
                    let refused = call.contains("close 2") && fault == CallFault::IsRefused;
                    assert_eq!(is_closed, !refused, "{call}");
                    let (services, alias) = running(fake);
                    let as_before = fake.record(1);
                    for (service, (content, _)) in services {
                        let before = as_before.entries.services[&service].after.as_ref().unwrap();
                        assert_eq!(content.as_ref(), Some(&before.content), "{call}");
                    }
                    assert_eq!(alias, "2", "{call}");
                }
                21 => {
                    assert_eq!(newest.state, ReleaseState::RollbackFailed, "{call}");
                    assert!(
                        output.talk.contains("hint: aws "),
                        "{call}: {}",
                        output.talk
                    );
                }
                code => panic!("{call} ended with {code}:\n{}", output.talk),
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_at_any_call_leaves_a_record_that_says_so_and_the_next_run_ends_it() {
    with_each_call_spoiled(
        CallFault::IsInterrupted,
        a_second_release,
        async |fake, call, output| {
            // Ctrl-C does not stop the closing of the record.
            let closes = call.contains("close 2 succeeded");
            let (code, state) = if closes {
                (0, ReleaseState::Succeeded)
            } else {
                (22, ReleaseState::Detached)
            };
            assert_eq!(output.exit_code, code, "{call}: {}", output.talk);
            assert_eq!(fake.record(2).state, state, "{call}");
            let again = fake.deploy_all().await;
            assert_eq!(again.exit_code, 0, "{call}, and then: {}", again.talk);
            let state = fake.state();
            assert_eq!(state.desired(AXON), 2);
            assert_eq!(state.lambda.alias, "3", "{call}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_leave_a_record_that_the_next_run_takes_over() {
    with_each_call_spoiled(
        CallFault::FindsThemExpired,
        a_second_release,
        async |fake, call, output| {
            output.fails(22).says(&[
                "expired in the middle of release 2",
                "ExpiredTokenException",
                "hint: sign in again",
                "cargo xtask deploy",
            ]);
            assert_eq!(output.talk.matches("error: ").count(), 1, "{}", output.talk);
            assert_eq!(fake.record(2).state, ReleaseState::InProgress, "{call}");

            fake.state().expired = false;
            let again = fake.deploy_all().await;
            assert_eq!(again.exit_code, 0, "{call}, and then: {}", again.talk);
            let state = fake.state();
            assert_eq!(state.desired(ORBIT), 2);
            assert_eq!(state.lambda.alias, "3", "{call}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_while_taking_back_tell_what_is_not_back() {
    let fake = a_second_release().await;
    fake.script(ORBIT, ImageScript::PullTimesOut);
    fake.expire("update axon demo-axon:1");
    let output = fake.deploy_all().await;
    output.fails(22).says(&[
        "release 2 failed",
        "axon        warning: ROLLBACK FAILED",
        "expired in the middle of release 2",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::InProgress);
}

/// Somebody may have changed a component meanwhile: nobody can look any more.
#[tokio::test(start_paused = true)]
async fn credentials_that_expire_before_the_last_look_leave_open_whether_all_is_back() {
    let fake = Fake::released().await;
    fake.edit(&[ORBIT], "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.after_write_of("orbit rolled back", |state| state.expired = true);
    let output = fake.deploy_all().await;
    output.fails(22).says(&[
        "orbit       rolled back to demo-orbit:1",
        "expired in the middle of release 2",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::InProgress);
}

/// A release that goes back, after which so many looks in a row are refused.
async fn refused_last_looks(looks: usize) -> (Fake, CommandOutput) {
    let fake = Fake::released().await;
    fake.edit(&[ORBIT], "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.after_write_of("orbit rolled back", move |state| {
        state.fail("look axon orbit", looks);
        state.hotfix(AXON, "demo-axon:7");
    });
    let output = fake.deploy_all().await;
    (fake, output)
}

#[tokio::test(start_paused = true)]
async fn a_refused_last_look_is_repeated() {
    let (fake, output) = refused_last_looks(2).await;
    output
        .fails(23)
        .says(&["axon        warning: left alone: superseded by demo-axon:7"]);
    assert_eq!(fake.record(2).state, ReleaseState::Superseded);
}

/// Somebody may have changed a component meanwhile.
#[tokio::test(start_paused = true)]
async fn last_looks_that_are_all_refused_leave_open_whether_all_is_back() {
    let (fake, output) = refused_last_looks(4).await;
    output.fails(22).says(&[
        "orbit       rolled back to demo-orbit:1",
        "release 2 failed: orbit exited with 101",
        "what runs now could not be read: refused",
        "cargo xtask status",
    ]);
    assert_eq!(fake.record(2).state, ReleaseState::Detached);
}
