use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse as _, Response as Answer};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use service_kit::outbound::{AttemptOutcome, CallError, CallTarget, HttpError, Outbound, Repeat};
use service_kit::settings::{Reader, SettingsSource};
use service_kit::sigv4::Signer;
use service_kit::{
    Clock, CorrelationId, Dependencies, KeyPair, KeyPairs, KeyRing, RequestContext, TraceContext,
    TrustRoots, with_causes,
};

use crate::SERVICE;
use kit_testing::authority::Authority;
use kit_testing::stub::{StubServer, answer, recording};

pub(crate) fn target(url: &str) -> CallTarget {
    CallTarget {
        name: "tested",
        url: url.parse().unwrap(),
        connect_to: None,
        resolver: None,
        attempt_timeout: Duration::from_secs(10),
        repeat: Repeat::ByMethod,
        outcome: AttemptOutcome::of_response,
        signer: None,
    }
}

fn dependencies() -> Dependencies {
    Dependencies::new(SERVICE, Clock::system())
}

pub(crate) fn context() -> RequestContext {
    let id = CorrelationId::parse("the-id").unwrap();
    RequestContext::new(id, TraceContext::begin(), Duration::from_secs(20))
}

fn request(method: Method) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from_static(b"asked"));
    *request.method_mut() = method;
    request
}

async fn call(
    target: CallTarget,
    roots: &TrustRoots,
) -> Result<Response<Bytes>, CallError<HttpError>> {
    Outbound::new(target, roots, &dependencies())
        .call(&context(), Request::new(Bytes::new()))
        .await
}

pub(crate) fn trusting(authority: &Authority) -> TrustRoots {
    let variable = |name: &str| (name == "SSL_CERT_FILE").then(|| "file".to_owned());
    let file = |_: &std::path::Path| Ok(authority.pem().into_bytes());
    let source = SettingsSource {
        variable: &variable,
        file: &file,
    };
    let mut reader = Reader::new(&source);
    let roots = TrustRoots::read(&mut reader);
    reader.finish(roots).unwrap()
}

#[tokio::test]
async fn the_correlation_id_is_passed_on() {
    let stub = StubServer::answering(201, "made").await;
    let response = call(target(&stub.url("/a?b=c")), &TrustRoots::default())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.body(), "made");
    let calls = stub.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].line, "GET /a?b=c");
    assert_eq!(calls[0].headers["x-correlation-id"], "the-id");
    assert!(calls[0].body.is_empty());
}

#[tokio::test]
async fn it_connects_elsewhere_but_asks_for_the_url() {
    let stub = StubServer::answering(200, "").await;
    let connect_to = Some(stub.address.to_string().parse().unwrap());
    let target = CallTarget {
        connect_to,
        ..target("http://axon.demo.internal/reason")
    };
    call(target, &TrustRoots::default()).await.unwrap();
    let calls = stub.calls();
    assert_eq!(calls[0].headers["host"], "axon.demo.internal");
    assert_eq!(calls[0].line, "GET /reason");
}

#[tokio::test]
async fn an_authority_that_was_added_is_trusted() {
    let authority = Authority::generate();
    let (router, calls) = recording(|_| Some(answer(200, "over TLS")));
    let address = authority.serve("axon.demo.internal", router).await;
    let target = CallTarget {
        connect_to: Some(address.to_string().parse().unwrap()),
        ..target("https://axon.demo.internal/")
    };
    let response = call(target, &trusting(&authority)).await.unwrap();
    assert_eq!(response.body(), "over TLS");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_authority_and_another_name_are_refused() {
    let (authority, other) = (Authority::generate(), Authority::generate());
    let (router, calls) = recording(|_| Some(answer(200, "")));
    let address = authority.serve("axon.demo.internal", router).await;
    let refused = async |roots: TrustRoots, url: &str| {
        let target = CallTarget {
            connect_to: Some(address.to_string().parse().unwrap()),
            ..target(url)
        };
        with_causes(&call(target, &roots).await.unwrap_err())
    };
    let url = "https://axon.demo.internal/";
    assert!(
        refused(TrustRoots::default(), url)
            .await
            .contains("UnknownIssuer")
    );
    // Both authorities have the same name, so only the signature is wrong.
    assert!(
        refused(trusting(&other), url)
            .await
            .contains("BadSignature")
    );
    let other_name = refused(trusting(&authority), "https://orbit.demo.internal/").await;
    assert!(
        other_name.contains("certificate not valid for name"),
        "{other_name}"
    );
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_call_without_an_answer_ends() {
    let stub = StubServer::start(|_| None).await;
    let target = target(&stub.url("/"));
    let attempt_timeout = target.attempt_timeout;
    let context = CorrelationId::parse("the-id").unwrap();
    let context = RequestContext::new(context, TraceContext::begin(), attempt_timeout * 4);
    let outbound = Outbound::new(target, &TrustRoots::default(), &dependencies());
    let call = tokio::spawn(async move { outbound.call(&context, request(Method::GET)).await });
    for attempt in 1..=3 {
        while stub.calls().len() < attempt {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pass(attempt_timeout).await;
    }
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Timeout(time) if time == attempt_timeout),
        "{error:?}"
    );
    assert_eq!(stub.calls().len(), 3);
}

/// So much time passes at once; before and after, the clock runs as it does.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Counts the connections that it accepts. Each may carry any number of requests.
async fn counting_connections() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let listener = listener.tap_io(move |_| {
        accepted.fetch_add(1, Ordering::Relaxed);
    });
    let router = axum::Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        "well"
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, connections)
}

#[tokio::test]
async fn a_connection_in_use_is_not_kept_for_ever_and_no_call_is_lost_by_that() {
    let (url, connections) = counting_connections().await;
    let connections = || connections.load(Ordering::Relaxed);
    let dependencies = dependencies();
    // One attempt only, so that a connection that closes under a call fails it.
    let target = CallTarget {
        repeat: Repeat::ByMethod,
        ..target(&url)
    };
    let outbound = Outbound::new(target, &TrustRoots::default(), &dependencies);
    let ask = async || {
        let answer = outbound.call(&context(), request(Method::POST)).await;
        assert_eq!(answer.unwrap().body(), "well");
    };
    for _ in 0..50 {
        ask().await;
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(connections(), 1, "below the age it is reused");
    for _ in 0..100 {
        ask().await;
        pass(Duration::from_secs(1)).await;
    }
    assert!((2..=3).contains(&connections()), "{}", connections());
    for _ in 0..20 {
        let mut asked: Vec<_> = (0..10).map(|_| Box::pin(ask())).collect();
        let under_way = futures_util::future::join_all(&mut asked);
        tokio::join!(under_way, pass(Duration::from_secs(9)));
    }
    assert_eq!(
        dependencies
            .metrics
            .counter("retries", &[("target", "tested")])
            .take(),
        0
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let stub = StubServer::start(|_| Some(vec![0; 1024 * 1024 + 1].into_response())).await;
    let error = call(target(&stub.url("/")), &TrustRoots::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::Failed(HttpError::BodyTooLarge)),
        "{error:?}"
    );
    assert_eq!(stub.calls().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_a_failed_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = call(target(&url), &TrustRoots::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::Failed(HttpError::Connect(_))),
        "{error:?}"
    );
    assert!(
        with_causes(&error).contains("refused"),
        "{}",
        with_causes(&error)
    );
}

/// Answers the first call with `first`, and all others with 200.
async fn failing_once(first: impl Fn() -> Answer + Clone + Send + Sync + 'static) -> StubServer {
    let asked = Arc::new(AtomicUsize::new(0));
    StubServer::start(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Some(if is_first {
            first()
        } else {
            answer(200, "well")
        })
    })
    .await
}

#[tokio::test]
async fn what_passes_is_tried_again_where_it_is_safe() {
    for (status, method, repeat, expected, calls) in [
        (503, Method::GET, Repeat::ByMethod, 200, 2),
        (502, Method::GET, Repeat::ByMethod, 200, 2),
        (429, Method::PUT, Repeat::ByMethod, 200, 2),
        (503, Method::POST, Repeat::ByMethod, 503, 1),
        (503, Method::POST, Repeat::Always, 200, 2),
        (500, Method::GET, Repeat::Always, 500, 1),
        (404, Method::GET, Repeat::Always, 404, 1),
    ] {
        let stub = failing_once(move || answer(status, "")).await;
        let target = CallTarget {
            repeat,
            ..target(&stub.url("/"))
        };
        let outbound = Outbound::new(target, &TrustRoots::default(), &dependencies());
        let response = outbound.call(&context(), request(method)).await.unwrap();
        assert_eq!(response.status(), expected, "{status}");
        assert_eq!(stub.calls().len(), calls, "{status}");
        assert!(stub.calls().iter().all(|call| call.body == b"asked"));
    }
}

#[tokio::test]
async fn the_time_that_is_left_is_passed_on() {
    let stub = StubServer::answering(200, "").await;
    let roots = TrustRoots::default();
    call(target(&stub.url("/")), &roots).await.unwrap();
    let header = &stub.calls()[0].headers["x-request-timeout-ms"];
    let left: u64 = header.to_str().unwrap().parse().unwrap();
    assert!(
        (1..=10_000).contains(&left),
        "the time of an attempt: {left}"
    );
}

/// A key that is replaced between two attempts shows that each attempt is signed anew.
#[tokio::test]
async fn each_attempt_is_signed_anew() {
    let pairs = |id: &str| KeyPairs {
        current: KeyPair {
            access_key_id: id.to_owned(),
            secret_access_key: "secret".into(),
        },
        previous: None,
    };
    let (replace, keys) = KeyRing::new(pairs("one"));
    let stub = failing_once(move || {
        replace.send_replace(Arc::new(pairs("two")));
        answer(503, "")
    })
    .await;
    let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
    let target = CallTarget {
        signer: Some(Signer::with_keys(
            keys,
            "axon",
            "eu-central-1".to_owned(),
            clock,
        )),
        ..target(&stub.url("/"))
    };
    call(target, &TrustRoots::default()).await.unwrap();
    let calls = stub.calls();
    let header = |nth: usize, name| calls[nth].headers[name].to_str().unwrap();
    for (nth, id) in [(0, "one"), (1, "two")] {
        let authorization = header(nth, "authorization");
        let credential = format!("AWS4-HMAC-SHA256 Credential={id}/20260102/eu-central-1/axon");
        assert!(authorization.starts_with(&credential), "{authorization}");
        for signed in ["x-correlation-id", "x-request-timeout-ms", "traceparent"] {
            assert!(authorization.contains(signed), "{authorization}");
        }
    }
}

#[tokio::test]
async fn a_target_that_fails_is_left_alone() {
    let stub = StubServer::answering(500, "").await;
    let target = target(&stub.url("/"));
    let outbound = Outbound::new(target, &TrustRoots::default(), &dependencies());
    let context = context();
    for _ in 0..10 {
        let response = outbound.call(&context, request(Method::GET)).await.unwrap();
        assert_eq!(response.status(), 500);
    }
    let error = outbound.call(&context, request(Method::GET)).await;
    assert!(
        matches!(error, Err(CallError::BreakerOpen { .. })),
        "{error:?}"
    );
    assert_eq!(stub.calls().len(), 10);
}
