use std::time::Duration;

use axon::{SERVICE, Settings};
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt as _;
use service_kit::settings::{Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies, Routes};

use crate::process::{AXON, connect, rest};
use kit_testing::api_document::{ApiDocument, DocumentedResponse};
use kit_testing::process::ServiceProcess;

const DOCUMENT: &str = include_str!("../../openapi.json");

/// Axon without keys requires no signature, and a test here cannot overload it.
const SEEN_ELSEWHERE: [&str; 6] = [
    "get /reason 401",
    "get /reason 403",
    "get /reason 503",
    "head /reason 401",
    "head /reason 403",
    "head /reason 503",
];

#[tokio::test]
async fn axon_answers_as_its_document_has_it() {
    let mut document = ApiDocument::parse(DOCUMENT);
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "60000")]);
    let address = axon.address();
    let ask = |method: &str, path: &str, headers: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}");
        DocumentedResponse::parse(&rest(connect(
            address,
            &format!("{head}Connection: close\r\n\r\n"),
        )))
    };
    let too_large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let operations =
        ["GET", "HEAD"].map(|method| ["/health", "/reason"].map(|path| (method, path)));
    for (method, path) in operations.into_iter().flatten() {
        for headers in [
            "",
            "Content-Length: 1000000\r\n",
            "Bad Name: x\r\n",
            "Host: another\r\n",
            "X-Request-Timeout-Ms: 5\r\n",
            &too_large,
        ] {
            document.check(method, path, &ask(method, path, headers));
        }
        for broken in [Broken::Panics, Broken::Hangs] {
            document.check(method, path, &broken.answer(method, path).await);
        }
    }
    document.check_component("NotFound", &ask("GET", "/nowhere", ""));
    for (method, path) in [
        ("OPTIONS", "/health"),
        ("POST", "/reason"),
        ("DELETE", "/reason"),
    ] {
        document.check_component("MethodNotAllowed", &ask(method, path, ""));
    }
    axon.terminate();
    axon.wait_for("draining");
    document.check("GET", "/health", &ask("GET", "/health", ""));
    document.check("HEAD", "/health", &ask("HEAD", "/health", ""));
    document.check("GET", "/reason", &ask("GET", "/reason", ""));
    document.assert_all_seen_but(&SEEN_ELSEWHERE);
}

/// Other handlers in the kit's stack, because axon's neither panic nor hang.
#[derive(Clone, Copy)]
enum Broken {
    Panics,
    Hangs,
}

impl Broken {
    async fn answer(self, method: &str, path: &'static str) -> DocumentedResponse {
        let handler = async move || match self {
            Self::Panics => panic!("as the test wants it"),
            Self::Hangs => tokio::time::sleep(Duration::MAX).await,
        };
        let source = SettingsSource {
            variable: &|name| (name == "DEADLINE_MS").then(|| "1".to_owned()),
            file: &|_| unreachable!(),
        };
        let mut reader = Reader::new(&source);
        let settings = Settings::read(&mut reader);
        let dependencies = Dependencies::new(SERVICE, Clock::system());
        let routes = Routes::new().open(path, get(handler));
        let app = App::new(routes, &settings.base, &dependencies).unwrap();
        let request = Request::builder().method(method).uri(path);
        let request = request.header("Host", "x").body(Body::empty()).unwrap();
        let (head, body) = app.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        DocumentedResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_vec(),
        }
    }
}
