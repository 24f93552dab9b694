use std::time::Duration;

use service_kit::server::BODY_BYTES_MAX;
use service_kit::server::HEAD_BYTES_MAX;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::captured_logs::CapturedLogs;
use crate::served::{TIMEOUT, TestServer, rest, some};

const MEGABYTE: usize = 1024 * 1024;

/// The status lines of the answers. The connection must then have been closed.
async fn statuses(served: &TestServer, text: impl AsRef<[u8]>) -> Vec<String> {
    let answer = timeout(TIMEOUT, served.answer(text)).await.expect("closed");
    let lines = answer.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    lines.map(|line| line[9..12].to_owned()).collect()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /size HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}")
}

const SECOND: &str = "GET /health HTTP/1.1\r\nHost: second\r\n\r\n";

#[tokio::test]
async fn a_request_of_two_lengths_is_never_two_requests() {
    let served = TestServer::start(&[]).await;
    let chunked = "Transfer-Encoding: chunked";
    for (headers, body) in [
        ("Content-Length: 4\r\nContent-Length: 5", "abcd"),
        ("Content-Length: 4, 5", "abcd"),
        ("Content-Length: +4", "abcd"),
        ("Content-Length: -1", ""),
        ("Content-Length: 18446744073709551617", ""),
        ("Transfer-Encoding: gzip", "abcd"),
        ("Transfer-Encoding: chunked, gzip", "abcd"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("X-Folded: one\r\n two", ""),
        ("Bad Name: x", ""),
        ("X-Zero: a\0b", ""),
        ("X-Return: a\rb", ""),
    ] {
        let text = post(headers, body) + SECOND;
        assert_eq!(statuses(&served, text).await, ["400"], "{headers}");
    }
    for (headers, body) in [
        (format!("Content-Length: 4\r\n{chunked}"), "0\r\n\r\n"),
        (format!("{chunked}\r\nContent-Length: 4"), "0\r\n\r\n"),
        (chunked.to_owned(), "0\r\n\r\n"),
    ] {
        // The chunks count, and the connection is closed: RFC 9112, section 6.1.
        let text = post(&headers, body) + SECOND;
        assert_eq!(statuses(&served, text).await, ["200"], "{headers}");
    }
    assert!(served.is_healthy().await);
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let served = TestServer::start(&[]).await;
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "4\r\nabcdGARBAGE",
        "ffffffffffffffffff\r\n",
        "1;\n\r\nx",
    ] {
        let text = post("Transfer-Encoding: chunked", chunks) + SECOND;
        assert_eq!(statuses(&served, text).await, ["400"], "{chunks:?}");
    }
}

/// A lone line feed may end a line: RFC 9112, section 2.2.
#[tokio::test]
async fn lone_line_feeds_make_no_second_request() {
    let served = TestServer::start(&[]).await;
    let text = "POST /size HTTP/1.1\nHost: x\nContent-Length: 38\nConnection: close\n\n\
                GET /health HTTP/1.1\r\nHost: second\r\n\r\n";
    assert_eq!(statuses(&served, text).await, ["200"]);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let served = TestServer::start(&[]).await;
    for text in [
        "\u{16}\u{3}\u{1}\u{2}hello",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "{}\r\n\r\n",
    ] {
        assert_eq!(statuses(&served, text).await, ["400"], "{text:?}");
    }
}

#[tokio::test]
async fn a_head_may_be_as_large_as_the_limit_and_no_larger() {
    let served = TestServer::start(&[]).await;
    let head = |size: usize| {
        let start = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: ";
        let filling = "x".repeat(size - start.len() - 4);
        format!("{start}{filling}\r\n\r\n")
    };
    assert_eq!(statuses(&served, head(HEAD_BYTES_MAX)).await, ["200"]);
    assert_eq!(statuses(&served, head(HEAD_BYTES_MAX + 1)).await, ["431"]);
    assert_eq!(statuses(&served, head(MEGABYTE)).await, ["431"]);
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MEGABYTE));
    assert_eq!(statuses(&served, path).await, ["431"]);
    let headers = |count: usize| {
        format!(
            "GET /health HTTP/1.1\r\nHost: x\r\n{}Connection: close\r\n\r\n",
            "A: b\r\n".repeat(count)
        )
    };
    assert_eq!(statuses(&served, headers(98)).await, ["200"]);
    assert_eq!(statuses(&served, headers(99)).await, ["431"]);
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_unread() {
    let served = TestServer::start(&[]).await;
    let body = "x".repeat(10 * MEGABYTE);
    let declared = post(&format!("Content-Length: {}", body.len()), &body);
    assert_eq!(statuses(&served, declared).await, ["413"]);
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let undeclared = post("Transfer-Encoding: chunked", &chunks);
    assert_eq!(statuses(&served, undeclared).await, ["413"]);

    // `Expect: 100-continue` is refused before the body is sent.
    let headers = format!("Expect: 100-continue\r\nContent-Length: {}", body.len());
    assert_eq!(statuses(&served, post(&headers, "")).await, ["413"]);
    let mut stream = served
        .connect(post("Expect: 100-continue\r\nContent-Length: 4", ""))
        .await;
    assert!(some(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"abcd").await.unwrap();
    assert!(some(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

/// The caller sends more than the socket buffers hold, and still gets the 413.
#[tokio::test]
async fn an_answer_before_the_end_of_the_body_arrives() {
    let served = TestServer::start(&[]).await;
    let length = BODY_BYTES_MAX * 8;
    let mut stream = served
        .connect(post(&format!("Content-Length: {length}"), ""))
        .await;
    let mut sent = 0;
    while sent < length {
        stream.write_all(&vec![b'x'; 4096]).await.unwrap();
        sent += 4096;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answer = timeout(TIMEOUT, rest(&mut stream)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn unfit_correlation_ids_do_not_reach_the_log() {
    let (logs, _guard) = CapturedLogs::start(crate::SERVICE, "info");
    let served = TestServer::start(&[]).await;
    for unfit in [
        &b"a\"b"[..],
        b"{\"x\":1}",
        b"\xff\xfe",
        b"a\tb",
        b"\\u000a",
        b"%0a%0d",
        "\u{2028}".as_bytes(),
    ] {
        let mut text =
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Correlation-ID: ".to_vec();
        text.extend([unfit, b"\r\n\r\n"].concat());
        assert_eq!(statuses(&served, text).await, ["200"], "{unfit:?}");
    }
    // A line break ends the header; the rest is an invalid header.
    let broken =
        "GET /health HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: a\r\n{\"level\":\"x\"}\r\n\r\n";
    assert_eq!(statuses(&served, broken).await, ["400"]);
    let lines = logs.lines();
    let access: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(access.len(), 7, "{lines:?}");
    for line in access {
        let id = line["correlation_id"].as_str().unwrap();
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_and_options_is_no_method_of_ours() {
    let served = TestServer::start(&[]).await;
    let ask = async |method: &str, path: &str| {
        served
            .answer(format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ))
            .await
    };
    let length = |answer: &str| {
        let line = answer
            .lines()
            .find(|line| line.starts_with("content-length: "));
        line.map(|line| line[16..].to_owned())
    };
    for path in ["/health", "/nowhere"] {
        let (get, head) = (ask("GET", path).await, ask("HEAD", path).await);
        assert_eq!(get[..12], head[..12]);
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(length(&get), length(&head));
    }
    for (method, path, allowed) in [
        ("OPTIONS", "/health", "GET,HEAD"),
        ("HEAD", "/size", "POST"),
        ("TRACE", "/size", "POST"),
    ] {
        let answer = ask(method, path).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(
            answer.contains(&format!("\r\nallow: {allowed}\r\n")),
            "{answer}"
        );
        assert!(
            answer.contains("\r\ncontent-type: application/problem+json\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\ncache-control: no-store\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("\r\nserver: "), "{answer}");
    }
}

/// What a request may ask for, and how its body may be coded.
#[tokio::test]
async fn a_target_and_a_coding_are_what_they_may_be() {
    let served = TestServer::start(&[]).await;
    let ask = async |line: &str, headers: &str| {
        let text = format!("{line}\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        statuses(&served, text).await
    };
    for (line, headers, status) in [
        ("GET * HTTP/1.1", "", "400"),
        ("OPTIONS * HTTP/1.1", "", "404"),
        ("GET /health#part HTTP/1.1", "", "200"),
        ("GET health HTTP/1.1", "", "400"),
        ("CONNECT x:80 HTTP/1.1", "", "404"),
        ("get /health HTTP/1.1", "", "405"),
    ] {
        assert_eq!(ask(line, headers).await, [status], "{line} {headers}");
    }
    for (coding, status) in [
        ("chunked", "200"),
        ("Chunked", "200"),
        ("gzip, chunked", "400"),
        ("identity, chunked", "400"),
        ("chunked, chunked", "400"),
        ("gzip\r\nTransfer-Encoding: chunked", "400"),
    ] {
        let text = post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n") + SECOND;
        assert_eq!(statuses(&served, text).await, [status], "{coding}");
    }
}
