use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::server::BODY_BYTES_MAX;
use service_kit::server::HEAD_BYTES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::served::{TIMEOUT, TestServer};

/// The task of the connection ends when the server closes it.
async fn connect(served: &TestServer) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method);
    request
        .uri(format!("http://x{path}"))
        .body(Full::new(body))
        .unwrap()
}

fn health() -> Request<Full<Bytes>> {
    request(Method::GET, "/health", Bytes::new())
}

#[tokio::test]
async fn http_2_is_served_without_an_upgrade() {
    let served = TestServer::start(&[]).await;
    let (mut sender, _connection) = connect(&served).await;
    let answer = sender.send_request(health()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("x-correlation-id"));
    let large = Bytes::from(vec![b'x'; BODY_BYTES_MAX + 1]);
    let answer = sender
        .send_request(request(Method::POST, "/size", large))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let largest = Bytes::from(vec![b'x'; BODY_BYTES_MAX]);
    let answer = sender
        .send_request(request(Method::POST, "/size", largest))
        .await
        .unwrap();
    let size = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(size, BODY_BYTES_MAX.to_string());
}

#[tokio::test]
async fn a_large_list_of_headers_is_refused() {
    let served = TestServer::start(&[]).await;
    let (mut sender, _connection) = connect(&served).await;
    let mut large = health();
    for index in 0..4 {
        let name: http::HeaderName = format!("x-large-{index}").parse().unwrap();
        let value = "x".repeat(HEAD_BYTES_MAX / 4).parse().unwrap();
        large.headers_mut().insert(name, value);
    }
    // The client knows the limit from SETTINGS, so it may refuse by itself.
    let refused = sender.send_request(large).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431);
    let (mut sender, _connection) = connect(&served).await;
    assert_eq!(sender.send_request(health()).await.unwrap().status(), 200);
}

/// More streams than a connection may have: the rest wait, and none is lost.
#[tokio::test]
async fn streams_beyond_the_limit_wait() {
    let served = TestServer::start(&[]).await;
    let (sender, _connection) = connect(&served).await;
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let mut sender = sender.clone();
        answers.spawn(async move { sender.send_request(health()).await.unwrap().status() });
    }
    let answers = timeout(TIMEOUT, answers.join_all()).await.unwrap();
    assert!(answers.iter().all(|status| *status == StatusCode::OK));
}

#[tokio::test]
async fn the_end_of_drain_says_farewell_and_answers_what_is_in_flight() {
    let served = TestServer::start(&[("DRAIN_MS", "1"), ("DEADLINE_MS", "500")]).await;
    let (mut sender, connection) = connect(&served).await;
    let (_idle, of_idle) = connect(&served).await;
    let endless = sender.send_request(request(Method::GET, "/endless", Bytes::new()));
    let endless = tokio::spawn(endless);
    assert_eq!(sender.send_request(health()).await.unwrap().status(), 200);
    served.signals.send(()).await.unwrap();
    assert_eq!(timeout(TIMEOUT, served.ended).await.unwrap().unwrap(), 0);
    assert_eq!(
        endless.await.unwrap().unwrap().status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    timeout(TIMEOUT, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    timeout(TIMEOUT, of_idle).await.unwrap().unwrap().unwrap();
}

/// One request with 1.6 MB of headers in valid frames, without `END_HEADERS`.
#[tokio::test]
async fn headers_without_end_end_the_connection() {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const CONTINUATION: u8 = 9;
    let served = TestServer::start(&[]).await;
    // GET, http, / of the static table, and then literals of 100 bytes.
    let literal = [&b"\x00\x03x-a\x64"[..], &[b'x'; 100]].concat();
    let mut text = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    text.extend(frame(SETTINGS, 0, b""));
    text.extend(frame(HEADERS, 1, b"\x82\x86\x84"));
    for _ in 0..100 {
        text.extend(frame(CONTINUATION, 1, &literal.repeat(150)));
    }
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    // The server may close before all of it is written.
    drop(stream.write_all(&text).await);
    let mut answer = Vec::new();
    drop(
        timeout(TIMEOUT, stream.read_to_end(&mut answer))
            .await
            .unwrap(),
    );
    let mut kinds = Vec::new();
    let mut rest = &answer[..];
    while let Some((head, payload)) = rest.split_at_checked(9) {
        let length = usize::from(head[1]) * 256 + usize::from(head[2]);
        kinds.push(head[3]);
        rest = payload.get(length..).unwrap_or_default();
    }
    assert_eq!(kinds.last(), Some(&GOAWAY), "{kinds:?}");
    assert!(!kinds.contains(&HEADERS), "{kinds:?}");
    assert!(served.is_healthy().await);
}

/// Without flags, such as `END_HEADERS`.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [0, length[0], length[1], kind, 0, 0, 0, 0, stream];
    [&head, payload].concat()
}
