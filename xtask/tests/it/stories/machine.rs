//! `doctor` and `local`: what is missing on this machine, and the local AWS.

use xtask::commands::doctor::doctor;
use xtask::commands::local;
use xtask::decide::machine::readiness::facts::{EngineStatus, ToolStatus};

use crate::world::{CommandOutput, Fake};

async fn examine(fake: &Fake, fix: bool) -> CommandOutput {
    fake.run(async |context| doctor(fix, fake, context.report).await)
        .await
}

async fn up(fake: &Fake) -> CommandOutput {
    fake.run(async |context| local::up(fake, context.report, fake).await)
        .await
}

/// A machine whose Docker engine is in this state.
fn with_engine(engine: EngineStatus) -> Fake {
    let fake = Fake::empty();
    fake.state().machine.engine = engine;
    fake
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missing_on_a_machine_that_has_everything() {
    let output = examine(&Fake::empty(), false).await;
    assert_eq!(output.succeeds().data, "");
}

#[tokio::test(start_paused = true)]
async fn without_the_flag_nothing_is_run() {
    let fake = with_engine(EngineStatus::Missing);
    let output = examine(&fake, false).await;
    output.fails(12).says(&["cargo xtask doctor --fix"]);
    let remedy = "apt-get install -y docker.io";
    assert!(output.data.contains(remedy), "{}", output.data);
    assert_eq!(fake.state().machine.installed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_installed_is_started_too_and_each_command_is_shown_first() {
    let fake = with_engine(EngineStatus::Missing);
    let output = examine(&fake, true).await;
    output.succeeds();
    let ran = fake.state().machine.installed.clone();
    assert_eq!(ran.len(), 3, "{ran:?}");
    assert_eq!(ran[1], "apt-get install -y docker.io");
    assert!(ran[2].contains("dockerd"), "{ran:?}");
    for command in ran {
        output.says(&[&format!("$ {command}\n")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_fails_is_run_once_and_its_error_is_shown() {
    let fake = with_engine(EngineStatus::Missing);
    fake.state().machine.infrastructure = ToolStatus::Missing;
    fake.state().machine.commands_fail = true;
    examine(&fake, true)
        .await
        .fails(12)
        .says(&["ended with 100", "missing: docker, terraform"]);
    assert_eq!(fake.state().machine.installed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn everything_that_keeps_the_local_aws_from_running_is_named_before_it_is_started() {
    let fake = with_engine(EngineStatus::Stopped);
    fake.state().machine.infrastructure = ToolStatus::Missing;
    up(&fake)
        .await
        .fails(12)
        .says(&["Docker", "Terraform", "cargo xtask doctor --fix"]);
    assert_eq!(fake.state().machine.asked_of_local_aws, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_local_aws_has_settled_when_it_is_said_to_be_up() {
    let fake = Fake::empty();
    let output = up(&fake).await;
    output.succeeds().says(&["http://127.0.0.1:4577"]);
    assert_eq!(fake.state().machine.asked_of_local_aws, ["up", "settled"]);
}

#[tokio::test(start_paused = true)]
async fn a_local_aws_that_runs_is_neither_examined_nor_waited_for() {
    let fake = with_engine(EngineStatus::Missing);
    fake.state().machine.local_aws_is_up = true;
    let output = up(&fake).await;
    let expected = "local       is up at http://127.0.0.1:4577\n";
    assert_eq!(output.succeeds().talk, expected);
    assert_eq!(fake.state().machine.asked_of_local_aws, ["up"]);
}

#[tokio::test(start_paused = true)]
async fn down_keeps_the_state_and_reset_does_not() {
    let fake = Fake::empty();
    let output = fake
        .run(async |context| {
            local::up(&fake, context.report, &fake).await?;
            local::down(context.report, &fake).await?;
            local::reset(context.report, &fake).await
        })
        .await;
    output.succeeds();
    let asked = ["up", "settled", "down", "reset"];
    assert_eq!(fake.state().machine.asked_of_local_aws, asked);
}
