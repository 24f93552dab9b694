//! The certificate authorities that a service in its image trusts: those that are compiled in, and
//! those of the file that `SSL_CERT_FILE` names.

use e2e::stub::{self, StubAuthority};
use e2e::{CheckoutCopy, Image, request};

const AXON: &str = r#"{"message":"Axon heartbeat OK","service":"axon"}"#;

/// Sends one dispatch to orbit in its image, with a stub of axon over TLS; returns status and log.
fn dispatch(image: &Image, axon: &StubAuthority, trusted: &StubAuthority) -> (u16, String) {
    let governance = stub::http(r#"{"allowed":true}"#);
    let axon = axon.https("axon.test", AXON);
    let orbit = image.run(
        &[
            (
                "GOVERNANCE_FUNCTION_URL",
                &format!("http://127.0.0.1:{governance}/"),
            ),
            ("AXON_SERVICE_URL", "https://axon.test/reason"),
            ("AXON_CONNECT_TO", &format!("127.0.0.1:{axon}")),
            ("SSL_CERT_FILE", "/authority.pem"),
            ("SIGNATURES", "off"),
        ],
        &[("/authority.pem", &trusted.pem())],
    );
    let answer = request("POST", &orbit.url("/dispatch"), &[], "").expect("an answer");
    (answer.status, orbit.logs())
}

#[test]
fn an_authority_of_the_file_is_trusted() {
    let image = Image::of(&CheckoutCopy::fresh("trust"), "orbit");
    let authority = StubAuthority::new("known");
    let (status, logs) = dispatch(&image, &authority, &authority);
    assert_eq!(status, 200, "{logs}");
}

#[test]
fn an_unknown_authority_is_refused() {
    let image = Image::of(&CheckoutCopy::fresh("trust"), "orbit");
    let (status, logs) = dispatch(
        &image,
        &StubAuthority::new("theirs"),
        &StubAuthority::new("ours"),
    );
    assert_eq!(status, 502, "{logs}");
    assert!(logs.contains("UnknownIssuer"), "{logs}");
}
