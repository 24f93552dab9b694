//! Fuzzes the verification of signatures: no input panics, and none is accepted, because none is
//! signed with a key of the ring. The input is the `Authorization` header, the target and the
//! body, one a line.

#![no_main]

use std::sync::LazyLock;

use http::Request;
use libfuzzer_sys::fuzz_target;
use service_kit::sigv4::{Authorization, SignatureError, Verifier};
use service_kit::{Clock, KeyPair, KeyPairs, KeyRing};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let current = KeyPair {
        access_key_id: "AKID".to_owned(),
        secret_access_key: "secret".into(),
    };
    let (_, ring) = KeyRing::new(KeyPairs {
        current,
        previous: None,
    });
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    Verifier::new(ring, "eu-west-1".to_owned(), "peer", Clock::fixed(now))
});

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let [header, target, body] = [(); 3].map(|()| lines.next().unwrap_or_default());
    if let Some(parsed) = Authorization::parse(header) {
        assert_eq!(Authorization::parse(&format_header(&parsed)), Some(parsed));
    }
    let request = Request::get(target)
        .header("authorization", header)
        .header("host", "peer")
        .header("x-amz-date", "20260102T030405Z")
        .header("x-correlation-id", "the-id")
        .body(());
    if let Ok(request) = request {
        let (head, ()) = request.into_parts();
        let outcome = VERIFIER.verify(&head, body.as_bytes());
        assert!(outcome.is_err() && outcome != Err(SignatureError::Missing));
    }
});

/// The form that most signers write.
fn format_header(authorization: &Authorization<'_>) -> String {
    let Authorization {
        access_key_id,
        date,
        region,
        service,
        signed_headers,
        signature,
    } = authorization;
    let signature: String = signature.iter().map(|it| format!("{it:02x}")).collect();
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/{date}/{region}/{service}/aws4_request, \
         SignedHeaders={signed_headers}, Signature={signature}"
    )
}
