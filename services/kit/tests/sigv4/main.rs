//! Signatures at their boundary: what the verifier accepts, what the signer sends, and the routes
//! that require a signature.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agreement;
mod guarded;
mod independent;
mod refusals;
mod signer;

use bytes::Bytes;
use http::Request;
use service_kit::sigv4::{SignatureError, Verifier};
use service_kit::{Clock, KeyPair, KeyPairs, KeyRing};

const NOW: &str = "2026-01-02T03:04:05Z";
const REGION: &str = "eu-west-1";
const SERVICE: &str = "axon";

fn pair(id: &str) -> KeyPair {
    KeyPair {
        access_key_id: id.to_owned(),
        secret_access_key: format!("secret of {id}").into(),
    }
}

/// A ring of `current`, and of `previous` where it is given.
fn ring(current: &str, previous: Option<&str>) -> KeyRing {
    let (current, previous) = (pair(current), previous.map(pair));
    KeyRing::new(KeyPairs { current, previous }).1
}

fn clock(now: &str) -> Clock {
    Clock::fixed(now.parse().unwrap())
}

fn verify(now: &str, request: &Request<Bytes>) -> Result<(), SignatureError> {
    let ring = ring("CURRENT", Some("PREVIOUS"));
    let verifier = Verifier::new(ring, REGION.to_owned(), SERVICE, clock(now));
    let (head, body) = request.clone().into_parts();
    verifier.verify(&head, &body)
}

fn reason() -> Request<Bytes> {
    let request = Request::get("/reason?a=1")
        .header("host", "axon.demo:8080")
        .header("x-correlation-id", "the-id");
    request.body(Bytes::new()).unwrap()
}
