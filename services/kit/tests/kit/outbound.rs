use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use service_kit::outbound::{Outbound, OutboundError, Target, with_causes};
use service_kit::settings::{Environment, Reader};
use service_kit::{CorrelationId, RequestContext, TraceContext, TrustRoots};

use crate::authority::Authority;
use crate::stand_in::{StandIn, answer, recording};

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

fn target() -> Target {
    Target {
        connect_to: None,
        timeout_ms: 10_000,
    }
}

async fn call(
    target: Target,
    roots: &TrustRoots,
    url: &str,
) -> Result<Response<Bytes>, OutboundError> {
    let id = CorrelationId::parse("the-id").unwrap();
    let time = std::time::Duration::from_secs(10);
    let context = RequestContext::new(id, TraceContext::begin(), time);
    Outbound::new(target, roots).call(&context, get(url)).await
}

fn trusting(authority: &Authority) -> TrustRoots {
    let variable = |name: &str| (name == "SSL_CERT_FILE").then(|| "file".to_owned());
    let file = |_: &std::path::Path| Ok(authority.pem().into_bytes());
    let environment = Environment {
        variable: &variable,
        file: &file,
    };
    let mut reader = Reader::new(&environment);
    let roots = TrustRoots::read(&mut reader);
    reader.finish(roots).unwrap()
}

#[tokio::test]
async fn the_correlation_id_is_passed_on() {
    let stand_in = StandIn::answering(201, "made").await;
    let response = call(target(), &TrustRoots::default(), &stand_in.url("/a?b=c"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.body(), "made");
    let calls = stand_in.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].line, "GET /a?b=c");
    assert_eq!(calls[0].headers["x-correlation-id"], "the-id");
    assert!(calls[0].body.is_empty());
}

#[tokio::test]
async fn it_connects_elsewhere_but_asks_for_the_url() {
    let stand_in = StandIn::answering(200, "").await;
    let connect_to = Some(stand_in.address.to_string().parse().unwrap());
    let target = Target {
        connect_to,
        ..target()
    };
    call(
        target,
        &TrustRoots::default(),
        "http://axon.demo.internal/reason",
    )
    .await
    .unwrap();
    let calls = stand_in.calls();
    assert_eq!(calls[0].headers["host"], "axon.demo.internal");
    assert_eq!(calls[0].line, "GET /reason");
}

#[tokio::test]
async fn an_authority_that_was_added_is_trusted() {
    let authority = Authority::new();
    let (router, calls) = recording(|_| Some(answer(200, "over TLS")));
    let address = authority.serve("axon.demo.internal", router).await;
    let target = Target {
        connect_to: Some(address.to_string().parse().unwrap()),
        ..target()
    };
    let response = call(target, &trusting(&authority), "https://axon.demo.internal/")
        .await
        .unwrap();
    assert_eq!(response.body(), "over TLS");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_authority_and_another_name_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (router, calls) = recording(|_| Some(answer(200, "")));
    let address = authority.serve("axon.demo.internal", router).await;
    let refused = async |roots: TrustRoots, url: &str| {
        let target = Target {
            connect_to: Some(address.to_string().parse().unwrap()),
            ..target()
        };
        with_causes(&call(target, &roots, url).await.unwrap_err())
    };
    let url = "https://axon.demo.internal/";
    assert!(
        refused(TrustRoots::default(), url)
            .await
            .contains("UnknownIssuer")
    );
    // Both authorities have the same name: it is the signature that is wrong.
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
    let stand_in = StandIn::start(|_| None).await;
    let target = Target {
        timeout_ms: 50,
        ..target()
    };
    let error = call(target, &TrustRoots::default(), &stand_in.url("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::Timeout(50)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let stand_in = StandIn::start(|_| Some(vec![0; 1024 * 1024 + 1].into_response())).await;
    let error = call(target(), &TrustRoots::default(), &stand_in.url("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::TooLarge), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_a_failed_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = call(target(), &TrustRoots::default(), &url)
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::Failed(_)), "{error:?}");
    assert!(
        with_causes(&error).contains("refused"),
        "{}",
        with_causes(&error)
    );
}
