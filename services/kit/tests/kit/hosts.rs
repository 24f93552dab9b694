//! A request must name exactly one host.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::captured_logs::CapturedLogs;
use crate::served::TestServer;

const CLEAR: [&str; 18] = [
    "x",
    "localhost",
    "localhost:8080",
    "axon.demo.internal:80",
    "AXON_1.demo",
    "x.",
    "a-b.c~d",
    "10.0.0.1",
    "10.0.0.1:80",
    "[::1]",
    "[::1]:80",
    "[2001:DB8::1]:65535",
    "[::ffff:10.0.0.1]",
    "x:0",
    "x:00080",
    "x:",
    " x ",
    "\tx",
];

const UNCLEAR: [&str; 30] = [
    "",
    " ",
    ":80",
    "bad host",
    "a,b",
    "a;b",
    "a, a",
    "http://x/",
    "http://x",
    "x/",
    "x/path",
    "x?a",
    "x#a",
    "user@x",
    "user:pass@x:80",
    "x:99999",
    "x:65536",
    "x:+80",
    "x:-1",
    "x:80:80",
    "x:port",
    "x: 80",
    "[::1",
    "::1",
    "[::1]x",
    "[x]",
    "[]",
    "[fe80::1%25eth0]",
    "x\\y",
    "\u{e4}",
];

async fn ask(served: &TestServer, line: &str, headers: &str) -> String {
    let text = format!("{line}\r\nConnection: close\r\n{headers}\r\n");
    served.answer(text).await
}

fn assert_refused(answer: &str, why: &str) {
    assert!(answer.starts_with("HTTP/1.1 400 "), "{why}: {answer}");
    for header in [
        "content-type: application/problem+json",
        "x-correlation-id: ",
    ] {
        assert!(answer.contains(&format!("\r\n{header}")), "{why}: {answer}");
    }
    assert!(answer.contains("\"correlation_id\":"), "{why}: {answer}");
}

#[tokio::test]
async fn http_1_1_names_one_host() {
    let (logs, _guard) = CapturedLogs::start(crate::SERVICE, "info");
    let served = TestServer::start(&[]).await;
    for (path, status) in [("/health", 200), ("/nowhere", 404)] {
        let line = format!("GET {path} HTTP/1.1");
        for host in CLEAR {
            let answer = ask(&served, &line, &format!("Host: {host}\r\n")).await;
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{host:?}: {answer}");
        }
        for host in UNCLEAR {
            let answer = ask(&served, &line, &format!("Host: {host}\r\n")).await;
            assert_refused(&answer, host);
        }
        for hosts in [
            "",
            "Host: x\r\nHost: x\r\n",
            "Host: a\r\nhost: b\r\n",
            "Host:\r\n",
        ] {
            assert_refused(&ask(&served, &line, hosts).await, hosts);
        }
    }
    let lines = logs.lines();
    assert!(
        lines.iter().all(|line| line["level"] == "INFO"),
        "{lines:?}"
    );
}

/// As some probes send it.
#[tokio::test]
async fn http_1_0_may_leave_it_out() {
    let served = TestServer::start(&[]).await;
    for (headers, status) in [
        ("", "200"),
        ("Host: 10.0.0.1:80\r\n", "200"),
        ("Host: bad host\r\n", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
    ] {
        let answer = ask(&served, "GET /health HTTP/1.0", headers).await;
        assert_eq!(answer.get(9..12), Some(status), "{headers}: {answer}");
    }
}

/// RFC 9112, section 3.2.2: the target's host counts; the header is required and ignored.
#[tokio::test]
async fn a_target_may_have_a_host_of_its_own() {
    let served = TestServer::start(&[]).await;
    for (target, host, status) in [
        ("http://x/health", "Host: x\r\n", "200"),
        ("http://x:80/health", "Host: other\r\n", "200"),
        ("https://[::1]:80/health", "Host: x\r\n", "200"),
        ("http://x/health", "", "400"),
        ("http://x/health", "Host: a\r\nHost: b\r\n", "400"),
        ("http://x/health", "Host: bad host\r\n", "400"),
        ("http://user@x/health", "Host: x\r\n", "400"),
        ("http://x:99999/health", "Host: x\r\n", "400"),
        ("http://a,b/health", "Host: x\r\n", "400"),
        ("ftp://x/health", "Host: x\r\n", "400"),
        ("x:80", "Host: x\r\n", "400"),
    ] {
        let answer = ask(&served, &format!("GET {target} HTTP/1.1"), host).await;
        assert_eq!(answer.get(9..12), Some(status), "{target} {host}: {answer}");
    }
}

#[tokio::test]
async fn http_2_names_one_host() {
    let served = TestServer::start(&[]).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for (target, hosts, status) in [
        ("http://a/health", &[][..], 200),
        ("http://a:80/health", &["a:80"], 200),
        ("http://A/health", &["a"], 200),
        ("/health", &["a"], 200),
        ("http://a/health", &["b"], 400),
        ("http://a/health", &["a", "a"], 400),
        ("/health", &["a", "b"], 400),
        ("/health", &[], 400),
        ("/health", &["bad host"], 400),
        ("http://user@a/health", &[], 400),
        ("http://a:99999/health", &[], 400),
        ("http://a/nowhere", &["b"], 400),
    ] {
        // Its target has no authority where the request is as if it came over HTTP/1.1.
        let mut request = Request::get(target).version(Version::HTTP_11);
        for host in hosts {
            request = request.header("host", *host);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{target} {hosts:?}");
        assert!(answer.headers().contains_key("x-correlation-id"));
    }
}
