//! Requests as bytes, after the cases of h1spec and of the HTTP probe: what RFC 9110 and RFC 9112
//! say of them, and that nothing after a request that is refused is taken for another one.

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::served::{TIMEOUT, TestServer, rest};

/// Sent after each request. It must be answered only where the connection goes on.
const NEXT: &str = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The statuses of all answers, until the connection is closed.
async fn statuses(served: &TestServer, request: &[u8]) -> Vec<String> {
    let mut stream = served.connect("").await;
    drop(stream.write_all(&[request, NEXT.as_bytes()].concat()).await);
    let answer = timeout(TIMEOUT, rest(&mut stream)).await.expect("closed");
    // A request of HTTP/1.0 is answered by the same version.
    let lines = answer.split("HTTP/1.").skip(1);
    lines.map(|line| line[2..5].to_owned()).collect()
}

#[track_caller]
fn all_are(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request, its status, and whether the next one is answered on the same connection.
type RawCase = (&'static str, &'static str, bool);

async fn check(cases: &[RawCase]) {
    let served = TestServer::start(&[]).await;
    let mut wrong = Vec::new();
    for (request, status, goes_on) in cases {
        let mut expected = vec![(*status).to_owned()];
        expected.extend(goes_on.then(|| "404".to_owned()));
        let came = statuses(&served, request.as_bytes()).await;
        if came != expected {
            wrong.push(format!("{request:?}: {came:?}, expected {expected:?}"));
        }
    }
    assert!(served.is_healthy().await);
    all_are(&wrong);
}

const REFUSED: bool = false;
const GOES_ON: bool = true;

#[rustfmt::skip]
const REQUEST_LINES: &[RawCase] = &[
    ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    // RFC 9112, section 2.2: an empty line before the request line is skipped.
    ("\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    ("\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    ("GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health  HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET\t/health HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    (" GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.2\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/2.0\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health http/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1 x\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/01.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("G\0T /health HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("GET /hea\x7flth HTTP/1.1\r\nHost: x\r\n\r\n", "400", REFUSED),
    ("BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", "405", GOES_ON),
    ("get /health HTTP/1.1\r\nHost: x\r\n\r\n", "405", GOES_ON),
    ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404", GOES_ON),
    ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", "400", GOES_ON),
    ("GET health HTTP/1.1\r\nHost: x\r\n\r\n", "400", GOES_ON),
    ("GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    ("GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "400", GOES_ON),
    ("GET /health?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    ("GET /%2e%2e/health HTTP/1.1\r\nHost: x\r\n\r\n", "404", GOES_ON),
    ("GET //health HTTP/1.1\r\nHost: x\r\n\r\n", "404", GOES_ON),
    ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "400", REFUSED),
];

#[rustfmt::skip]
const HEADER_FIELDS: &[RawCase] = &[
    ("GET /health HTTP/1.1\r\nHost : x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\n Host: x\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA(b): c\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "400", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA:  b \t\r\n\r\n", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\nA: c\r\n\r\n", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nA: \u{e9}\r\n\r\n", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nhOsT: x\r\n\r\n", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", REFUSED),
    ("GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n", "200", REFUSED),
    ("GET /health HTTP/1.0\r\n\r\n", "200", REFUSED),
    ("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", GOES_ON),
];

#[rustfmt::skip]
const LENGTHS_AND_CODINGS: &[RawCase] = &[
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nfour", "200", GOES_ON),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200", GOES_ON),
    ("POST /size HTTP/1.1\r\nHost: x\r\n\r\n", "200", GOES_ON),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 0004\r\n\r\nfour", "200", GOES_ON),
    ("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nfour", "200", GOES_ON),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nfour",
        "200", GOES_ON),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfour",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4,4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4 4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nfour", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\nx", "413", REFUSED),
    // Where both are there the chunks count, and the connection is closed: section 6.1.
    ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
      0\r\n\r\n",
        "200", REFUSED),
    ("POST /size HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "400", REFUSED),
    ("POST /size HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 4\r\n\r\nfour",
        "200", GOES_ON),
];

#[tokio::test]
async fn request_lines() {
    check(REQUEST_LINES).await;
}

#[tokio::test]
async fn header_fields() {
    check(HEADER_FIELDS).await;
}

#[tokio::test]
async fn lengths_and_codings() {
    check(LENGTHS_AND_CODINGS).await;
}

#[tokio::test]
async fn chunks() {
    let served = TestServer::start(&[]).await;
    let head = "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wrong = Vec::new();
    for (chunks, status) in [
        ("4\r\nfour\r\n0\r\n\r\n", "200"),
        ("04\r\nfour\r\n00\r\n\r\n", "200"),
        ("4;name=value\r\nfour\r\n0\r\n\r\n", "200"),
        ("4\r\nfour\r\n0\r\nTrailer: x\r\n\r\n", "200"),
        ("+4\r\nfour\r\n0\r\n\r\n", "400"),
        ("-4\r\nfour\r\n0\r\n\r\n", "400"),
        ("0x4\r\nfour\r\n0\r\n\r\n", "400"),
        ("4_\r\nfour\r\n0\r\n\r\n", "400"),
        ("4\nfour\r\n0\r\n\r\n", "400"),
        ("4\r\nfour\n0\r\n\r\n", "400"),
        ("4\r\nfourteen\r\n0\r\n\r\n", "400"),
        ("\r\nfour\r\n0\r\n\r\n", "400"),
        ("g\r\nfour\r\n0\r\n\r\n", "400"),
        ("11111111111111111\r\nfour\r\n0\r\n\r\n", "400"),
    ] {
        let came = statuses(&served, format!("{head}{chunks}").as_bytes()).await;
        if came != [status] {
            wrong.push(format!("{chunks:?}: {came:?}, expected {status}"));
        }
    }
    all_are(&wrong);
}
