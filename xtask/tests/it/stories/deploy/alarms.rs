//! Alarms that end a deployment: they watch a release, and are off during a rollback.

use std::collections::BTreeSet;

use xtask::catalog::Service;
use xtask::commands::rollback::{rollback, stop};
use xtask::commands::status::status;
use xtask::decide::outputs::Outputs;
use xtask::decide::release::record::ReleaseState;
use xtask::ports::Context;

use super::resilience::with_each_call_spoiled;
use crate::model::ImageScript;
use crate::world::components::{COMPONENTS, ORBIT, SERVICES};
use crate::world::{CallFault, CommandOutput, Fake, KILLED, back_to};

const AXON_BACK: &str = "update axon demo-axon:1 alarms off";
const ORBIT_BACK: &str = "update orbit demo-orbit:1 alarms off";
const AXON_ON: &str = "update axon alarms on";
const ORBIT_ON: &str = "update orbit alarms on";

/// A second release in which only the dispatch fails.
async fn release_that_goes_back() -> Fake {
    let fake = Fake::released().await;
    fake.state().has_alarms();
    fake.edit(&COMPONENTS, "two");
    fake.state().dispatch_status = 502;
    fake
}

async fn two_releases() -> Fake {
    let fake = Fake::released_twice().await;
    fake.state().has_alarms();
    fake
}

async fn roll_back(fake: &Fake) -> CommandOutput {
    fake.run_on_outputs(async |context, outputs| rollback(context, outputs, &back_to(None)).await)
        .await
}

/// The services whose alarms are off in ECS.
fn without_alarms(fake: &Fake) -> BTreeSet<Service> {
    let state = fake.state();
    let off = |service: &Service| {
        let alarms = state.alarms_of(*service);
        alarms.is_some_and(|alarms| !alarms.enabled)
    };
    SERVICES.into_iter().filter(off).collect()
}

#[track_caller]
fn alarms_are(fake: &Fake, enabled: bool) {
    for service in SERVICES {
        let alarms = fake.state().alarms_of(service).unwrap().clone();
        let expected = format!("demo-{service}-unhealthy-targets");
        assert_eq!(alarms.names, [expected], "{service}");
        assert!(alarms.rollback, "{service}");
        assert_eq!(alarms.enabled, enabled, "{service}");
    }
}

/// Orbit answers with errors only, and its alarms go off while it is rolled back: with alarms on, ECS
/// would fail that deployment too and return to the last completed one, which is the bad release.
#[tokio::test(start_paused = true)]
async fn alarms_that_go_off_on_the_rollback_do_not_bring_the_failed_release_again() {
    let fake = release_that_goes_back().await;
    fake.meanwhile(ORBIT_BACK, |state| state.alarms_go_off(ORBIT));
    let output = fake.deploy_all().await;
    output.fails(20).says(&[
        "a dispatch was not answered: 502",
        "orbit       its alarms are off for the rollback",
        "orbit       rolled back to demo-orbit:1",
        "orbit       its alarms are on again",
    ]);
    let changes = [
        ORBIT_BACK,
        AXON_BACK,
        "move alias to 2",
        AXON_ON,
        ORBIT_ON,
        "close 2 rolled back",
    ];
    assert_eq!(fake.changes_after("update orbit demo-orbit:2"), changes);
    alarms_are(&fake, true);
    assert!(fake.record(2).without_alarms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn alarms_that_went_off_before_the_rollback_are_put_back_too() {
    let fake = release_that_goes_back().await;
    fake.meanwhile("dispatch", |state| {
        state.alarm(ORBIT);
    });
    fake.deploy_all().await.fails(20);
    alarms_are(&fake, true);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_on_the_way_forward_fails_the_release_and_ecs_goes_back_by_itself() {
    let fake = Fake::released().await;
    fake.state().has_alarms();
    fake.edit(&COMPONENTS, "two");
    fake.meanwhile("update orbit demo-orbit:2", |state| {
        state.alarms_go_off(ORBIT);
    });
    fake.deploy_all()
        .await
        .fails(20)
        .says(&["what        orbit", "an alarm is in ALARM"]);
    let changes = [AXON_BACK, "move alias to 2", AXON_ON, "close 2 rolled back"];
    assert_eq!(fake.changes_after("update orbit demo-orbit:2"), changes);
    alarms_are(&fake, true);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_not_undone_by_the_alarms_of_what_it_leaves() {
    let fake = two_releases().await;
    fake.meanwhile(ORBIT_BACK, |state| state.alarms_go_off(ORBIT));
    roll_back(&fake).await.succeeds();
    let changes = [
        "open 3",
        "move alias to 2",
        AXON_BACK,
        ORBIT_BACK,
        AXON_ON,
        ORBIT_ON,
        "close 3 succeeded",
    ];
    assert_eq!(fake.changes(), changes);
    alarms_are(&fake, true);
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_fails_puts_the_alarms_back_as_well() {
    let fake = release_that_goes_back().await;
    let script = ImageScript::SecretMissing;
    fake.state().ecs.script_revision("demo-orbit:1", script);
    fake.deploy_all().await.fails(21).says(&[
        "orbit       warning: ROLLBACK FAILED",
        "orbit       its alarms are on again",
    ]);
    alarms_are(&fake, true);
    assert!(fake.record(2).without_alarms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_first_release_goes_back_to_nothing_without_alarms() {
    let fake = Fake::applied();
    fake.state().has_alarms();
    fake.state().dispatch_status = 502;
    fake.meanwhile("update orbit demo-orbit-placeholder:1", |state| {
        state.alarms_go_off(ORBIT);
    });
    fake.deploy_all().await.fails(20);
    let back = "update orbit demo-orbit-placeholder:1 desired 0 alarms off";
    assert!(fake.changes().iter().any(|change| change == back));
    alarms_are(&fake, true);
}

#[tokio::test(start_paused = true)]
async fn alarms_that_somebody_turned_off_stay_off() {
    let fake = release_that_goes_back().await;
    for service in SERVICES {
        fake.state().set_alarms(service, false);
    }
    fake.deploy_all().await.fails(20);
    let changes = fake.changes();
    assert!(
        !changes.iter().any(|it| it.contains("alarms")),
        "{changes:?}"
    );
    fake.state().dispatch_status = 200;
    fake.edit(&COMPONENTS, "one");
    fake.deploy_all().await.succeeds().says(&["nothing to do"]);
    alarms_are(&fake, false);
}

/// At whichever call a failing release is ended, and by whatever: alarms that are off are noted in
/// the record, and the next release turns them on before it changes anything.
#[tokio::test(start_paused = true)]
async fn whoever_goes_on_turns_on_what_was_left_off() {
    let begin = async || {
        let fake = Fake::released().await;
        fake.state().has_alarms();
        fake.edit(&COMPONENTS, "two");
        fake.script(ORBIT, ImageScript::PullTimesOut);
        fake.state().ecs.never_goes_back(ORBIT.name());
        fake
    };
    for fault in [
        CallFault::IsKilled,
        CallFault::IsInterrupted,
        CallFault::FindsThemExpired,
    ] {
        with_each_call_spoiled(fault, begin, async |fake, call, output| {
            let off = without_alarms(fake);
            let noted = fake.state().newest().unwrap().without_alarms;
            assert!(off.is_subset(&noted), "{call}: {off:?}, {noted:?}");
            if fault == CallFault::IsInterrupted && output.exit_code != 22 {
                // Ctrl-C does not stop the closing of the record; the next run must not get it.
                return;
            }
            drop(fake.changes());
            fake.state().expired = false;
            fake.edit(&COMPONENTS, "three");
            let output = fake.deploy_all().await;
            assert_eq!(output.exit_code, 0, "{call}, and then: {}", output.talk);
            let changes = fake.changes();
            for (index, service) in noted.iter().enumerate() {
                let on = format!("update {service} alarms on");
                let found = changes.iter().position(|change| *change == on);
                assert_eq!(found, Some(1 + index), "{call}: {changes:?}");
            }
            assert_eq!(without_alarms(fake), [].into(), "{call}");
            assert_eq!(fake.state().newest().unwrap().without_alarms, [].into());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn alarms_that_stay_off_are_told_with_who_turns_them_on() {
    let off = "; the alarms of axon and orbit are off until the next deploy or rollback";
    let fake = two_releases().await;
    fake.interrupt(ORBIT_BACK);
    roll_back(&fake).await.fails(22).says(&[off]);

    let fake = release_that_goes_back().await;
    fake.expire(AXON_BACK);
    fake.deploy_all().await.fails(22).says(&[off]);
    assert_eq!(fake.record(2).without_alarms, SERVICES.into());

    let fake = two_releases().await;
    fake.fail(ORBIT_ON, 1);
    let output = roll_back(&fake).await;
    output.succeeds().says(&[
        "axon        its alarms are on again",
        "turn on the alarms of orbit: refused",
        "; the alarms of orbit are off until the next deploy or rollback",
    ]);
    assert_eq!(fake.record(3).state, ReleaseState::Succeeded);
    assert_eq!(fake.record(3).without_alarms, [ORBIT].into());
    let output = fake
        .run_on_outputs(async |context, outputs| status(context, outputs).await)
        .await;
    let off = "the alarms of orbit are off until the next deploy or rollback";
    assert!(output.data.contains(off), "{}", output.data);
}

/// Even where nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn alarms_alone_are_a_reason_for_a_release() {
    for again in ["deploy", "rollback"] {
        let fake = two_releases().await;
        fake.kill(AXON_ON);
        roll_back(&fake).await.fails(KILLED);
        drop(fake.changes());
        let output = if again == "deploy" {
            fake.edit(&COMPONENTS, "one");
            fake.deploy_all().await
        } else {
            let to_one = async |context: &Context<'_>, outputs: &Outputs| {
                rollback(context, outputs, &back_to(Some(1))).await
            };
            fake.run_on_outputs(to_one).await
        };
        output
            .succeeds()
            .says(&["axon        turn its alarms on, which an earlier release left off"]);
        let changes = ["open 4", AXON_ON, ORBIT_ON, "close 4 succeeded"];
        assert_eq!(fake.changes(), changes, "{again}");
        alarms_are(&fake, true);
    }
}

/// A stop starts no deployment, so it leaves alarms off and notes them in its own record.
#[tokio::test(start_paused = true)]
async fn a_stop_hands_on_what_is_left_off() {
    let fake = two_releases().await;
    fake.kill(AXON_ON);
    roll_back(&fake).await.fails(KILLED);
    let stopped =
        async |context: &Context<'_>, outputs: &Outputs| stop(context, outputs, false).await;
    fake.run_on_outputs(stopped).await.succeeds();
    assert_eq!(fake.record(4).without_alarms, SERVICES.into());
    fake.deploy_all().await.succeeds();
    alarms_are(&fake, true);
}

/// A later release has noted the same alarms, and is being rolled back itself.
#[tokio::test(start_paused = true)]
async fn what_a_later_release_took_over_is_left_to_it() {
    let fake = release_that_goes_back().await;
    fake.meanwhile(AXON_BACK, |state| {
        let mut later = state.newest().unwrap();
        later.number = 3;
        later.token = "of a later release".to_owned();
        later.without_alarms = [ORBIT].into();
        state.put_record(&later);
    });
    fake.deploy_all().await.fails(23);
    let changes = fake.changes();
    assert!(!changes.iter().any(|it| it == AXON_ON || it == ORBIT_ON));
}
