use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::routing::{any, get};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use service_kit::settings::{Base, Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies, Metrics, Problem, RequestContext, Routes, Traces};

use crate::SERVICE;
use crate::captured_logs::CapturedLogs;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) fn dependencies(metrics: Metrics, traces: Traces) -> Dependencies {
    Dependencies {
        metrics,
        traces,
        ..Dependencies::new(
            SERVICE,
            Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap()),
        )
    }
}

pub(crate) fn app(dependencies: &Dependencies) -> App {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let base = Base::read(&mut Reader::new(&source), SERVICE);
    let routes = Routes::new()
        .open("/fine", any(async || "fine"))
        .open("/health", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .open("/broken", get(async || StatusCode::BAD_GATEWAY))
        .open(
            "/called",
            get(async || Problem::new(StatusCode::BAD_GATEWAY, "it failed").of_target()),
        )
        .open("/panic", get(panics))
        .open("/noted", get(noted))
        .open("/slow", get(async || std::future::pending::<()>().await));
    App::new(routes, &base, dependencies).unwrap()
}

async fn panics() {
    panic!("secret words")
}

async fn noted(Extension(context): Extension<RequestContext>) {
    context.note("governance", "asked");
    context.note("axon", "ok");
    context.note("governance", "allowed");
}

pub(crate) async fn ask(
    dependencies: &Dependencies,
    request: http::request::Builder,
) -> StatusCode {
    let request = request.header("Host", "x").body(Body::empty()).unwrap();
    app(dependencies).answer(request).await.status()
}

fn access_lines(logs: &CapturedLogs) -> Vec<Value> {
    let mut lines = logs.lines();
    lines.retain(|line| line["message"] == "request");
    lines
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_request_says_all_that_is_known_of_it() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let request = Request::get("/noted?token=secret")
        .header("X-Correlation-ID", "the-id")
        .header("Authorization", "secret")
        .header("traceparent", TRACEPARENT);
    ask(
        &dependencies(Metrics::default(), Traces::default()),
        request,
    )
    .await;
    assert_eq!(
        logs.lines(),
        [json!({
            "timestamp": "2026-01-02T03:04:05.678Z", "level": "INFO", "message": "request",
            "target": "service_kit::telemetry::access", "service": "tested",
            "correlation_id": "the-id",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "method": "GET", "route": "/noted",
            "status": 200, "duration_ms": 0.0, "governance": "allowed", "axon": "ok",
        })]
    );
}

#[tokio::test]
async fn failures_of_ours_are_errors_and_those_of_callers_are_not() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let dependencies = dependencies(Metrics::default(), Traces::default());
    for path in ["/fine", "/nowhere", "/broken", "/panic"] {
        ask(&dependencies, Request::get(path)).await;
    }
    let levels: Vec<_> = access_lines(&logs)
        .iter()
        .map(|line| (line["status"].clone(), line["level"].clone()))
        .collect();
    let expected = [(200, "INFO"), (404, "INFO"), (502, "ERROR"), (500, "ERROR")];
    assert_eq!(
        levels,
        expected.map(|(status, level)| (json!(status), json!(level)))
    );
}

#[tokio::test]
async fn a_request_that_is_refused_before_its_route_is_of_that_route() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let dependencies = dependencies(Metrics::default(), Traces::default());
    for path in ["/fine", "/nowhere"] {
        let request = Request::get(path).header("X-Request-Timeout-Ms", "0");
        assert_eq!(
            ask(&dependencies, request).await,
            StatusCode::REQUEST_TIMEOUT
        );
    }
    let routes: Vec<_> = access_lines(&logs)
        .iter()
        .map(|line| line["route"].clone())
        .collect();
    assert_eq!(routes, ["/fine", "unmatched"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_went_away_has_its_line() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let dependencies = dependencies(Metrics::default(), Traces::default());
    let request = Request::get("/slow").header("X-Correlation-ID", "the-id");
    let answer =
        tokio::time::timeout(Duration::from_millis(1500), ask(&dependencies, request)).await;
    assert!(answer.is_err());
    let lines = access_lines(&logs);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["correlation_id"], "the-id");
    assert_eq!(lines[0]["route"], "/slow");
    assert_eq!(lines[0]["status"], 499);
    assert_eq!(lines[0]["outcome"], "cancelled");
    assert_eq!(lines[0]["duration_ms"], 1500.0);
}

#[tokio::test]
async fn a_client_cannot_write_a_method_of_its_own_into_the_log() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let dependencies = dependencies(Metrics::default(), Traces::default());
    for method in ["DELETE", "BREW"] {
        ask(
            &dependencies,
            Request::builder().method(method).uri("/fine"),
        )
        .await;
    }
    let lines = access_lines(&logs);
    assert_eq!(lines[0]["method"], "DELETE");
    assert_eq!(lines[1]["method"], "_OTHER");
}
