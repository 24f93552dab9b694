use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use crate::process::ORBIT;
use kit_testing::api_document::{ApiDocument, DocumentedResponse};
use kit_testing::process::ServiceProcess;
use kit_testing::stub::StubServer;

const DOCUMENT: &str = include_str!("../../openapi.json");
const HEARTBEAT: &str = r#"{"message":"Axon heartbeat OK"}"#;
const ALLOWED: &str = r#"{"allowed":true}"#;

/// No input makes orbit panic, and `/health` does not time out. Tests of the kit and of axon
/// cover both answers of the same stack.
const SEEN_ELSEWHERE: [&str; 5] = [
    "get /health 500",
    "get /health 504",
    "head /health 500",
    "head /health 504",
    "post /dispatch 500",
];

fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> DocumentedResponse {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}");
    let request = format!("{head}Connection: close\r\n\r\n{body}");
    // The answer may come before all of the request is sent.
    drop(stream.write_all(request.as_bytes()));
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    DocumentedResponse::parse(&text)
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn orbit_answers_as_its_document_has_it() {
    let mut document = ApiDocument::parse(DOCUMENT);
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let wrong_axon = StubServer::answering(500, "").await;
    let hanging = StubServer::start(|_| None).await;
    let governance = StubServer::answering(200, ALLOWED).await;
    let no = json!({"allowed": false, "reason": "no".repeat(1000)}).to_string();
    let denying = StubServer::answering(200, no.leak()).await;
    let failing = StubServer::answering(500, "").await;
    let too_large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let large_body = "x".repeat(100_000);
    for (governance, axon, headers, body, status) in [
        (&governance, &axon, "", "", 200),
        (&governance, &axon, JSON, r#"{"intent":"a","more":1}"#, 200),
        (&denying, &axon, "", "", 403),
        (&failing, &axon, "", "", 503),
        (&governance, &wrong_axon, "", "", 502),
        (&governance, &hanging, "", "", 504),
        (&governance, &axon, JSON, "{", 400),
        (&governance, &axon, JSON, r#"{"intent":1}"#, 400),
        (&governance, &axon, JSON, r#"{"intent":"a b"}"#, 400),
        (&governance, &axon, JSON, "[]", 400),
        (&governance, &axon, "Bad Name: x\r\n", "", 400),
        (&governance, &axon, "Content-Length: 7\r\n", "", 400),
        (&governance, &axon, "Host: another\r\n", "", 400),
        (&governance, &axon, "X-Request-Timeout-Ms: 5\r\n", "", 408),
        (&governance, &axon, JSON, &large_body, 413),
        (&governance, &axon, "Content-Type: text/plain\r\n", "a", 415),
        (&governance, &axon, &too_large, "", 431),
    ] {
        let variables = [
            ("PORT", "0"),
            ("DRAIN_MS", "0"),
            ("DEADLINE_MS", "2000"),
            ("GOVERNANCE_FUNCTION_URL", &*governance.url("/")),
            ("AXON_SERVICE_URL", &*axon.url("/reason")),
        ];
        let mut orbit = ServiceProcess::start(ORBIT, &variables);
        let answer = ask(orbit.address(), "POST", "/dispatch", headers, body);
        assert_eq!(answer.status, status, "{headers} {body:.100}");
        document.check("POST", "/dispatch", &answer);
    }
    health_and_the_rest(&mut document);
    document.assert_all_seen_but(&SEEN_ELSEWHERE);
}

fn health_and_the_rest(document: &mut ApiDocument) {
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "60000"),
        ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/"),
        ("AXON_SERVICE_URL", "http://127.0.0.1:9/"),
    ];
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let address = orbit.address();
    let too_large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    for method in ["GET", "HEAD"] {
        let too_little = "X-Request-Timeout-Ms: 5\r\n";
        for headers in [
            "",
            "Bad Name: x\r\n",
            "Host: another\r\n",
            too_little,
            &too_large,
        ] {
            document.check(
                method,
                "/health",
                &ask(address, method, "/health", headers, ""),
            );
        }
        let large = "x".repeat(100_000);
        document.check(
            method,
            "/health",
            &ask(address, method, "/health", "", &large),
        );
    }
    document.check_component("NotFound", &ask(address, "GET", "/reason", "", ""));
    for (method, path) in [
        ("OPTIONS", "/dispatch"),
        ("GET", "/dispatch"),
        ("PUT", "/health"),
    ] {
        document.check_component("MethodNotAllowed", &ask(address, method, path, "", ""));
    }
    orbit.terminate();
    orbit.wait_for("draining");
    for method in ["GET", "HEAD"] {
        document.check(method, "/health", &ask(address, method, "/health", "", ""));
    }
}
