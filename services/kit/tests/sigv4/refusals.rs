//! Which requests are refused, and with which error.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use service_kit::sigv4::{SignatureError, Verifier};
use service_kit::{KeyPairs, KeyRing};

use crate::independent::Signing;
use crate::{NOW, REGION, SERVICE, clock, pair, reason, verify};

fn signed() -> Request<Bytes> {
    Signing::default().sign(reason())
}

/// Changes the text of the header.
fn with(name: &'static str, change: impl Fn(&str) -> String) -> Request<Bytes> {
    let mut request = signed();
    let value = change(request.headers()[name].to_str().unwrap());
    let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
    request.headers_mut().insert(name, value);
    request
}

#[track_caller]
fn assert_malformed(request: &Request<Bytes>) {
    let outcome = verify(NOW, request);
    assert!(
        matches!(outcome, Err(SignatureError::Malformed(_))),
        "{outcome:?}"
    );
}

#[test]
fn what_is_signed_is_let_in_by_either_pair() {
    assert_eq!(verify(NOW, &signed()), Ok(()));
    let previous = Signing {
        key: "PREVIOUS",
        ..Signing::default()
    };
    assert_eq!(verify(NOW, &previous.sign(reason())), Ok(()));
}

#[test]
fn pairs_are_those_of_the_ring_now() {
    let (keeper, ring) = KeyRing::new(KeyPairs {
        current: pair("CURRENT"),
        previous: None,
    });
    let verifier = Verifier::new(ring, REGION.to_owned(), SERVICE, clock(NOW));
    let (head, body) = signed().into_parts();
    assert_eq!(verifier.verify(&head, &body), Ok(()));
    let replace = |current, previous: Option<&str>| {
        let (current, previous) = (pair(current), previous.map(pair));
        keeper.send_replace(KeyPairs { current, previous }.into());
    };
    replace("NEXT", Some("CURRENT"));
    assert_eq!(verifier.verify(&head, &body), Ok(()));
    replace("NEXT", None);
    assert_eq!(
        verifier.verify(&head, &body),
        Err(SignatureError::UnknownKey)
    );
}

#[test]
fn without_the_header_the_signature_is_missing() {
    assert_eq!(verify(NOW, &reason()), Err(SignatureError::Missing));
    let mut presigned = reason();
    let (uri, query) = (
        "/reason",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00",
    );
    *presigned.uri_mut() = format!("{uri}?{query}").parse().unwrap();
    assert_eq!(verify(NOW, &presigned), Err(SignatureError::Missing));
}

#[test]
fn five_minutes_either_way_are_within_the_time() {
    for (now, outcome) in [
        ("2026-01-02T02:59:04Z", Err(SignatureError::Expired)),
        ("2026-01-02T02:59:05Z", Ok(())),
        ("2026-01-02T02:59:06Z", Ok(())),
        ("2026-01-02T03:09:04Z", Ok(())),
        ("2026-01-02T03:09:05Z", Ok(())),
        ("2026-01-02T03:09:05.001Z", Err(SignatureError::Expired)),
        ("2026-01-02T03:09:06Z", Err(SignatureError::Expired)),
        ("2026-01-03T03:04:05Z", Err(SignatureError::Expired)),
        ("2025-01-02T03:04:05Z", Err(SignatureError::Expired)),
    ] {
        assert_eq!(verify(now, &signed()), outcome, "{now}");
    }
}

#[test]
fn midnight_is_no_wall() {
    for (signed_at, now) in [
        ("2026-01-01T23:58:00Z", "2026-01-02T00:01:00Z"),
        ("2026-01-02T00:01:00Z", "2026-01-01T23:58:00Z"),
    ] {
        let time = signed_at;
        let signing = Signing {
            time,
            ..Signing::default()
        };
        assert_eq!(verify(now, &signing.sign(reason())), Ok(()));
    }
}

#[test]
fn another_scope_is_malformed() {
    let region = Signing {
        region: "us-east-1",
        ..Signing::default()
    };
    let service = Signing {
        service: "orbit",
        ..Signing::default()
    };
    for signing in [region, service] {
        assert_malformed(&signing.sign(reason()));
    }
}

#[test]
fn an_unknown_key_and_a_wrong_signature_have_different_errors() {
    let unknown = Signing {
        key: "OTHER",
        ..Signing::default()
    };
    let unknown = unknown.sign(reason());
    assert_eq!(verify(NOW, &unknown), Err(SignatureError::UnknownKey));
    for id in ["CURRENT1", "CURREN", "current", "CURRENt"] {
        let renamed = with("authorization", |it| it.replace("CURRENT", id));
        assert_eq!(
            verify(NOW, &renamed),
            Err(SignatureError::UnknownKey),
            "{id}"
        );
    }
    let other_secret = with("authorization", |it| it.replace("CURRENT", "PREVIOUS"));
    assert_eq!(verify(NOW, &other_secret), Err(SignatureError::Mismatch));
}

#[test]
fn every_part_of_the_header_counts() {
    for (from, to) in [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
        ("20260102", "20260103"),
        ("20260102", "2026012"),
        ("eu-west-1", "eu-west-2"),
        ("eu-west-1", "EU-WEST-1"),
        ("/axon/", "/Axon/"),
        ("aws4_request", "aws4_Request"),
        ("host;", ""),
        ("host;", "host;host;"),
        ("host;", "Host;"),
        (";x-amz-date", ""),
        (";x-correlation-id", ""),
        (";x-correlation-id", ";x-correlation-id;x-not-there"),
        ("host;x-amz-date", "x-amz-date;host"),
        ("Signature=", "Signature=0"),
        ("SignedHeaders", "signedheaders"),
        ("Signature=", "Signature=\u{e9}"),
    ] {
        let changed = with("authorization", |it| it.replacen(from, to, 1));
        assert_ne!(changed.headers(), signed().headers(), "{from}");
        assert_malformed(&changed);
    }
    assert_malformed(&with("authorization", str::to_uppercase));
    assert_malformed(&with("authorization", str::to_lowercase));
    let other = |it: &str| format!("{}{}", &it[..it.len() - 64], "0".repeat(64));
    assert_eq!(
        verify(NOW, &with("authorization", other)),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn the_date_is_of_one_form_and_of_the_scopes_day() {
    for date in [
        "20260103T030405Z",
        "20260102T030405",
        "20260102T030405+0000",
        "2026-01-02T03:04:05Z",
        "20260102T030405.0Z",
        "20260102T250405Z",
        "20260102 030405Z",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "",
    ] {
        assert_malformed(&with("x-amz-date", |_| date.to_owned()));
    }
    let later = with("x-amz-date", |_| "20260102T030406Z".to_owned());
    assert_eq!(verify(NOW, &later), Err(SignatureError::Mismatch));
}

#[test]
fn another_request_is_a_mismatch() {
    type RequestChange = fn(&mut Request<Bytes>);
    let changes: [RequestChange; 7] = [
        |it| *it.method_mut() = http::Method::POST,
        |it| *it.uri_mut() = "/Reason?a=1".parse().unwrap(),
        |it| *it.uri_mut() = "/reason/?a=1".parse().unwrap(),
        |it| *it.uri_mut() = "/reason?a=2".parse().unwrap(),
        |it| *it.uri_mut() = "/reason".parse().unwrap(),
        |it| *it.body_mut() = Bytes::from_static(b"{}"),
        |it| {
            let host = HeaderValue::from_static("axon.demo");
            it.headers_mut().insert("host", host);
        },
    ];
    for change in changes {
        let mut request = signed();
        change(&mut request);
        assert_eq!(
            verify(NOW, &request),
            Err(SignatureError::Mismatch),
            "{request:?}"
        );
    }
}

#[test]
fn a_signed_header_is_there_exactly_once() {
    for name in ["host", "x-amz-date", "x-correlation-id", "authorization"] {
        let mut twice = signed();
        let value = twice.headers()[name].clone();
        twice.headers_mut().append(name, value);
        assert_malformed(&twice);
    }
    for name in ["host", "x-amz-date", "x-correlation-id"] {
        let mut without = signed();
        without.headers_mut().remove(name);
        assert_malformed(&without);
    }
}

/// Proxies may add headers, which are not signed.
#[test]
fn headers_that_are_not_signed_do_not_count() {
    let mut request = signed();
    for (name, value) in [("x-forwarded-for", "10.0.0.1"), ("via", "1.1 proxy")] {
        let name = HeaderName::from_static(name);
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(verify(NOW, &request), Ok(()));
}

/// HTTP/2 has the host in the URI.
#[test]
fn the_host_may_be_in_the_uri_but_not_another_one() {
    let mut request = signed();
    *request.uri_mut() = "http://axon.demo:8080/reason?a=1".parse().unwrap();
    assert_eq!(verify(NOW, &request), Ok(()));
    request.headers_mut().remove("host");
    assert_eq!(verify(NOW, &request), Ok(()));
    let mut other = signed();
    *other.uri_mut() = "http://other.demo:8080/reason?a=1".parse().unwrap();
    assert_malformed(&other);
}

/// As signers for S3 and VPC Lattice send it.
#[test]
fn a_signature_that_leaves_the_payload_out_is_a_mismatch() {
    let signing = Signing {
        payload: false,
        ..Signing::default()
    };
    let mut request = reason();
    assert_eq!(
        verify(NOW, &signing.sign(request.clone())),
        Err(SignatureError::Mismatch)
    );
    let value = HeaderValue::from_static("UNSIGNED-PAYLOAD");
    request.headers_mut().insert("x-amz-content-sha256", value);
    assert_eq!(
        verify(NOW, &signing.sign(request)),
        Err(SignatureError::Mismatch)
    );
}
