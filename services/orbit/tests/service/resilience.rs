//! The answers to dispatches while governance or axon fail, with one application for many
//! dispatches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use orbit::{SERVICE, Settings, app};
use service_kit::outbound::{ResolvedAddresses, Resolver};
use service_kit::settings::{Reader, SettingsSource, Signatures};
use service_kit::{App, Clock, Dependencies, KeyPair, KeyPairs, KeyRing, Unit};

use crate::process::{ALLOWED, HEARTBEAT};
use kit_testing::stub::{StubServer, answer};

fn settings(governance: &StubServer, axon: &StubServer) -> Settings {
    settings_with(&governance.url("/"), &axon.url("/reason"))
}

fn settings_with(governance_url: &str, axon_url: &str) -> Settings {
    let variable = |name: &str| match name {
        "GOVERNANCE_FUNCTION_URL" => Some(governance_url.to_owned()),
        "AXON_SERVICE_URL" => Some(axon_url.to_owned()),
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        _ => None,
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let settings = Settings::read(&mut reader);
    reader.finish(settings).unwrap()
}

fn dependencies() -> Dependencies {
    Dependencies::new(
        SERVICE,
        Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap()),
    )
}

async fn dispatch(app: &App) -> Response<Body> {
    let request = Request::post("/dispatch")
        .header("Host", "x")
        .body(Body::empty())
        .unwrap();
    app.answer(request).await
}

fn calls(dependencies: &Dependencies, target: &'static str, outcome: &'static str) -> u64 {
    let dimensions = Box::leak(Box::new([("target", target), ("outcome", outcome)]));
    dependencies.metrics.counter("calls", dimensions).take()
}

#[tokio::test]
async fn an_axon_that_went_on_failing_is_not_called_for_a_while() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(500, "").await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    for _ in 0..10 {
        assert_eq!(dispatch(&app).await.status(), StatusCode::BAD_GATEWAY);
    }
    let response = dispatch(&app).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!((governance.calls().len(), axon.calls().len()), (11, 10));
    assert_eq!(calls(&dependencies, "axon", "wrong"), 10);
    assert_eq!(calls(&dependencies, "axon", "breaker_open"), 1);
    assert_eq!(calls(&dependencies, "governance", "allowed"), 11);
}

#[tokio::test]
async fn a_governance_that_went_on_failing_is_not_asked_for_a_while() {
    let governance = StubServer::answering(500, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    for _ in 0..10 {
        let response = dispatch(&app).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!response.headers().contains_key("retry-after"));
    }
    let response = dispatch(&app).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!((governance.calls().len(), axon.calls().len()), (10, 0));
    assert_eq!(calls(&dependencies, "governance", "failed"), 10);
    assert_eq!(calls(&dependencies, "governance", "breaker_open"), 1);
}

#[tokio::test]
async fn failures_that_pass_are_not_seen() {
    let failing_once = async |then: &'static str| {
        let asked = Arc::new(AtomicUsize::new(0));
        StubServer::start(move |_| {
            let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            Some(answer(if is_first { 503 } else { 200 }, then))
        })
        .await
    };
    let governance = failing_once(ALLOWED).await;
    let axon = failing_once(HEARTBEAT).await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    assert_eq!(dispatch(&app).await.status(), StatusCode::OK);
    assert_eq!((governance.calls().len(), axon.calls().len()), (2, 2));
    assert_eq!(calls(&dependencies, "axon", "ok"), 1);
}

#[tokio::test]
async fn a_governance_that_throttles_says_when_to_come_back() {
    let governance = StubServer::start(|_| {
        let mut throttled = answer(429, ALLOWED);
        let headers = throttled.headers_mut();
        headers.insert("Retry-After", "60".parse().unwrap());
        Some(throttled)
    })
    .await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    let response = dispatch(&app).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "60");
    assert_eq!((governance.calls().len(), axon.calls().len()), (1, 0));
    assert_eq!(calls(&dependencies, "governance", "throttled"), 1);
}

#[tokio::test]
async fn the_callers_deadline_holds_for_all_that_is_called() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::start(|_| None).await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    let response = dispatch_within(&app, "1500").await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    for call in [&governance.calls()[0], &axon.calls()[0]] {
        let sent = call.headers["x-request-timeout-ms"].to_str().unwrap();
        assert!((1..=1500).contains(&sent.parse().unwrap()), "{sent}");
    }
}

async fn dispatch_within(app: &App, milliseconds: &str) -> Response<Body> {
    let request = Request::post("/dispatch")
        .header("Host", "x")
        .header("X-Request-Timeout-Ms", milliseconds);
    app.answer(request.body(Body::empty()).unwrap()).await
}

/// Governance answers 408, as a service of the kit does when its time was too short, so that the
/// test does not depend on which of the two clocks is first.
#[tokio::test]
async fn a_callers_short_time_limit_is_no_failure_of_the_targets() {
    let in_trouble = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&in_trouble);
    let governance = StubServer::start(move |_| {
        let status = if is_slow.load(Ordering::Relaxed) {
            408
        } else {
            200
        };
        Some(answer(status, ALLOWED))
    })
    .await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let dependencies = dependencies();
    let app = app(&settings(&governance, &axon), &dependencies)
        .await
        .unwrap();
    for _ in 0..20 {
        let status = dispatch_within(&app, "2000").await.status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(calls(&dependencies, "governance", "callers_deadline"), 20);
    assert_eq!(calls(&dependencies, "governance", "deadline"), 0);
    in_trouble.store(false, Ordering::Relaxed);
    assert_eq!(dispatch(&app).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_target_can_send_our_callers_away_for_ever() {
    for (asked, sent) in [
        ("18446744073709551615", "60"),
        ("99999999999999999999", "60"),
        ("61", "60"),
        ("-1", "1"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "1"),
    ] {
        let governance = StubServer::start(move |_| {
            let mut throttled = answer(429, ALLOWED);
            let headers = throttled.headers_mut();
            headers.insert("Retry-After", asked.parse().unwrap());
            Some(throttled)
        })
        .await;
        let axon = StubServer::answering(200, HEARTBEAT).await;
        let app = app(&settings(&governance, &axon), &dependencies())
            .await
            .unwrap();
        let response = dispatch(&app).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], sent, "{asked}");
    }
}

#[tokio::test]
async fn calls_of_axon_are_signed_where_that_is_required() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let mut settings = settings(&governance, &axon);
    settings.base.signatures = Signatures::ByPairs;
    let mut dependencies = dependencies();
    assert!(
        app(&settings, &dependencies).await.is_err(),
        "there is no key"
    );

    let current = KeyPair {
        access_key_id: "the-key".to_owned(),
        secret_access_key: "secret".into(),
    };
    let previous = None;
    let (_replace, keys) = KeyRing::new(KeyPairs { current, previous });
    dependencies.keys = Some(keys);
    let app = app(&settings, &dependencies).await.unwrap();
    assert_eq!(dispatch(&app).await.status(), StatusCode::OK);
    let authorization = &axon.calls()[0].headers["authorization"];
    let authorization = authorization.to_str().unwrap();
    assert!(
        authorization.contains("Credential=the-key/"),
        "{authorization}"
    );
    assert!(!governance.calls()[0].headers.contains_key("authorization"));
}

/// A name with these addresses.
#[derive(Debug)]
struct AxonAddresses(Vec<SocketAddr>);

impl Resolver for AxonAddresses {
    fn resolve(&self, _: &str, _: u16) -> ResolvedAddresses {
        let addresses = self.0.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

#[tokio::test]
async fn a_dispatch_is_retried_on_another_endpoint() {
    let governance = StubServer::answering(200, ALLOWED).await;
    let sound = StubServer::answering(200, HEARTBEAT).await;
    let sick = StubServer::answering(500, "").await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = unused.local_addr().unwrap();
    drop(unused);
    for other in [sick.address, gone] {
        let resolver = Arc::new(AxonAddresses(vec![other, sound.address]));
        let dependencies = Dependencies {
            resolver,
            ..dependencies()
        };
        let settings = settings_with(&governance.url("/"), "http://axon.demo.internal/reason");
        let app = app(&settings, &dependencies).await.unwrap();
        // Until its addresses are known, axon's name is called.
        dispatch(&app).await;
        for _ in 0..40 {
            assert_eq!(dispatch(&app).await.status(), StatusCode::OK);
        }
        let calls = sound.calls();
        assert_eq!(calls[calls.len() - 1].headers["host"], "axon.demo.internal");
        let used = dependencies
            .metrics
            .gauge("endpoints", Unit::Count, &[("target", "axon")]);
        assert!((used.get() - 2.0).abs() < f64::EPSILON);
    }
    assert!((1..10).contains(&sick.calls().len()), "it was ejected");
}
