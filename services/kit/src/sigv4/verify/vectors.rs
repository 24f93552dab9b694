//! The published test suite of the algorithm. Its requests sign fewer headers than ours must, so
//! only `prove` is tested with them.

use http::Request;

use super::super::keys::KeyPairs;
use super::*;

macro_rules! vectors {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../tests/sigv4/vectors/", $name, ".txt")))),*]
    };
}

#[test]
fn requests_of_the_suite_are_verified() {
    for (name, text) in vectors!(
        "double-url-encode"
        "get-header-value-trim"
        "get-unreserved"
        "get-utf8"
        "get-vanilla"
        "get-vanilla-empty-query-key"
        "get-vanilla-query-order-encoded"
        "get-vanilla-query-order-key-case"
        "get-vanilla-query-unreserved"
        "get-vanilla-utf8-query"
        "post-header-key-sort"
        "post-header-value-case"
        "post-sts-header-before"
        "post-x-www-form-urlencoded"
        "post-x-www-form-urlencoded-parameters"
    ) {
        assert_eq!(prove(text), Ok(()), "{name}");
        let other_host = text.replace("\nHost:", "\nHost:other.");
        assert_eq!(prove(&other_host), Err(SignatureError::Mismatch), "{name}");
    }
}

/// They are signed correctly, but can be interpreted in two ways.
#[test]
fn ambiguous_requests_of_the_suite_are_refused() {
    for (name, text) in vectors!(
        "get-header-key-duplicate"
        "get-relative-normalized"
        "get-slash-normalized"
    ) {
        let outcome = prove(text);
        assert!(
            matches!(outcome, Err(SignatureError::Malformed(_))),
            "{name}: {outcome:?}"
        );
    }
}

fn prove(text: &str) -> Result<(), SignatureError> {
    let (head, body) = request(text);
    let authorization = authorization(&head)?;
    let pair = KeyPair {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
    };
    let (_keeper, ring) = KeyRing::new(KeyPairs {
        current: pair,
        previous: None,
    });
    // The suite's region and service differ from request to request.
    let service = String::leak(authorization.service.to_owned());
    let region = authorization.region.to_owned();
    let verifier = Verifier::new(ring, region, service, Clock::system());
    let claim = SignatureClaim {
        date: std::str::from_utf8(header(&head, DATE).expect("a date")).expect("text"),
        head: &head,
        authorization,
    };
    verifier.prove(&claim, body)
}

fn request(text: &str) -> (Parts, &[u8]) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut line = lines.next().expect("a request line").split(' ');
    let mut request = Request::builder()
        .method(line.next().expect("a method"))
        .uri(line.next().expect("a path"));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let (head, ()) = request.body(()).expect("a request").into_parts();
    (head, body.trim_end().as_bytes())
}
