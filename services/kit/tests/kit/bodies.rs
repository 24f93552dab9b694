//! Bodies that arrive slowly, or never.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::Request;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::{Emf, Lifecycle};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, pause, sleep, timeout};

use crate::captured_logs::CapturedLogs;
use crate::served::{TIMEOUT, TestServer, rest, some};

const WHOLE: &str =
    "POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfour";
const BEGUN: &str = "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\nx";

fn server_errors(served: &TestServer) -> u64 {
    let emf = Emf {
        service: crate::SERVICE,
        clock: service_kit::Clock::system(),
        metrics: served.metrics.clone(),
        namespace: "demo".to_owned(),
        lifecycle: Lifecycle::default(),
        by_revision: false,
    };
    let errors = std::cell::Cell::new(0);
    emf.report(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        errors.set(errors.get() + line["server_errors"].as_u64().unwrap_or_default());
    });
    errors.get()
}

fn in_flight(served: &TestServer) -> usize {
    served.metrics.level("in_flight").get()
}

/// The body has half of the deadline, and missing it is the caller's fault.
#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_the_callers_fault() {
    let (logs, _guard) = CapturedLogs::start(crate::SERVICE, "info");
    let served = TestServer::start(&[]).await;
    pause();
    let began = Instant::now();
    let mut stream = served.connect(BEGUN).await;
    let mut answer = String::new();
    while answer.is_empty() {
        stream.write_all(b"x").await.unwrap();
        let came = timeout(Duration::from_millis(500), some(&mut stream)).await;
        answer.push_str(&came.unwrap_or_default());
        assert_eq!(in_flight(&served), 0);
    }
    let took = began.elapsed();
    assert!((5..9).contains(&took.as_secs()), "{took:?}");
    answer.push_str(&rest(&mut stream).await);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    for header in [
        "connection: close",
        "content-type: application/problem+json",
    ] {
        assert!(answer.contains(&format!("\r\n{header}\r\n")), "{answer}");
    }
    let lines = logs.lines();
    assert!(
        lines.iter().all(|line| line["level"] == "INFO"),
        "{lines:?}"
    );
    assert_eq!(server_errors(&served), 0);
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let served = TestServer::start(&[]).await;
    for (head, pieces, size) in [
        ("Content-Length: 6", ["ab", "cd", "ef"], "6"),
        (
            "Transfer-Encoding: chunked",
            ["2\r\nab\r\n", "1\r\nc\r\n", "0\r\n\r\n"],
            "3",
        ),
    ] {
        let head = format!("POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\n");
        let mut stream = served.connect(head).await;
        for piece in pieces {
            sleep(Duration::from_millis(5)).await;
            stream.write_all(piece.as_bytes()).await.unwrap();
        }
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(size),
            "{answer}"
        );
    }
}

/// Also where our deadline is short and the caller's shorter.
#[tokio::test]
async fn whichever_deadline_passes_the_missing_body_is_the_callers_fault() {
    for (variables, header) in [
        (&[("DEADLINE_MS", "200")][..], ""),
        (&[], "X-Request-Timeout-Ms: 150\r\n"),
    ] {
        let served = TestServer::start(variables).await;
        let text = BEGUN.replacen("Host", &format!("{header}Host"), 1);
        let mut stream = served.connect(text).await;
        let answer = timeout(TIMEOUT, rest(&mut stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

/// Four requests may be in flight and two bodies incomplete, which do not count as in flight.
#[tokio::test]
async fn the_body_that_is_waited_for_longest_gives_way() {
    let served = TestServer::start(&[("IN_FLIGHT_MAX", "4"), ("DEADLINE_MS", "60000")]).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(served.connect(BEGUN).await);
        assert!(served.answer(WHOLE).await.starts_with("HTTP/1.1 200 "));
    }
    for stream in &mut slow[..6] {
        let answer = timeout(TIMEOUT, rest(stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    for stream in &mut slow[6..] {
        let nothing = timeout(Duration::from_millis(1), some(stream)).await;
        assert!(nothing.is_err(), "{nothing:?}");
        stream.write_all(&vec![b'x'; 65_535]).await.unwrap();
        let answer = timeout(TIMEOUT, some(stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(served.metrics.counter("shed", &[]).take(), 0);
    assert_eq!(server_errors(&served), 0);
}

/// Enough to use up `IN_FLIGHT_MAX` and half of the connections if incomplete bodies counted.
#[tokio::test]
async fn slow_bodies_block_no_other_request() {
    let served = TestServer::start(&[("CONNECTIONS_MAX", "64")]).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(served.connect(BEGUN).await);
    }
    let connect = async || {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    };
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let sender = connect().await;
        for _ in 0..128 {
            let byte =
                stream::once(async { Ok::<_, std::io::Error>(Frame::data(Bytes::from("x"))) });
            let body = StreamBody::new(Box::pin(byte.chain(stream::pending())));
            let request = Request::post("http://x/size").body(body).unwrap();
            let mut sender = sender.clone();
            waiting.spawn(async move { sender.send_request(request).await.map(|it| it.status()) });
        }
    }
    // All but 32 were evicted.
    for _ in 0..4 * 128 - 32 {
        let gave_way = timeout(TIMEOUT, waiting.join_next()).await.unwrap();
        assert_eq!(gave_way.unwrap().unwrap().unwrap(), 408);
    }
    assert!(
        timeout(TIMEOUT, served.answer(WHOLE))
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200 ")
    );
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut honest, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://x/size")
        .body(Full::new(Bytes::from("four")))
        .unwrap();
    assert_eq!(honest.send_request(request).await.unwrap().status(), 200);
    assert_eq!(served.metrics.counter("shed", &[]).take(), 0);
    assert_eq!(server_errors(&served), 0);
}
