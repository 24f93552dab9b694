//! Results for a healthy release and for broken ones.

use serde_json::json;

use super::super::Criterion::{
    self, AxonHealth, AxonReason, CorrelationIds, DenialBlocks, JsonLogs,
};
use super::super::Status::{self, Fail, Pass, Skip};
use super::super::responses::HttpResponse;
use super::super::responses::testing::{line, response};
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
        events: Vec::new(),
    }
}

#[test]
fn the_desired_tasks_run_and_no_deployment_is_in_progress() {
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

fn answer(revision: &str, status: u16) -> HttpResult {
    Ok(HttpResponse {
        task_revision: Some(revision.to_owned()),
        ..response(status, &json!({ "status": "healthy", "service": "axon" }))?
    })
}

fn health(task: &str, target: &str, probe: HttpResult) -> Status {
    let health = ServiceHealth {
        service: "axon",
        desired: 2,
        revision: "demo-axon:3".parse().unwrap(),
        tasks: Ok(vec![task.to_owned(); 2]),
        targets: Ok(vec!["healthy".into(), "draining".into(), target.to_owned()]),
        probes: Some(vec![answer("demo-axon:3", 200), probe]),
    };
    judge(health_checks(&[health]), Criterion::HealthChecks)
}

fn judge(observations: Observations, criterion: Criterion) -> Status {
    observations.judge(criterion, "").status
}

#[test]
fn health_passes_where_all_three_sources_agree() {
    let good = || answer("demo-axon:3", 200);
    assert_eq!(health("HEALTHY", "healthy", good()), Pass);
    assert_eq!(health("UNKNOWN", "healthy", good()), Fail);
    assert_eq!(health("UNHEALTHY", "healthy", good()), Fail);
    assert_eq!(health("HEALTHY", "unhealthy", good()), Fail);
}

#[test]
fn our_own_probe_counts_beside_the_checks_of_ecs() {
    let probe = |probe| health("HEALTHY", "healthy", probe);
    assert_eq!(probe(answer("demo-axon:3", 503)), Fail);
    assert_eq!(probe(answer("demo-axon:2", 200)), Fail);
    assert_eq!(probe(Err("no answer".to_owned())), Fail);
}

#[test]
fn too_few_tasks_or_targets_are_not_healthy() {
    let few = |tasks: usize, targets: usize| ServiceHealth {
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

fn asked(id: &str, status: u16, body: &serde_json::Value) -> ObservedDispatch {
    ObservedDispatch {
        correlation_id: id.to_owned(),
        response: Ok(HttpResponse {
            correlation_id: Some(id.to_owned()),
            ..response(status, body).unwrap()
        }),
    }
}

fn good() -> ReleaseResponses {
    let success = json!({ "status": "success", "message": HEARTBEAT });
    let denied = json!({ "status": "denied", "reason": "a policy" });
    ReleaseResponses {
        axon_health: Some(answer("demo-axon:3", 200)),
        axon_reason: Some(response(200, &json!({ "message": HEARTBEAT }))),
        orbit_health: Some(response(
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

/// Criteria 1 to 6.
fn judged(responses: &ReleaseResponses) -> [Status; 6] {
    [
        judge(responses.axon_health(), AxonHealth),
        judge(responses.reason(), AxonReason),
        judge(responses.orbit_health(), Criterion::OrbitHealth),
        judge(responses.governance_first(), Criterion::GovernanceFirst),
        judge(responses.denial_blocks(), DenialBlocks),
        judge(responses.correlation(), CorrelationIds),
    ]
}

fn changed(change: impl FnOnce(&mut ReleaseResponses)) -> [Status; 6] {
    let mut responses = good();
    change(&mut responses);
    judged(&responses)
}

#[test]
fn a_good_release_passes_what_is_observable() {
    assert!(good().is_logged());
    assert_eq!(judged(&good()), [Pass, Pass, Pass, Skip, Pass, Pass]);
}

#[test]
fn axon_may_be_unexposed() {
    let statuses = changed(|it| {
        it.axon_health = None;
        it.axon_reason = None;
    });
    assert_eq!(statuses[..2], [Skip, Pass]);
    let signed = changed(|it| it.axon_reason = Some(response(401, &json!({}))));
    assert_eq!(signed[1], Pass);
    let wrong = changed(|it| it.axon_reason = Some(response(502, &json!({}))));
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
    assert_eq!(silent[4..], [Fail, Fail], "its absence proves nothing");
}

#[test]
fn unreadable_or_malformed_logs_fail() {
    let unread = changed(|it| it.orbit_lines = Err("throttled".to_owned()));
    assert_eq!(unread[4..], [Pass, Fail]);

    let good = ServiceLog {
        service: "echo",
        requested: true,
        lines: Ok(vec![line("echo", "ready", None)]),
    };
    let status = |logs: &[ServiceLog]| judge(json_logs(logs), JsonLogs);
    assert_eq!(status(std::slice::from_ref(&good)), Pass);
    for lines in [
        Err("throttled".to_owned()),
        Ok(vec!["started".to_owned()]),
        Ok(vec![line("axon", "ready", None)]),
        Ok(Vec::new()),
    ] {
        let log = ServiceLog {
            lines,
            ..good.clone()
        };
        assert_eq!(status(&[good.clone(), log.clone()]), Fail, "{log:?}");
    }
}

#[test]
fn a_log_that_nothing_was_asked_for_may_be_silent() {
    let log = |requested, lines: &[String]| ServiceLog {
        service: "echo",
        requested,
        lines: Ok(lines.to_vec()),
    };
    let lines = [line("echo", "ready", None)];
    assert_eq!(judge(json_logs(&[log(false, &[])]), JsonLogs), Skip);
    assert_eq!(judge(json_logs(&[log(false, &lines)]), JsonLogs), Pass);
    assert!(log(false, &[]).has_arrived());
    assert!(!log(true, &[]).has_arrived());
    assert!(log(true, &lines).has_arrived());
}

#[test]
fn a_failing_dispatch_fails_every_criterion_that_needs_it() {
    let statuses = changed(|it| it.permitted = asked("id-p", 502, &json!({})));
    assert_eq!(statuses[1..4], [Fail, Pass, Fail]);
}
