//! Routes that require a signature: their answers and their metrics.

use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use service_kit::settings::{Base, Reader, SettingsSource, Signatures};
use service_kit::sigv4::SignatureSetupError;
use service_kit::{App, Dependencies, Routes, ServiceIdentity, server};

use crate::independent::Signing;
use crate::{NOW, REGION, SERVICE, clock, reason, ring};

const TESTED: ServiceIdentity = ServiceIdentity {
    name: SERVICE,
    version: "1.2.3",
};

fn base(signatures: Signatures) -> Base {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let mut base = Base::read(&mut Reader::new(&source), TESTED);
    base.signatures = signatures;
    base.region = Some(REGION.to_owned());
    base
}

fn dependencies() -> Dependencies {
    Dependencies {
        keys: Some(ring("CURRENT", None)),
        ..Dependencies::new(TESTED, clock(NOW))
    }
}

fn app(base: &Base, dependencies: &Dependencies) -> Result<App, SignatureSetupError> {
    let routes = Routes::new()
        .signed("/reason", get(async || "in"))
        .signed("/echo", post(async |body: Bytes| body))
        .open("/health", get(async || "healthy"));
    App::new(routes, base, dependencies)
}

/// Status, headers and body.
async fn ask(
    dependencies: &Dependencies,
    request: Request<Bytes>,
) -> (StatusCode, HeaderMap, Bytes) {
    let base = base(Signatures::ByPairs);
    let app = app(&base, dependencies).unwrap();
    let response = app.answer(request.map(Body::from)).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, body)
}

fn count(dependencies: &Dependencies, outcome: &'static str) -> u64 {
    let dimensions: service_kit::Dimensions = match outcome {
        "valid" => &[("outcome", "valid")],
        "missing" => &[("outcome", "missing")],
        "malformed" => &[("outcome", "malformed")],
        "expired" => &[("outcome", "expired")],
        "unknown_key" => &[("outcome", "unknown_key")],
        _ => &[("outcome", "mismatch")],
    };
    dependencies
        .metrics
        .counter("signatures", dimensions)
        .take()
}

fn echo(body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = reason().map(|_| body.into());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "/echo".parse().unwrap();
    request
}

#[tokio::test]
async fn the_signed_get_through_with_their_body() {
    let dependencies = dependencies();
    let (status, _, body) = ask(&dependencies, Signing::default().sign(reason())).await;
    assert_eq!((status, &*body), (StatusCode::OK, &b"in"[..]));
    let (status, _, body) = ask(&dependencies, Signing::default().sign(echo("thought"))).await;
    assert_eq!((status, &*body), (StatusCode::OK, &b"thought"[..]));
    assert_eq!(count(&dependencies, "valid"), 2);
}

#[tokio::test]
async fn refused_requests_get_a_reason_without_what_was_expected() {
    let dependencies = dependencies();
    let old = Signing {
        time: "2026-01-01T03:04:05Z",
        ..Signing::default()
    };
    let unknown = Signing {
        key: "OTHER",
        ..Signing::default()
    };
    let mut malformed = Signing::default().sign(reason());
    malformed.headers_mut().remove("x-amz-date");
    let mut mismatch = Signing::default().sign(reason());
    *mismatch.uri_mut() = "/reason".parse().unwrap();
    for (request, status, outcome) in [
        (reason(), 401, "missing"),
        (malformed, 401, "malformed"),
        (old.sign(reason()), 401, "expired"),
        (unknown.sign(reason()), 403, "unknown_key"),
        (mismatch, 403, "mismatch"),
    ] {
        let (answered, headers, body) = ask(&dependencies, request).await;
        assert_eq!(answered, status, "{outcome}");
        assert_eq!(headers["content-type"], "application/problem+json");
        let scheme = headers.get("www-authenticate");
        let asked = (status == 401).then_some(&b"AWS4-HMAC-SHA256"[..]);
        assert_eq!(scheme.map(HeaderValue::as_bytes), asked, "{outcome}");
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["reason"], outcome);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["correlation_id"], "the-id");
        let text = problem.to_string();
        assert!(
            !text.contains("CURRENT") && !text.contains("secret"),
            "{text}"
        );
        let detail = problem["detail"].as_str().unwrap();
        let has_hash = detail.split(' ').any(|word| word.len() >= 32);
        assert!(!has_hash, "{detail}");
        assert_eq!(count(&dependencies, outcome), 1, "{outcome}");
    }
    assert_eq!(count(&dependencies, "valid"), 0);
}

#[tokio::test]
async fn unprotected_routes_need_no_signature() {
    let mut health = reason();
    *health.uri_mut() = "/health".parse().unwrap();
    assert_eq!(ask(&dependencies(), health).await.0, StatusCode::OK);
    let mut nowhere = reason();
    *nowhere.uri_mut() = "/nowhere".parse().unwrap();
    assert_eq!(ask(&dependencies(), nowhere).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_signed_requests_learn_the_allowed_methods() {
    let mut request = reason();
    *request.method_mut() = http::Method::DELETE;
    let (status, ..) = ask(&dependencies(), request.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, ..) = ask(&dependencies(), Signing::default().sign(request)).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
#[should_panic(expected = "given once with all its methods")]
fn a_path_is_not_open_and_signed() {
    let open = Routes::<()>::new().open("/reason", get(async || "in"));
    drop(open.signed("/reason", post(async || "in")));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let large = vec![b'x'; server::BODY_BYTES_MAX + 1];
    let request = Signing::default().sign(echo(large));
    let (status, ..) = ask(&dependencies(), request).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn off_requires_no_signature() {
    let (base, dependencies) = (base(Signatures::Off), dependencies());
    let app = app(&base, &dependencies).unwrap();
    let response = app.answer(reason().map(Body::from)).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn required_without_keys_or_region_is_not_ready() {
    let mut base = base(Signatures::ByPairs);
    let mut dependencies = dependencies();
    dependencies.keys = None;
    let refused = app(&base, &dependencies).err().unwrap();
    assert!(matches!(refused, SignatureSetupError::NoKeys), "{refused}");
    dependencies.keys = Some(ring("CURRENT", None));
    base.region = None;
    let refused = app(&base, &dependencies).err().unwrap();
    assert!(
        matches!(refused, SignatureSetupError::NoRegion),
        "{refused}"
    );
    base.signatures = Signatures::Off;
    assert!(app(&base, &dependencies).is_ok());
}
