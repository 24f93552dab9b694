use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use orbit::{SERVICE, Settings, app};
use serde_json::{Value, json};
use service_kit::settings::{Reader, SettingsSource};
use service_kit::{Clock, Dependencies};

use kit_testing::stub::{StubServer, answer};

const NOW: &str = "2026-01-02T03:04:05.000Z";
const HEARTBEAT: &str = r#"{"message":"Axon heartbeat OK","service":"axon"}"#;
const ALLOWED: &str = r#"{"allowed":true}"#;

async fn ask(
    governance_url: &str,
    axon_url: &str,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> (Response<()>, Value) {
    ask_within("60000", governance_url, axon_url, request, body).await
}

async fn ask_within(
    deadline_ms: &str,
    governance_url: &str,
    axon_url: &str,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> (Response<()>, Value) {
    let variable = |name: &str| match name {
        "GOVERNANCE_FUNCTION_URL" => Some(governance_url.to_owned()),
        "AXON_SERVICE_URL" => Some(axon_url.to_owned()),
        "DEADLINE_MS" => Some(deadline_ms.to_owned()),
        _ => None,
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let clock = Clock::fixed(NOW.parse().unwrap());
    let dependencies = Dependencies::new(SERVICE, clock);
    dependencies.lifecycle.ready(None);
    let app = app(&settings, &dependencies).await.unwrap();
    let request = request.header("Host", "x").body(body.into()).unwrap();
    let response = app.answer(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

fn dispatch() -> http::request::Builder {
    Request::post("/dispatch").header("X-Correlation-ID", "the-id")
}

fn json_dispatch() -> http::request::Builder {
    dispatch().header("Content-Type", "application/json")
}

fn assert_problem(answer: &(Response<()>, Value), status: u16) {
    assert_eq!(answer.0.status(), status, "{}", answer.1);
    assert_eq!(
        answer.0.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(answer.1["correlation_id"], "the-id");
}

#[tokio::test]
async fn health_answers_healthy_without_a_call() {
    let unused = StubServer::answering(500, "").await;
    let (response, body) = ask(
        &unused.url("/"),
        &unused.url("/"),
        Request::get("/health"),
        "",
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        body,
        json!({"status": "healthy", "service": "orbit", "timestamp": NOW})
    );
    assert!(unused.calls().is_empty());
}

#[tokio::test]
async fn a_dispatch_answers_with_axons_message() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let success = json!({"status": "success", "message": "Axon heartbeat OK", "timestamp": NOW});
    for (request, body) in [
        (dispatch(), ""),
        (json_dispatch(), ""),
        (json_dispatch(), r#"{"intent":"call_reasoning"}"#),
        (
            dispatch().header("Content-Type", "Application/JSON; charset=utf-8"),
            r#"{"intent":"a"}"#,
        ),
    ] {
        let (response, body) = ask(&governance.url("/"), &axon.url("/reason"), request, body).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body, success);
    }
    assert_eq!(axon.calls().len(), 4);
    assert!(axon.calls().iter().all(|call| call.line == "GET /reason"));
    let questions: Vec<Value> = governance
        .calls()
        .iter()
        .map(|call| serde_json::from_slice(&call.body).unwrap())
        .collect();
    let question =
        |intent| json!({"service": "orbit", "intent": intent, "correlation_id": "the-id"});
    let usual = question("call_reasoning");
    assert_eq!(
        questions,
        [usual.clone(), usual.clone(), usual, question("a")]
    );
}

#[tokio::test]
async fn governance_is_called_before_dispatching() {
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let asked = axon.clone();
    let governance = StubServer::start(move |_| {
        assert!(asked.calls().is_empty());
        Some(answer(200, ALLOWED))
    })
    .await;
    let (response, _) = ask(&governance.url("/"), &axon.url("/reason"), dispatch(), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((governance.calls().len(), axon.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_denial_by_governance_blocks_the_call_of_axon() {
    let denial = r#"{"allowed":false,"reason":"Policy violation"}"#;
    let governance = StubServer::answering(200, denial).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let body = r#"{"intent":"delete_everything"}"#;
    let (response, body) = ask(&governance.url("/"), &axon.url("/"), json_dispatch(), body).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        body,
        json!({"status": "denied", "reason": "Policy violation", "timestamp": NOW})
    );
    assert_eq!(axon.calls().len(), 0);
}

#[tokio::test]
async fn governance_that_fails_fails_closed() {
    let axon = StubServer::answering(200, HEARTBEAT).await;
    for (status, body) in [
        (500, ALLOWED),
        (204, ""),
        (200, ""),
        (200, "yes"),
        (200, "{}"),
        (200, r#"{"allowed":"true"}"#),
        (200, r#"{"allowed":1}"#),
    ] {
        let governance = StubServer::answering(status, body).await;
        let answer = ask(&governance.url("/"), &axon.url("/reason"), dispatch(), "").await;
        assert_problem(&answer, 503);
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", unused.local_addr().unwrap());
    drop(unused);
    assert_problem(&ask(&url, &axon.url("/reason"), dispatch(), "").await, 503);
    assert_eq!(axon.calls().len(), 0);
}

#[tokio::test]
async fn governance_that_does_not_answer_fails_closed() {
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let governance = StubServer::start(|_| None).await;
    let (governance_url, axon_url) = (governance.url("/"), axon.url("/"));
    let answer = ask_within("4000", &governance_url, &axon_url, dispatch(), "").await;
    assert_problem(&answer, 503);
    assert_eq!((governance.calls().len(), axon.calls().len()), (3, 0));
}

#[tokio::test]
async fn an_axon_that_answers_wrongly_is_a_bad_gateway() {
    let governance = StubServer::answering(200, ALLOWED).await;
    for (status, body) in [
        (500, HEARTBEAT),
        (404, ""),
        (200, "hello"),
        (200, r#"{"message":1}"#),
    ] {
        let axon = StubServer::answering(status, body).await;
        assert_problem(
            &ask(&governance.url("/"), &axon.url("/"), dispatch(), "").await,
            502,
        );
    }
}

#[tokio::test]
async fn an_axon_that_does_not_answer_is_a_gateway_timeout() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::start(|_| None).await;
    let (governance_url, axon_url) = (governance.url("/"), axon.url("/"));
    let answer = ask_within("4000", &governance_url, &axon_url, dispatch(), "").await;
    assert_problem(&answer, 504);
    assert_eq!(axon.calls().len(), 3);
}

#[tokio::test]
async fn the_correlation_id_reaches_governance_axon_and_the_caller() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let (response, _) = ask(&governance.url("/"), &axon.url("/reason"), dispatch(), "").await;
    assert_eq!(response.headers()["x-correlation-id"], "the-id");
    assert_eq!(governance.calls()[0].headers["x-correlation-id"], "the-id");
    assert_eq!(axon.calls()[0].headers["x-correlation-id"], "the-id");
}

/// Bodies without an intent of 1 to 128 characters of `[A-Za-z0-9._-]`.
fn wrong_bodies() -> Vec<Vec<u8>> {
    // Of 60,000 bytes as JSON.
    let long = |text: &str| text.repeat(60_000 / (json!(text).to_string().len() - 2));
    let mut intents: Vec<String> = [
        "", " ", "a b", "a/b", "a\"b", "a\\b", "a\nb", "\0", "é", "🦀",
    ]
    .map(str::to_owned)
    .to_vec();
    intents.extend(["x".repeat(129), "x".repeat(60_000)]);
    intents.extend(["\u{7f}", "\u{9b}", "\u{202e}", "\"", "\\", "é"].map(long));
    let of_intent = |intent: String| json!({ "intent": intent }).to_string();
    let mut bodies: Vec<String> = intents.into_iter().map(of_intent).collect();
    for intent in [
        "null",
        "true",
        "7",
        "-1e99",
        "[]",
        "[\"a\"]",
        "{}",
        "{\"a\":\"b\"}",
    ] {
        bodies.push(format!(r#"{{"intent":{intent}}}"#));
    }
    let string = |text: &str| format!("\"{}\"", long(text));
    bodies.extend([string("\u{7f}"), string("x"), "9".repeat(60_000)]);
    bodies.extend([format!(r#"{{"intent":[{}]}}"#, string("\u{7f}"))]);
    bodies.extend([format!("{{{}:1}}", string("\u{7f}"))]);
    bodies.extend(["[".repeat(60_000), "{\"a\":".repeat(10_000)]);
    bodies.extend(
        [
            " ",
            "null",
            "[\"call_reasoning\"]",
            " [\"call_reasoning\"]",
            "[[\"call_reasoning\"]]",
            r#"{"Intent":"call_reasoning"}"#,
            r#"{"intent":"a","intent":"a"}"#,
            r#"{"intent":"a"}{"intent":"a"}"#,
            r#"{"intent":"a",}"#,
            r#"{"intent":"\ud800"}"#,
            "\u{feff}{\"intent\":\"a\"}",
        ]
        .map(str::to_owned),
    );
    let mut bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
    bodies.push(b"{\"intent\":\"\xff\"}".to_vec());
    bodies
}

#[tokio::test]
async fn an_intent_may_have_every_character_of_the_contract_and_its_length() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let longest = "x".repeat(128);
    for (body, intent) in [
        (r#"{"intent":"A.b_c-9"}"#.to_owned(), "A.b_c-9"),
        (r#" {"intent":"\u0061"} "#.to_owned(), "a"),
        (format!(r#"{{"more":[1],"intent":"{longest}"}}"#), &longest),
    ] {
        let answer = ask(&governance.url("/"), &axon.url("/"), json_dispatch(), body).await;
        assert_eq!(answer.0.status(), StatusCode::OK, "{intent}");
        let asked = governance.calls().pop().unwrap();
        let question: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(question["intent"], intent);
    }
}

#[tokio::test]
async fn an_invalid_request_makes_no_call() {
    let unused = StubServer::answering(200, ALLOWED).await;
    let large = format!(r#"{{"intent":"{}"}}"#, "x".repeat(70_000));
    for (request, body, status) in [
        (json_dispatch(), "{", 400),
        (json_dispatch(), "{}", 400),
        (json_dispatch(), r#"{"intent":7}"#, 400),
        (json_dispatch(), r#"["call_reasoning"]x"#, 400),
        (json_dispatch(), large.as_str(), 413),
        (dispatch(), r#"{"intent":"call_reasoning"}"#, 415),
        (dispatch().header("Content-Type", "text/plain"), "{}", 415),
    ] {
        let url = unused.url("/");
        assert_problem(&ask(&url, &url, request, body.to_owned()).await, status);
    }
    for body in wrong_bodies() {
        let url = unused.url("/");
        let answer = ask(&url, &url, json_dispatch(), body.clone()).await;
        let shown: String = String::from_utf8_lossy(&body).chars().take(60).collect();
        assert_problem(&answer, 400);
        let bytes = answer.1.to_string().len();
        assert!(bytes < 400, "{shown} is answered by {bytes} bytes");
    }
    let get = Request::get("/dispatch").header("X-Correlation-ID", "the-id");
    assert_problem(&ask(&unused.url("/"), &unused.url("/"), get, "").await, 405);
    assert!(unused.calls().is_empty());
}
