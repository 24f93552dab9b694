//! What is made of the answers of a release that is well, and of others.

use serde_json::json;

use super::super::Criterion::{
    self, AxonHealth, AxonReason, CorrelationIds, DenialBlocks, JsonLogs,
};
use super::super::Status::{self, Fail, Pass, Skip};
use super::super::answers::Answer;
use super::super::answers::testing::{heard, line};
use super::*;
use crate::decide::release::snapshot::{Deployment, RolloutState};

fn state(desired: i32, running: i32) -> ServiceState {
    ServiceState {
        active: true,
        desired,
        running,
        pending: 0,
        deployments: vec![Deployment {
            primary: true,
            revision: "demo-axon:3".parse().unwrap(),
            state: RolloutState::Completed,
            reason: String::new(),
            desired,
            running,
            pending: 0,
            failed: 0,
        }],
        alarms: None,
    }
}

#[test]
fn two_tasks_run_and_nothing_moves() {
    assert!(runs("axon", &state(2, 2), 2).is_ok());
    assert!(runs("axon", &state(3, 3), 2).is_ok(), "autoscaling may add");
    for (desired, running) in [(2, 1), (1, 1), (0, 0)] {
        assert!(runs("axon", &state(desired, running), 2).is_err());
    }
    let mut moving = state(2, 2);
    moving.deployments[0].state = RolloutState::InProgress;
    assert!(runs("axon", &moving, 2).is_err());
    moving.deployments.clear();
    assert!(runs("axon", &moving, 2).is_err());
}

fn answer(revision: &str, status: u16) -> Heard {
    Ok(Answer {
        task_revision: Some(revision.to_owned()),
        ..heard(status, &json!({ "status": "healthy", "service": "axon" }))?
    })
}

fn health(task: &str, target: &str, probe: Heard) -> Status {
    let health = Health {
        service: "axon",
        desired: 2,
        revision: "demo-axon:3".parse().unwrap(),
        tasks: Ok(vec![task.to_owned(); 2]),
        targets: Ok(vec!["healthy".into(), "draining".into(), target.to_owned()]),
        probes: Some(vec![answer("demo-axon:3", 200), probe]),
    };
    judge(health_checks(&[health]), Criterion::HealthChecks)
}

fn judge(sights: Sights, criterion: Criterion) -> Status {
    sights.judge(criterion, "").status
}

#[test]
fn health_passes_where_all_three_say_so() {
    let good = || answer("demo-axon:3", 200);
    assert_eq!(health("HEALTHY", "healthy", good()), Pass);
    assert_eq!(health("UNKNOWN", "healthy", good()), Skip);
    assert_eq!(health("UNHEALTHY", "healthy", good()), Fail);
    assert_eq!(health("HEALTHY", "unhealthy", good()), Fail);
}

#[test]
fn our_own_probe_fails_even_where_ecs_knows_nothing() {
    let probe = |probe| health("UNKNOWN", "healthy", probe);
    assert_eq!(probe(answer("demo-axon:3", 503)), Fail);
    assert_eq!(probe(answer("demo-axon:2", 200)), Fail);
    assert_eq!(probe(Err("no answer".to_owned())), Fail);
}

#[test]
fn too_few_tasks_or_targets_are_not_healthy() {
    let few = |tasks: usize, targets: usize| Health {
        service: "axon",
        desired: 2,
        revision: String::new(),
        tasks: Ok(vec!["HEALTHY".to_owned(); tasks]),
        targets: Ok(vec!["healthy".to_owned(); targets]),
        probes: None,
    };
    let status = |health| judge(health_checks(&[health]), Criterion::HealthChecks);
    assert_eq!(status(few(2, 2)), Pass);
    assert_eq!(status(few(1, 2)), Fail);
    assert_eq!(status(few(2, 0)), Fail);
}

fn asked(id: &str, status: u16, body: &serde_json::Value) -> Asked {
    Asked {
        correlation_id: id.to_owned(),
        heard: Ok(Answer {
            correlation_id: Some(id.to_owned()),
            ..heard(status, body).unwrap()
        }),
    }
}

fn good() -> Through {
    let success = json!({ "status": "success", "message": HEARTBEAT });
    let denied = json!({ "status": "denied", "reason": "a policy" });
    Through {
        axon_health: Some(answer("demo-axon:3", 200)),
        axon_reason: Some(heard(200, &json!({ "message": HEARTBEAT }))),
        orbit_health: Some(heard(
            200,
            &json!({ "status": "healthy", "service": "orbit" }),
        )),
        permitted: asked("id-p", 200, &success),
        denied: asked("id-d", 403, &denied),
        axon_lines: Ok(vec![line("axon", "request", Some("id-p"))]),
        orbit_lines: Ok(["id-p", "id-d"]
            .map(|id| line("orbit", "request", Some(id)))
            .to_vec()),
    }
}

/// Criteria 1 to 7.
fn judged(through: &Through) -> [Status; 7] {
    [
        judge(through.axon_health(), AxonHealth),
        judge(through.reason(), AxonReason),
        judge(through.orbit_health(), Criterion::OrbitHealth),
        judge(through.governance_first(), Criterion::GovernanceFirst),
        judge(through.denial_blocks(), DenialBlocks),
        judge(through.correlation(), CorrelationIds),
        judge(through.json_logs(), JsonLogs),
    ]
}

fn changed(change: impl FnOnce(&mut Through)) -> [Status; 7] {
    let mut through = good();
    change(&mut through);
    judged(&through)
}

#[test]
fn a_good_release_passes_but_for_what_cant_be_seen() {
    assert!(good().is_logged());
    assert_eq!(judged(&good()), [Pass, Pass, Pass, Skip, Pass, Pass, Pass]);
}

#[test]
fn an_axon_that_is_not_exposed_is_asked_by_orbit() {
    let statuses = changed(|it| {
        it.axon_health = None;
        it.axon_reason = None;
    });
    assert_eq!(statuses[..2], [Skip, Pass]);
    let signed = changed(|it| it.axon_reason = Some(heard(401, &json!({}))));
    assert_eq!(signed[1], Pass);
    let wrong = changed(|it| it.axon_reason = Some(heard(502, &json!({}))));
    assert_eq!(wrong[1], Fail);
}

#[test]
fn a_denied_dispatch_in_axons_log_fails() {
    let statuses = changed(|it| {
        let lines = vec!["id-p", "id-d"];
        let line = |id| line("axon", "request", Some(id));
        it.axon_lines = Ok(lines.into_iter().map(line).collect());
    });
    assert_eq!(statuses[4], Fail);
    let silent = changed(|it| it.axon_lines = Ok(Vec::new()));
    assert_eq!(
        silent[4..],
        [Fail, Fail, Fail],
        "its absence proves nothing"
    );
}

#[test]
fn logs_that_cant_be_read_or_are_no_json_fail() {
    let unread = changed(|it| it.orbit_lines = Err("throttled".to_owned()));
    assert_eq!(unread[4..], [Pass, Fail, Fail]);
    let plain = changed(|it| {
        if let Ok(lines) = &mut it.orbit_lines {
            lines.push("started".to_owned());
        }
    });
    assert_eq!(plain[4..], [Pass, Pass, Fail]);
}

#[test]
fn a_failing_dispatch_fails_all_that_rests_on_it() {
    let statuses = changed(|it| it.permitted = asked("id-p", 502, &json!({})));
    assert_eq!(statuses[1..4], [Fail, Pass, Fail]);
}
