use std::time::Duration;

use service_kit::server::{FIRST_REQUEST_TIMEOUT, IDLE_TIMEOUT};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, pause, sleep, timeout};

use crate::captured_logs::CapturedLogs;
use crate::served::{TIMEOUT, TestServer, rest, some};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const ENDLESS: &str = "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n";
/// The time for the kernel to deliver, because a paused clock does not wait for it.
const MARGIN: Duration = Duration::from_secs(15);

#[track_caller]
fn assert_took(began: Instant, limit: Duration) {
    let took = began.elapsed();
    assert!(limit <= took && took < limit + MARGIN, "{took:?}");
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let served = TestServer::start(&[]).await;
    pause();
    for first_bytes in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost:"] {
        let began = Instant::now();
        let mut stream = served.connect(first_bytes).await;
        assert_eq!(rest(&mut stream).await, "");
        assert_took(began, FIRST_REQUEST_TIMEOUT);
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let served = TestServer::start(&[]).await;
    pause();
    let began = Instant::now();
    let mut stream = served.connect("GET /health HTTP/1.1\r\nX-Slow: ").await;
    while stream.write_all(b"x").await.is_ok() {
        sleep(Duration::from_millis(500)).await;
        assert!(began.elapsed() < Duration::from_mins(1));
    }
    assert_took(began, FIRST_REQUEST_TIMEOUT);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_longer_than_load_balancers_keep_it() {
    let served = TestServer::start(&[]).await;
    let mut stream = served.connect(HEALTH).await;
    assert!(some(&mut stream).await.starts_with("HTTP/1.1 200 "));
    pause();
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    let took = began.elapsed();
    assert!(
        took > Duration::from_mins(1) && took <= IDLE_TIMEOUT + MARGIN,
        "{took:?}"
    );
}

#[tokio::test]
async fn who_waits_longest_makes_room() {
    let served = TestServer::start(&[("CONNECTIONS_MAX", "4")]).await;
    let mut busy = served.connect(ENDLESS).await;
    let mut idle = served.connect(HEALTH).await;
    assert!(some(&mut idle).await.starts_with("HTTP/1.1 200 "));
    let mut left = Vec::new();
    for _ in 0..40 {
        left.push(TcpStream::connect(served.address).await.unwrap());
    }
    assert!(timeout(TIMEOUT, served.is_healthy()).await.unwrap());
    assert_eq!(timeout(TIMEOUT, rest(&mut idle)).await.unwrap(), "");
    for stream in &mut left[..30] {
        assert_eq!(timeout(TIMEOUT, rest(stream)).await.unwrap(), "");
    }
    // A connection with a request in flight stays.
    let answer = timeout(TIMEOUT, some(&mut busy)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn where_all_are_being_answered_new_ones_wait() {
    let served = TestServer::start(&[("CONNECTIONS_MAX", "2"), ("DEADLINE_MS", "1500")]).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(served.connect(ENDLESS).await);
    }
    assert!(timeout(TIMEOUT, served.is_healthy()).await.unwrap());
    for stream in &mut busy {
        let answer = timeout(TIMEOUT, some(stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
}

#[tokio::test]
async fn what_is_idle_does_not_hold_the_process() {
    let (logs, _guard) = CapturedLogs::start(crate::SERVICE, "info");
    let served = TestServer::start(&[("DRAIN_MS", "1"), ("DEADLINE_MS", "60000")]).await;
    let mut idle = served.connect(HEALTH).await;
    assert!(some(&mut idle).await.starts_with("HTTP/1.1 200 "));
    let mut silent = served.connect("").await;
    assert!(served.is_healthy().await);
    served.signals.send(()).await.unwrap();
    assert_eq!(timeout(TIMEOUT, served.ended).await.unwrap().unwrap(), 0);
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut silent).await, "");
    assert!(TcpStream::connect(served.address).await.is_err());
    assert_eq!(logs.lines().last().unwrap()["message"], "stopped");
}

#[tokio::test]
async fn a_head_that_came_in_part_is_answered_while_the_rest_is_finished() {
    let served = TestServer::start(&[("DRAIN_MS", "1")]).await;
    let mut stream = served.connect("GET /health HTTP/1.1\r\nHost: x\r\n").await;
    assert!(served.is_healthy().await);
    served.signals.send(()).await.unwrap();
    while TcpStream::connect(served.address).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    stream.write_all(b"\r\n").await.unwrap();
    let answer = timeout(TIMEOUT, rest(&mut stream)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(timeout(TIMEOUT, served.ended).await.unwrap().unwrap(), 0);
}

/// Of three connections, two have a request in flight.
#[tokio::test]
async fn a_second_signal_cuts_off_and_says_how_many_requests() {
    for drain_ms in ["1", "60000"] {
        let (logs, _guard) = CapturedLogs::start(crate::SERVICE, "info");
        let served = TestServer::start(&[("DRAIN_MS", drain_ms), ("DEADLINE_MS", "60000")]).await;
        let _idle = served.connect("").await;
        let mut busy = [served.connect(ENDLESS).await, served.connect(ENDLESS).await];
        assert!(served.is_healthy().await);
        served.signals.send(()).await.unwrap();
        let is_draining = || {
            logs.lines()
                .iter()
                .any(|line| line["message"] == "draining")
        };
        while !is_draining() {
            sleep(Duration::from_millis(10)).await;
        }
        served.signals.send(()).await.unwrap();
        assert_eq!(timeout(TIMEOUT, served.ended).await.unwrap().unwrap(), 2);
        assert_eq!(rest(&mut busy[0]).await, "");
        let lines = logs.lines();
        let line = lines
            .iter()
            .find(|line| line["message"] == "stopped with requests cut off")
            .unwrap();
        assert_eq!(
            (&line["requests"], &line["level"]),
            (&2.into(), &"WARN".into())
        );
        let cancelled = lines
            .iter()
            .filter(|line| line["outcome"] == "cancelled" && line["route"] == "/endless");
        assert_eq!(cancelled.count(), 2);
    }
}

/// Whoever ends his side right after the request, as `nc -N` does, still reads the answer.
#[tokio::test]
async fn who_half_closes_after_the_request_gets_the_answer() {
    let answered = async |_: bytes::Bytes| {
        // Long enough that the end of the caller's side is there before the answer.
        sleep(Duration::from_millis(2)).await;
        "answered"
    };
    let routes = service_kit::Routes::new().open("/slow", axum::routing::any(answered));
    let served = TestServer::with(&[], routes).await;
    for request in [
        "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /slow HTTP/1.0\r\n\r\n",
        "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nfour",
        "POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        for _ in 0..200 {
            let mut stream = served.connect(request).await;
            stream.shutdown().await.unwrap();
            let answer = timeout(TIMEOUT, rest(&mut stream)).await.unwrap();
            assert!(answer.ends_with("\r\n\r\nanswered"), "{request}: {answer}");
        }
    }
    // A request that is not complete is none.
    let mut stream = served.connect("GET /slow HTTP/1.1\r\nHost: x\r\n").await;
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(TIMEOUT, rest(&mut stream)).await.unwrap(), "");
}

/// A request that never ends is answered at its deadline.
#[tokio::test]
async fn no_request_outlives_the_grace() {
    let served = TestServer::start(&[("DRAIN_MS", "1"), ("DEADLINE_MS", "300")]).await;
    let mut busy = served.connect(ENDLESS).await;
    assert!(served.is_healthy().await);
    served.signals.send(()).await.unwrap();
    assert_eq!(timeout(TIMEOUT, served.ended).await.unwrap().unwrap(), 0);
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}
