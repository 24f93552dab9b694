use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use service_kit::settings::{Base, Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies, Problem, Routes, health, server};

use crate::SERVICE;
use crate::captured_logs::CapturedLogs;

fn dependencies() -> Dependencies {
    let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
    Dependencies::new(SERVICE, clock)
}

fn app(dependencies: &Dependencies) -> App {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let base = Base::read(&mut Reader::new(&source), SERVICE);
    let routes = Routes::new()
        .open("/health", health(dependencies))
        .open("/panic", get(panics))
        .open("/slow", get(async || std::future::pending::<()>().await))
        .open("/size", post(async |body: Bytes| body.len().to_string()))
        .open(
            "/quotes",
            post(async |body: String| Problem::new(StatusCode::BAD_REQUEST, body)),
        )
        .open(
            "/taken",
            get(async || Problem::new(StatusCode::CONFLICT, "it is taken")),
        )
        .open(
            "/own",
            get(async || (StatusCode::FORBIDDEN, axum::Json(json!({"own": true})))),
        );
    App::new(routes, &base, dependencies).unwrap()
}

async fn panics() {
    panic!("secret words")
}

async fn ask(request: http::request::Builder, body: impl Into<Body>) -> (Response<()>, Value) {
    answer_of(&dependencies(), request, body).await
}

async fn answer_of(
    dependencies: &Dependencies,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> (Response<()>, Value) {
    let request = request.header("Host", "x").body(body.into()).unwrap();
    let response = app(dependencies).answer(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

fn header<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn assert_problem(answer: &(Response<()>, Value), status: u16, detail: Option<&str>) {
    let (response, body) = answer;
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(header(response, "content-type"), "application/problem+json");
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["status"], status);
    assert_eq!(body["title"], response.status().canonical_reason().unwrap());
    assert_eq!(body["detail"].as_str(), detail);
    assert_eq!(body["correlation_id"], header(response, "x-correlation-id"));
    assert_ne!(body["correlation_id"], "");
}

#[tokio::test]
async fn a_fit_correlation_id_is_kept() {
    let request = Request::get("/own").header("X-Correlation-ID", "test-correlation-id");
    let (response, _) = ask(request, "").await;
    assert_eq!(header(&response, "x-correlation-id"), "test-correlation-id");
}

#[tokio::test]
async fn a_missing_correlation_id_is_generated() {
    let (one, _) = ask(Request::get("/own"), "").await;
    let (other, _) = ask(Request::get("/own"), "").await;
    assert_eq!(header(&one, "x-correlation-id").len(), 32);
    assert_ne!(
        header(&one, "x-correlation-id"),
        header(&other, "x-correlation-id")
    );
}

#[tokio::test]
async fn an_unfit_correlation_id_is_replaced() {
    for unfit in ["", "with space", "quote\"", "{}", &"x".repeat(129)] {
        let (response, _) = ask(Request::get("/own").header("X-Correlation-ID", unfit), "").await;
        assert_ne!(header(&response, "x-correlation-id"), unfit);
        assert_eq!(header(&response, "x-correlation-id").len(), 32, "{unfit}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_with_the_id() {
    let request = Request::get("/nowhere").header("X-Correlation-ID", "mine");
    let answer = ask(request, "").await;
    assert_problem(&answer, 404, None);
    assert_eq!(answer.1["correlation_id"], "mine");
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_that_says_what_is_allowed() {
    let answer = ask(Request::post("/own"), "").await;
    assert_problem(&answer, 405, None);
    assert_eq!(header(&answer.0, "allow"), "GET,HEAD");
}

#[tokio::test]
async fn a_panic_is_a_problem_without_the_panic_message() {
    let dependencies = dependencies();
    let answer = answer_of(&dependencies, Request::get("/panic"), "").await;
    assert_problem(&answer, 500, Some("the service failed"));
    answer_of(&dependencies, Request::get("/own"), "").await;
    assert_eq!(dependencies.metrics.counter("panics", &[]).take(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_is_a_problem() {
    let began = tokio::time::Instant::now();
    let answer = ask(Request::get("/slow"), "").await;
    assert_problem(&answer, 504, Some("the deadline passed"));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let sized = |bytes: usize| vec![b'x'; bytes];
    let (response, size) = ask(Request::post("/size"), sized(server::BODY_BYTES_MAX)).await;
    assert_eq!(
        (response.status(), size),
        (StatusCode::OK, json!(server::BODY_BYTES_MAX))
    );
    // A body of one chunk has a known size, one of several chunks has not.
    assert_problem(
        &ask(Request::post("/size"), sized(server::BODY_BYTES_MAX + 1)).await,
        413,
        Some("the body is too large"),
    );
    let chunks = [sized(server::BODY_BYTES_MAX), sized(1)].map(Ok::<_, std::io::Error>);
    let chunks = Body::from_stream(futures_util::stream::iter(chunks));
    let answer = ask(Request::post("/size"), chunks).await;
    assert_problem(&answer, 413, Some("the body is too large"));
}

#[tokio::test]
async fn a_handlers_problem_is_rendered_and_its_own_json_left_alone() {
    assert_problem(
        &ask(Request::get("/taken"), "").await,
        409,
        Some("it is taken"),
    );
    let (response, body) = ask(Request::get("/own"), "").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(body, json!({"own": true}));
}

#[tokio::test]
async fn what_a_problem_quotes_is_short() {
    let short = "é".repeat(256);
    let answer = ask(Request::post("/quotes"), short.clone()).await;
    assert_problem(&answer, 400, Some(&short));
    let answer = ask(Request::post("/quotes"), "é".repeat(30_000)).await;
    assert_problem(&answer, 400, Some(&format!("{short}…")));
}

#[tokio::test]
async fn health_follows_the_life_of_the_process() {
    let dependencies = dependencies();
    let health = || answer_of(&dependencies, Request::get("/health"), "");
    let starting = health().await;
    assert_problem(&starting, 503, Some("the service is starting"));

    dependencies
        .lifecycle
        .ready(Some("demo-tested:42".parse().unwrap()));
    let (ready, body) = health().await;
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(header(&ready, "x-task-revision"), "demo-tested:42");
    assert_eq!(header(&ready, "connection"), "");
    let timestamp = "2026-01-02T03:04:05.000Z";
    assert_eq!(
        body,
        json!({"status": "healthy", "service": "tested", "timestamp": timestamp})
    );

    dependencies.lifecycle.drain();
    let draining = health().await;
    assert_problem(&draining, 503, Some("the service is draining"));
    assert_eq!(header(&draining.0, "x-task-revision"), "demo-tested:42");
    assert_eq!(header(&draining.0, "connection"), "close");
}

#[tokio::test]
async fn outside_ecs_there_is_no_revision() {
    let dependencies = dependencies();
    dependencies.lifecycle.ready(None);
    let (response, _) = answer_of(&dependencies, Request::get("/health"), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("x-task-revision"));
}

#[tokio::test]
async fn draining_closes_http_1_connections_only() {
    let dependencies = dependencies();
    dependencies.lifecycle.drain();
    let request = Request::get("/own").version(http::Version::HTTP_2);
    let (response, _) = answer_of(&dependencies, request, "").await;
    assert!(!response.headers().contains_key("connection"));
}

#[tokio::test(start_paused = true)]
async fn every_request_has_one_access_line() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    for (method, path, route, status) in [
        ("GET", "/own", "/own", 403),
        ("GET", "/slow", "/slow", 504),
        ("GET", "/panic", "/panic", 500),
        ("DELETE", "/own", "/own", 405),
        ("GET", "/no/such/path", "unmatched", 404),
    ] {
        let before = logs.lines().len();
        let request = Request::builder().method(method).uri(path);
        ask(request.header("X-Correlation-ID", "the-id"), "").await;
        let lines = &logs.lines()[before..];
        assert!(
            lines.iter().all(|line| line["correlation_id"] == "the-id"),
            "{lines:?}"
        );
        let access: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == "request")
            .collect();
        assert_eq!(access.len(), 1, "{lines:?}");
        assert_eq!(access[0]["method"], method);
        assert_eq!(access[0]["route"], route);
        assert_eq!(access[0]["status"], status);
        assert!(access[0]["duration_ms"].is_f64(), "{lines:?}");
    }
}

#[tokio::test]
async fn no_level_takes_the_id_off_a_line() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "kit=warn");
    let routes = Routes::new().open("/", get(async || tracing::warn!(target: "kit", "odd")));
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let base = Base::read(&mut Reader::new(&source), SERVICE);
    let request = Request::get("/")
        .header("Host", "x")
        .header("X-Correlation-ID", "the-id");
    let app = App::new(routes, &base, &dependencies()).unwrap();
    app.answer(request.body(Body::empty()).unwrap()).await;
    let lines = logs.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], "odd");
    assert_eq!(lines[0]["correlation_id"], "the-id");
}
