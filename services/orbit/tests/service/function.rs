//! Every way in which the governance function can fail, against a stub of the Lambda API: axon
//! is called in none of them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::process::{ALLOWED, HEARTBEAT, ORBIT, end, whole_dispatch, with_function};
use kit_testing::process::ServiceProcess;
use kit_testing::stub::{StubCall, StubServer, answer};

/// The answer to a dispatch while the function fails.
#[derive(Debug, PartialEq)]
struct DispatchOutcome {
    status: u16,
    retry_after: Option<String>,
    asked: usize,
}

fn closed(asked: usize, retry_after: Option<&str>) -> DispatchOutcome {
    DispatchOutcome {
        status: 503,
        retry_after: retry_after.map(str::to_owned),
        asked,
    }
}

fn retry_after(head: &str) -> Option<String> {
    let mut lines = head.lines();
    lines.find_map(|line| line.strip_prefix("retry-after: ").map(str::to_owned))
}

fn with_header(mut response: Response, name: &'static str, value: &'static str) -> Response {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// Dispatches once, while the Lambda API at `endpoint` fails.
async fn dispatch_while(endpoint: &str, settings: &[(&'static str, &str)]) -> (u16, String) {
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let axon_url = axon.url("/reason");
    let mut variables = with_function(endpoint, &axon_url);
    variables.extend_from_slice(settings);
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let (status, head, body) = whole_dispatch(orbit.address());
    assert_eq!(body["detail"], "governance cannot answer");
    let log = end(orbit);
    let error = log.iter().find(|line| line["level"] == "ERROR").unwrap();
    assert_eq!(error["correlation_id"], "the-id");
    assert!(error["error"].is_string(), "{error}");
    assert!(axon.calls().is_empty(), "it fails closed");
    (status, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_answers_but_a_clear_yes_or_no_fails_closed() {
    type LambdaFailure = fn(&StubCall) -> Response;
    let failed: LambdaFailure =
        |_| with_header(answer(200, ALLOWED), "X-Amz-Function-Error", "Unhandled");
    let throttled: LambdaFailure = |_| answer(429, r#"{"Reason":"CallerRateLimitExceeded"}"#);
    let throttled_long: LambdaFailure = |_| with_header(answer(429, "{}"), "Retry-After", "60");
    let table: [(&str, LambdaFailure, DispatchOutcome); 12] = [
        ("FunctionError", failed, closed(1, None)),
        ("no body", |_| answer(200, ""), closed(1, None)),
        ("no JSON", |_| answer(200, "not json"), closed(1, None)),
        ("no allowed", |_| answer(200, "{}"), closed(1, None)),
        (
            "a string",
            |_| answer(200, r#"{"allowed":"true"}"#),
            closed(1, None),
        ),
        (
            "a number",
            |_| answer(200, r#"{"allowed":1}"#),
            closed(1, None),
        ),
        (
            "null",
            |_| answer(200, r#"{"allowed":null}"#),
            closed(1, None),
        ),
        ("throttled", throttled, closed(3, Some("1"))),
        ("throttled for long", throttled_long, closed(1, Some("60"))),
        ("forbidden", |_| answer(403, "{}"), closed(1, None)),
        (
            "an error of Lambda",
            |_| answer(500, ALLOWED),
            closed(3, None),
        ),
        ("unavailable", |_| answer(503, ALLOWED), closed(3, None)),
    ];
    for (name, failure, expected) in table {
        let lambda = StubServer::start(move |call| Some(failure(call))).await;
        let (status, head) = dispatch_while(&lambda.url(""), &[]).await;
        let outcome = DispatchOutcome {
            status,
            retry_after: retry_after(&head),
            asked: lambda.calls().len(),
        };
        assert_eq!(outcome, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_fails_closed() {
    let lambda = StubServer::start(|_| None).await;
    let (status, _) = dispatch_while(&lambda.url(""), &[("DEADLINE_MS", "4000")]).await;
    assert_eq!((status, lambda.calls().len()), (503, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_reached_fails_closed() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    assert_eq!(dispatch_while(&endpoint, &[]).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_up_fails_closed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            accepted.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(dispatch_while(&endpoint, &[]).await.0, 503);
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_went_on_failing_is_not_asked_for_a_while() {
    let lambda = StubServer::answering(500, "{}").await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let axon_url = axon.url("/reason");
    let endpoint = lambda.url("");
    let mut orbit = ServiceProcess::start(ORBIT, &with_function(&endpoint, &axon_url));
    let address = orbit.address();
    let answers: Vec<_> = (0..5).map(|_| whole_dispatch(address)).collect();
    let is_closed = |(status, _, body): &(u16, String, Value)| {
        (*status, &body["detail"]) == (503, &"governance cannot answer".into())
    };
    assert!(answers.iter().all(is_closed), "{answers:?}");
    assert_eq!(retry_after(&answers[4].1).as_deref(), Some("1"));
    let log = end(orbit);
    let opened = log
        .iter()
        .find(|line| line["message"] == "the breaker opened");
    assert_eq!(opened.unwrap()["breaker"], "governance");
    assert_eq!((lambda.calls().len(), axon.calls().len()), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_is_not_seen() {
    let asked = Arc::new(AtomicUsize::new(0));
    let lambda = StubServer::start(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Some(answer(if is_first { 429 } else { 200 }, ALLOWED))
    })
    .await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let (endpoint, axon_url) = (lambda.url(""), axon.url("/reason"));
    let mut orbit = ServiceProcess::start(ORBIT, &with_function(&endpoint, &axon_url));
    assert_eq!(whole_dispatch(orbit.address()).0, 200);
    end(orbit);
    assert_eq!((lambda.calls().len(), axon.calls().len()), (2, 1));
}

/// A server on loopback that takes each connection, writes this, and says nothing more.
async fn stalling(written: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
            stream.write_all(written).await.unwrap();
            open.push(stream);
        }
    });
    (endpoint, connections)
}

/// The SDK would wait for a stalled stream by its own rules, and retry by its own counts. Deadline
/// and budget are the kit's, whatever stalls: the connection, the head or the body.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_is_inside_the_deadline_and_the_budget() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"allow";
    for (name, written) in [
        ("before its head", &b""[..]),
        ("in its head", &b"HTTP/1.1 200 OK\r\nConte"[..]),
        ("in its body", &head[..]),
        (
            "in a chunk",
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"[..],
        ),
    ] {
        let (endpoint, connections) = stalling(written).await;
        let began = Instant::now();
        let (status, _) = dispatch_while(&endpoint, &[("DEADLINE_MS", "2000")]).await;
        let asked = connections.load(Ordering::Relaxed);
        assert_eq!((status, asked), (503, 3), "{name}");
        assert!(began.elapsed() < 3 * Duration::from_secs(2), "{name}");
    }
}

/// The SDK gets the keys of the task's role, with retries of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_keys_stall_is_inside_the_deadline() {
    let lambda = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let (keys, _) = stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
    let (endpoint, axon_url) = (lambda.url(""), axon.url("/reason"));
    let mut variables = with_function(&endpoint, &axon_url);
    variables
        .retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
    variables.extend([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys.as_str()),
        ("DEADLINE_MS", "2000"),
    ]);
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let address = orbit.address();
    let began = Instant::now();
    let (status, _, body) = whole_dispatch(address);
    assert_eq!(
        (status, &body["detail"]),
        (503, &"governance cannot answer".into())
    );
    assert!(began.elapsed() < Duration::from_secs(4));
    end(orbit);
    assert_eq!((lambda.calls().len(), axon.calls().len()), (0, 0));
}
