//! What the signer sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use bytes::Bytes;
use http::{HeaderValue, Request};
use jiff::Timestamp;
use service_kit::settings::{Reader, Setting, SettingKind, SettingsSource};
use service_kit::sigv4::{SignedFor, Signer};
use service_kit::{Clock, KeyPairs, KeyRing};

use crate::{NOW, REGION, SERVICE, clock, pair, ring, verify};

fn request() -> Request<Bytes> {
    Request::post("http://axon.demo:8080/reason?a=1")
        .header("x-correlation-id", "the-id")
        .header("traceparent", "00-1-2-01")
        .header("connection", "keep-alive")
        .header("user-agent", "demo")
        .body(Bytes::from_static(b"{}"))
        .unwrap()
}

fn signer(keys: KeyRing, now: &str) -> Signer {
    Signer::with_keys(keys, SERVICE, REGION.to_owned(), clock(now))
}

fn authorization(request: &Request<Bytes>) -> &str {
    request.headers()["authorization"].to_str().unwrap()
}

#[tokio::test]
async fn what_it_signs_is_let_in() {
    let mut request = request();
    let signer = signer(ring("CURRENT", Some("PREVIOUS")), NOW);
    signer.sign(&mut request).await.unwrap();
    assert_eq!(verify(NOW, &request), Ok(()));
    assert!(request.headers()["authorization"].is_sensitive());
    let text = authorization(&request);
    assert!(
        text.contains("Credential=CURRENT/20260102/eu-west-1/axon/"),
        "{text}"
    );
    let names = "SignedHeaders=host;traceparent;x-amz-date;x-correlation-id,";
    assert!(text.contains(names), "{text}");
    request.headers_mut().remove("connection");
    request.headers_mut().remove("user-agent");
    assert_eq!(
        verify(NOW, &request),
        Ok(()),
        "what one connection has is not signed"
    );
}

/// The client sends the host of the URI, without the default port of the scheme.
#[tokio::test]
async fn the_host_is_signed_as_it_is_sent() {
    for (url, host) in [
        ("http://axon.demo:8080/reason", "axon.demo:8080"),
        ("http://axon.demo:80/reason", "axon.demo"),
        ("https://axon.demo:443/reason", "axon.demo"),
        ("https://axon.demo/reason", "axon.demo"),
    ] {
        let mut request = request();
        *request.uri_mut() = url.parse().unwrap();
        let signer = signer(ring("CURRENT", None), NOW);
        signer.sign(&mut request).await.unwrap();
        let host = HeaderValue::from_static(host);
        request.headers_mut().insert("host", host);
        *request.uri_mut() = request.uri().path().parse().unwrap();
        assert_eq!(verify(NOW, &request), Ok(()), "{url}");
    }
}

#[tokio::test]
async fn a_second_attempt_is_signed_anew_with_the_pair_of_then() {
    let (keeper, keys) = KeyRing::new(KeyPairs {
        current: pair("PREVIOUS"),
        previous: None,
    });
    let mut request = request();
    let first = signer(keys.clone(), "2026-01-02T02:00:00Z");
    first.sign(&mut request).await.unwrap();
    let (current, previous) = (pair("CURRENT"), Some(pair("PREVIOUS")));
    keeper.send_replace(KeyPairs { current, previous }.into());
    signer(keys, NOW).sign(&mut request).await.unwrap();
    assert!(authorization(&request).contains("Credential=CURRENT/"));
    assert_eq!(verify(NOW, &request), Ok(()));
}

#[tokio::test]
async fn a_header_that_cannot_be_signed_is_not_sent() {
    let mut request = request();
    let value = HeaderValue::from_bytes(b"\xff").unwrap();
    request.headers_mut().insert("x-odd", value);
    let signer = signer(ring("CURRENT", None), NOW);
    assert!(signer.sign(&mut request).await.is_err());
}

/// A role whose credentials last for an hour.
#[derive(Debug)]
struct TestRole {
    asked: Arc<AtomicU32>,
    since: SystemTime,
}

impl ProvideCredentials for TestRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let time = self.asked.fetch_add(1, Ordering::SeqCst);
        let expiry = Some(self.since + Duration::from_hours(1) * (time + 1));
        let token = Some(format!("token-{time}"));
        future::ProvideCredentials::ready(Ok(Credentials::new("ROLE", "s", token, expiry, "test")))
    }
}

fn role_signer(signed_for: SignedFor, now: &str, asked: &Arc<AtomicU32>) -> Signer {
    let role = TestRole {
        asked: Arc::clone(asked),
        since: NOW.parse::<Timestamp>().unwrap().into(),
    };
    let provider = SharedCredentialsProvider::new(role);
    Signer::with_role(provider, signed_for, REGION.to_owned(), clock(now))
}

#[tokio::test]
async fn for_aws_the_task_role_signs() {
    let asked = Arc::default();
    let mut request = request();
    let signer = role_signer(SignedFor::ApiGateway, NOW, &asked);
    signer.sign(&mut request).await.unwrap();
    let text = authorization(&request);
    assert!(
        text.contains("Credential=ROLE/20260102/eu-west-1/execute-api/"),
        "{text}"
    );
    assert!(text.contains(";x-amz-security-token;"), "{text}");
    assert_eq!(request.headers()["x-amz-security-token"], "token-0");
    assert!(!request.headers().contains_key("x-amz-content-sha256"));
}

#[tokio::test]
async fn for_vpc_lattice_the_payload_is_left_out() {
    let asked = Arc::default();
    let mut request = request();
    let signer = role_signer(SignedFor::VpcLattice, NOW, &asked);
    signer.sign(&mut request).await.unwrap();
    let text = authorization(&request);
    assert!(
        text.contains("/eu-west-1/vpc-lattice-svcs/aws4_request"),
        "{text}"
    );
    assert!(text.contains(";x-amz-content-sha256;"), "{text}");
    assert_eq!(
        request.headers()["x-amz-content-sha256"],
        "UNSIGNED-PAYLOAD"
    );
}

#[tokio::test]
async fn a_roles_credentials_are_kept_until_a_minute_before_their_end() {
    let asked = Arc::default();
    let start: Timestamp = NOW.parse().unwrap();
    let seconds = Arc::new(AtomicU32::new(0));
    let clock = {
        let seconds = Arc::clone(&seconds);
        move || start + jiff::SignedDuration::from_secs(seconds.load(Ordering::SeqCst).into())
    };
    let role = TestRole {
        asked: Arc::clone(&asked),
        since: start.into(),
    };
    let signer = Signer::with_role(
        SharedCredentialsProvider::new(role),
        SignedFor::ApiGateway,
        REGION.to_owned(),
        Clock::of(clock),
    );
    for (second, token) in [
        (0, "token-0"),
        (3539, "token-0"),
        (3540, "token-1"),
        (3600, "token-1"),
    ] {
        seconds.store(second, Ordering::SeqCst);
        let mut request = request();
        signer.sign(&mut request).await.unwrap();
        assert_eq!(request.headers()["x-amz-security-token"], token, "{second}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

const AXON_SIGNED_FOR: Setting = Setting {
    default: Some("axon"),
    ..Setting::new(
        "AXON_SIGNED_FOR",
        SettingKind::Choice {
            values: &["axon", "execute-api", "vpc-lattice-svcs"],
        },
        "who verifies",
    )
};

#[test]
fn the_setting_names_who_verifies() {
    for (value, read) in [
        (None, Some(SignedFor::Service("axon"))),
        (Some(""), Some(SignedFor::Service("axon"))),
        (Some("axon"), Some(SignedFor::Service("axon"))),
        (Some("execute-api"), Some(SignedFor::ApiGateway)),
        (Some("vpc-lattice-svcs"), Some(SignedFor::VpcLattice)),
        (Some("axno"), None),
        (Some("orbit"), None),
    ] {
        let source = SettingsSource {
            variable: &|name| (name == "AXON_SIGNED_FOR").then(|| value.map(str::to_owned))?,
            file: &|_| unreachable!(),
        };
        let mut reader = Reader::new(&source);
        let signed_for = SignedFor::read(&mut reader, &AXON_SIGNED_FOR, "axon");
        let finished = reader.finish(signed_for);
        assert_eq!(finished.as_ref().ok(), read.as_ref(), "{value:?}");
        if let Err(errors) = finished {
            assert_eq!(errors[0].setting, "AXON_SIGNED_FOR");
            assert!(
                errors[0]
                    .problem
                    .contains("execute-api or vpc-lattice-svcs")
            );
        }
    }
}
