//! A warning before work that may take longer than the credentials are valid.

use jiff::SignedDuration;
use xtask::catalog::Component;
use xtask::commands::rollback::{rollback, stop};
use xtask::ports::WallClock;

use crate::world::components::{AXON, COMPONENTS, GOVERNANCE};
use crate::world::{CommandOutput, Fake, back_to};

/// The part of the warning that does not depend on the times.
const WARNING: &str = "credentials warning: they end at ";

/// The credentials expire in this many seconds.
fn end_in(fake: &Fake, seconds: i64) {
    let end = fake.now() + SignedDuration::from_secs(seconds);
    fake.state().credentials_end = Some(end);
}

#[track_caller]
fn is_silent(output: &CommandOutput) {
    assert!(!output.talk.contains(WARNING), "{}", output.talk);
}

/// Two services, forward and back, each time 15 minutes for the rollout and 30 seconds for the
/// proof, and a dispatch.
const OF_ALL: i64 = 4 * (15 * 60 + 30) + 30;

#[tokio::test(start_paused = true)]
async fn a_release_that_they_may_not_live_to_see_is_warned_of_before_it_is_confirmed() {
    let fake = Fake::applied();
    fake.is_not_local();
    end_in(&fake, OF_ALL - 1);
    let output = fake.deploy_all().await;
    output.fails(11).says(&[
        "they end at 2027-01-15T09:02:29Z, and this may take until 2027-01-15T09:02:30Z",
        "exit code 22",
        "longer session",
    ]);
    let warned = output.talk.find(WARNING);
    assert!(
        warned < output.talk.find("not confirmed"),
        "{}",
        output.talk
    );
    assert_eq!(fake.changes(), [""; 0]);

    end_in(&fake, OF_ALL);
    is_silent(fake.deploy_all().await.fails(11));
    fake.state().credentials_end = None;
    is_silent(fake.deploy_all().await.fails(11));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_released_counts() {
    let fake = Fake::released().await;
    end_in(&fake, 1);
    is_silent(fake.deploy_all().await.succeeds());

    fake.edit(&[AXON], "two");
    end_in(&fake, OF_ALL / 2 + 30);
    is_silent(fake.deploy_all().await.succeeds());
    fake.edit(&[AXON], "three");
    end_in(&fake, OF_ALL / 2 - 30);
    fake.deploy_all().await.succeeds().says(&[WARNING]);

    fake.edit(&[Component::Function(GOVERNANCE)], "two");
    end_in(&fake, 60);
    is_silent(fake.deploy_all().await.succeeds());
}

#[tokio::test(start_paused = true)]
async fn the_way_back_is_warned_of_likewise() {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    end_in(&fake, 60);
    let output = fake
        .run_on_outputs(async |context, outputs| rollback(context, outputs, &back_to(None)).await);
    output.await.succeeds().says(&[WARNING]);
    end_in(&fake, 8 * 60 - 1);
    let output = fake.run_on_outputs(async |context, outputs| stop(context, outputs, false).await);
    output.await.succeeds().says(&[WARNING]);
}
