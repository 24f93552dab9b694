use axon::{SERVICE, Settings, app};
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use service_kit::settings::{Reader, SettingsSource};
use service_kit::{Clock, Dependencies};

const NOW: &str = "2026-01-02T03:04:05.000Z";

async fn ask(request: http::request::Builder) -> (Response<()>, Value) {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let clock = Clock::fixed(NOW.parse().unwrap());
    let dependencies = Dependencies::new(SERVICE, clock);
    dependencies.lifecycle.ready(None);
    let request = request.header("Host", "x").body(Body::empty()).unwrap();
    let (head, body) = app(&settings, &dependencies)
        .unwrap()
        .answer(request)
        .await
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

#[tokio::test]
async fn health_answers_healthy() {
    let (response, body) = ask(Request::get("/health")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        body,
        json!({"status": "healthy", "service": "axon", "timestamp": NOW})
    );
}

#[tokio::test]
async fn reason_answers_with_the_heartbeat() {
    let (response, body) = ask(Request::get("/reason")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let message = "Axon heartbeat OK";
    assert_eq!(
        body,
        json!({"message": message, "service": "axon", "timestamp": NOW})
    );
}

#[tokio::test]
async fn the_correlation_id_is_kept() {
    for path in ["/health", "/reason"] {
        let request = Request::get(path).header("X-Correlation-ID", "test-correlation-id");
        let (response, _) = ask(request).await;
        assert_eq!(
            response.headers()["x-correlation-id"],
            "test-correlation-id"
        );
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_problems() {
    for (request, status) in [
        (Request::post("/reason"), 405),
        (Request::get("/dispatch"), 404),
    ] {
        let (response, body) = ask(request).await;
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(
            body["correlation_id"],
            response.headers()["x-correlation-id"].to_str().unwrap()
        );
    }
}
