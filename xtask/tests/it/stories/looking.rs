//! `status`, `releases` and `logs`, which change nothing.

use jiff::SignedDuration;
use serde_json::{Value, json};
use xtask::catalog::Component;
use xtask::commands::logs::logs;
use xtask::commands::releases::{releases, show};
use xtask::commands::status::status;
use xtask::ports::WallClock;
use xtask::report::Format;

use crate::model::ImageScript;
use crate::world::components::{AXON, COMPONENTS, GOVERNANCE, ORBIT};
use crate::world::{Fake, Written};

const SINCE: SignedDuration = SignedDuration::from_mins(15);

#[tokio::test(start_paused = true)]
async fn status_names_what_runs_and_the_release_that_brought_it() {
    let fake = Fake::released().await;
    fake.edit(&[AXON], "two");
    fake.deploy_all().await.succeeds();
    drop(fake.changes());
    let output = fake
        .run_on_outputs_in(Format::Json, async |context, outputs| {
            status(context, outputs).await
        })
        .await;
    let document: Value = serde_json::from_str(&output.succeeds().data).unwrap();
    let digest = fake.state().digest(AXON);
    let axon = json!({
        "desired": 2,
        "running": 2,
        "settled": true,
        "image": digest.as_str(),
        "revision": "demo-axon:2",
        "release": 2,
    });
    assert_eq!(document["services"]["axon"], axon);
    assert_eq!(document["services"]["orbit"]["release"], 1);
    assert_eq!(document["functions"]["governance"]["version"], "2");
    assert_eq!(document["base_url"], "http://127.0.0.1:4577/_alb/demo");
    assert_eq!(fake.changes(), [""; 0]);
}

/// A release that was rolled back brought nothing.
#[tokio::test(start_paused = true)]
async fn status_names_no_release_that_was_rolled_back() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    let output = fake
        .run_on_outputs_in(Format::Json, async |context, outputs| {
            status(context, outputs).await
        })
        .await;
    let document: Value = serde_json::from_str(&output.succeeds().data).unwrap();
    for (kind, name) in [
        ("services", "axon"),
        ("services", "orbit"),
        ("functions", "governance"),
    ] {
        assert_eq!(document[kind][name]["release"], 1, "{name}");
    }
    assert_eq!(document["newest_release"]["number"], 2);
}

#[tokio::test(start_paused = true)]
async fn status_reads_well_before_anything_was_released() {
    let fake = Fake::applied();
    let output = fake
        .run_on_outputs(async |context, outputs| status(context, outputs).await)
        .await;
    let expected = "\
base url    http://127.0.0.1:4577/_alb/demo
axon        0/0 running, nothing released, release none
orbit       0/0 running, nothing released, release none
governance  demo-governance:live -> version 1, release none
";
    assert_eq!(output.succeeds().data, expected);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_listed_and_hides_no_release() {
    let fake = Fake::released().await;
    fake.put_record(&fake.rotation_by_grace(2));
    let output = fake
        .run_on_outputs(async |context, outputs| status(context, outputs).await)
        .await;
    let newest = "\
newest      rotation 2 by grace@laptop (secrets rotate): succeeded
newest      release 1 by ada@laptop (deploy): succeeded
";
    let data = &output.succeeds().data;
    assert!(data.ends_with(newest), "{data}");
    assert!(data.contains("demo-axon:1, release 1"), "{data}");
    let output = fake
        .run_on_outputs_in(Format::Json, async |context, outputs| {
            status(context, outputs).await
        })
        .await;
    let document: Value = serde_json::from_str(&output.data).unwrap();
    assert_eq!(document["newest_release"]["number"], 1);
    assert_eq!(document["newest_other"]["number"], 2);
    let output = fake
        .run_on_outputs(async |context, _| releases(context, 20).await)
        .await;
    let data = &output.succeeds().data;
    assert!(data.starts_with("    2  rotation  succeeded "), "{data}");
}

#[tokio::test(start_paused = true)]
async fn releases_are_listed_newest_first_with_what_became_of_them() {
    let fake = Fake::released_twice().await;
    fake.edit(&COMPONENTS, "three");
    fake.script(AXON, ImageScript::CrashesAtOnce);
    fake.deploy_all().await.fails(20);
    let output = fake
        .run_on_outputs(async |context, _| releases(context, 2).await)
        .await;
    let lines: Vec<&str> = output.succeeds().data.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("    3  release   rolled back "),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("    2  release   succeeded "),
        "{}",
        lines[1]
    );
    for line in lines {
        assert!(
            line.contains("ada@laptop") && line.contains("c0ffeec0f"),
            "{line}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_record_says_acts_on_no_terminal() {
    let fake = Fake::released().await;
    let mut record = fake.record(1);
    record.who = "ada\u{9b}2J".to_owned();
    record.why = "deploy\u{1b}]0;owned\u{7}\u{202e}".to_owned();
    fake.put_record(&record);
    let output = fake
        .run_on_outputs(async |context, _| releases(context, 20).await)
        .await;
    assert!(
        output.succeeds().data.contains(r"ada\u009b2J"),
        "{}",
        output.data
    );
    assert!(
        !output
            .data
            .contains(['\u{9b}', '\u{1b}', '\u{7}', '\u{202e}'])
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_ledger_is_told() {
    let fake = Fake::applied();
    let output = fake
        .run_on_outputs(async |context, _| releases(context, 20).await)
        .await;
    assert_eq!(output.succeeds().data, "no release yet\n");
}

#[tokio::test(start_paused = true)]
async fn logs_go_to_stdout_as_they_are() {
    let fake = Fake::released().await;
    let output = fake
        .run_on_outputs(async |context, outputs| {
            logs(context, outputs, ORBIT.into(), SINCE, false).await
        })
        .await;
    let expected = "first line of /ecs/demo-orbit\nsecond line of /ecs/demo-orbit\n";
    assert_eq!(output.succeeds().data, expected);
    let output = fake
        .run_on_outputs_in(Format::Json, async |context, outputs| {
            logs(context, outputs, ORBIT.into(), SINCE, false).await
        })
        .await;
    let expected = "\"first line of /ecs/demo-orbit\"\n\"second line of /ecs/demo-orbit\"\n";
    assert_eq!(output.succeeds().data, expected);
}

#[tokio::test(start_paused = true)]
async fn logs_that_are_followed_tell_each_line_once_until_ctrl_c() {
    let fake = Fake::released().await;
    fake.stop_soon();
    let output = fake
        .run_on_outputs(async |context, outputs| {
            logs(
                context,
                outputs,
                Component::Function(GOVERNANCE),
                SINCE,
                true,
            )
            .await
        })
        .await;
    assert_eq!(output.succeeds().data.lines().count(), 2);
    let looks = fake
        .calls()
        .iter()
        .filter(|call| call.starts_with("since"))
        .count();
    assert!(looks > 2, "{looks}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_comes_after_later_ones_of_others_is_told() {
    let fake = Fake::released().await;
    let now = WallClock::now(&fake);
    let line = |text, at, arrives| Written {
        at: now + SignedDuration::from_secs(at),
        arrives: now + SignedDuration::from_secs(arrives),
        text,
    };
    fake.state().written = vec![line("of one task", 1, 1), line("of another task", 0, 3)];
    fake.stop_soon();
    let output = fake
        .run_on_outputs(async |context, outputs| {
            logs(context, outputs, ORBIT.into(), SINCE, true).await
        })
        .await;
    for text in ["of one task", "of another task"] {
        let times = output.data.matches(text).count();
        assert_eq!(times, 1, "{text}: {}", output.data);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_is_shown_with_what_it_changed_and_why_it_failed() {
    let fake = Fake::released().await;
    fake.edit(&COMPONENTS, "two");
    fake.script(ORBIT, ImageScript::CrashesAtOnce);
    let deployed = fake.deploy_all().await;
    deployed.fails(20);
    let shown = fake
        .run_on_outputs(async |context, _| show(context, 2).await)
        .await;
    for text in [
        "release 2 rolled back\n",
        "who         ada@laptop\n",
        "why         deploy\n",
        "axon        demo-axon:1, rolled back\n",
        "release 2 failed, rolling back\n",
        "  what        orbit\n",
        "EssentialContainerExited",
    ] {
        assert!(
            shown.succeeds().data.contains(text),
            "{text}: {}",
            shown.data
        );
    }
    fake.edit(&COMPONENTS, "three");
    fake.deploy_all().await.succeeds();
    let shown = fake
        .run_on_outputs(async |context, _| show(context, 3).await)
        .await;
    let changed = "axon        demo-axon:1 -> demo-axon:3, succeeded\n              image: sha256:";
    assert!(shown.succeeds().data.contains(changed), "{}", shown.data);
    fake.run_on_outputs(async |context, _| show(context, 9).await)
        .await
        .fails(11)
        .says(&["there is no release 9"]);
}
