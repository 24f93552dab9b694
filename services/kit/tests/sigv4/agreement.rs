//! For arbitrary requests: those that an independent signer signed are accepted, unless they are
//! ambiguous, and those that were changed after that are refused.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use service_kit::sigv4::SignatureError;

use crate::independent::Signing;
use crate::{NOW, verify};

/// Parts of a query, and whether they are ambiguous.
const QUERY: &[(&str, bool)] = &[
    ("a", false),
    ("Z", false),
    ("1", false),
    ("-._~", false),
    ("=", false),
    ("==", false),
    ("&", false),
    ("&&", false),
    ("a=", false),
    ("b=2&a=1", false),
    (";:@/?!$'()*,", false),
    ("%20", false),
    ("%2f", false),
    ("%2F", false),
    ("%26", false),
    ("%25", false),
    ("%00", false),
    ("%C3%A9", false),
    ("\u{e9}", false),
    ("+", true),
    ("%zz", true),
    ("%ff", true),
];

/// A query, and whether it is unambiguous.
fn query() -> impl Strategy<Value = (String, bool)> {
    prop::collection::vec(select(QUERY), 0..8).prop_map(|pieces| {
        let text = pieces.iter().map(|(text, _)| *text).collect();
        (text, !pieces.iter().any(|(_, odd)| *odd))
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        8 => "[A-Za-z0-9._~:@!$&'()*,;=+-]{1,6}",
        2 => Just("%2F%41%zz%".to_owned()),
        2 => Just("\u{e9}".to_owned()),
        1 => select(&["", ".", "..", "..."][..]).prop_map(str::to_owned),
    ];
    let segments = prop::collection::vec(segment, 1..5);
    segments.prop_map(|segments| format!("/{}", segments.join("/")))
}

prop_compose! {
    /// A request to be signed, and whether its query is unambiguous.
    fn requests()(
        method in select(&["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"][..]),
        path in path(),
        (query, plain) in query(),
        correlation_id in "[A-Za-z0-9._-]{1,40}",
        headers in prop::collection::btree_map("x-[a-z-]{0,8}[a-z]", "[ -~]{0,20}", 0..5),
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) -> (Request<Bytes>, bool) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}?{query}"))
            .header("host", "axon.demo:8080");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Bytes::from(body)).unwrap();
        let id = HeaderValue::from_str(&correlation_id).unwrap();
        request.headers_mut().insert("x-correlation-id", id);
        (request, plain)
    }
}

#[derive(Clone, Debug)]
enum Tampering {
    Method,
    Path(String),
    Query(String),
    Body(u8),
    AddToHeader(Index, u8),
    RemoveHeader(Index),
    RepeatHeader(Index),
    Signature(Index),
}

fn changes() -> impl Strategy<Value = Tampering> {
    prop_oneof![
        Just(Tampering::Method),
        "/[a-z]{1,4}".prop_map(Tampering::Path),
        "&[a-z]{1,4}=".prop_map(Tampering::Query),
        any::<u8>().prop_map(Tampering::Body),
        (any::<Index>(), b'!'..=b'~').prop_map(|(at, byte)| Tampering::AddToHeader(at, byte)),
        any::<Index>().prop_map(Tampering::RemoveHeader),
        any::<Index>().prop_map(Tampering::RepeatHeader),
        any::<Index>().prop_map(Tampering::Signature),
    ]
}

impl Tampering {
    fn make(self, request: &mut Request<Bytes>) {
        let uri = request.uri().to_string();
        let name = |request: &Request<Bytes>, at: Index| -> HeaderName {
            let names: Vec<_> = request.headers().keys().cloned().collect();
            at.get(&names).clone()
        };
        match self {
            Self::Method => *request.method_mut() = Method::TRACE,
            Self::Path(more) => *request.uri_mut() = format!("{more}{uri}").parse().unwrap(),
            Self::Query(more) => *request.uri_mut() = format!("{uri}{more}").parse().unwrap(),
            Self::Body(byte) => {
                let more = [request.body(), &[byte][..]].concat();
                *request.body_mut() = more.into();
            }
            Self::AddToHeader(at, byte) => {
                let name = name(request, at);
                let value = [request.headers()[&name].as_bytes(), &[byte]].concat();
                let value = HeaderValue::from_bytes(&value).unwrap();
                request.headers_mut().insert(name, value);
            }
            Self::RemoveHeader(at) => {
                let name = name(request, at);
                request.headers_mut().remove(name);
            }
            Self::RepeatHeader(at) => {
                let name = name(request, at);
                let value = request.headers()[&name].clone();
                request.headers_mut().append(name, value);
            }
            Self::Signature(at) => {
                let mut value = request.headers()[AUTHORIZATION].as_bytes().to_vec();
                let place = value.len() - 64 + at.index(64);
                value[place] = if value[place] == b'0' { b'1' } else { b'0' };
                let value = HeaderValue::from_bytes(&value).unwrap();
                request.headers_mut().insert(AUTHORIZATION, value);
            }
        }
    }
}

/// As botocore and curl sign it. The SDK's signer, which signs here, keeps a tab.
#[test]
fn a_tab_in_a_header_counts_as_a_space() {
    let mut request = crate::reason();
    let value = HeaderValue::from_static("a b");
    request.headers_mut().insert("x-my", value);
    let mut signed = Signing::default().sign(request);
    for (value, outcome) in [
        ("a b", Ok(())),
        ("a\tb", Ok(())),
        ("\ta \t b \t", Ok(())),
        ("ab", Err(SignatureError::Mismatch)),
        ("\ta\t", Err(SignatureError::Mismatch)),
    ] {
        let value = HeaderValue::from_static(value);
        signed.headers_mut().insert("x-my", value.clone());
        assert_eq!(verify(NOW, &signed), outcome, "{value:?}");
    }
}

proptest! {
    #[test]
    fn the_verifier_agrees_with_an_independent_signer((request, plain_query) in requests()) {
        let signed = Signing::default().sign(request.clone());
        let as_sent = Signing { normalize: false, ..Signing::default() }.sign(request);
        let authorization = |request: &Request<Bytes>| request.headers()[AUTHORIZATION].clone();
        let normal_path = authorization(&signed) == authorization(&as_sent);
        let outcome = verify(NOW, &signed);
        if normal_path && plain_query {
            prop_assert_eq!(outcome, Ok(()));
        } else {
            prop_assert!(matches!(outcome, Err(SignatureError::Malformed(_))), "{:?}", outcome);
        }
    }

    #[test]
    fn what_was_changed_is_refused((request, _) in requests(), change in changes()) {
        let mut changed = Signing::default().sign(request);
        prop_assume!(verify(NOW, &changed).is_ok());
        change.make(&mut changed);
        prop_assert!(verify(NOW, &changed).is_err());
    }

    #[test]
    fn any_header_has_its_answer(header in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut request = Signing::default().sign(crate::reason());
        prop_assume!(request.headers()[AUTHORIZATION].as_bytes() != header);
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            request.headers_mut().insert(AUTHORIZATION, value);
            let outcome = verify(NOW, &request);
            prop_assert!(matches!(outcome, Err(SignatureError::Malformed(_))), "{:?}", outcome);
        }
    }
}
