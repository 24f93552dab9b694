//! Callers that request large answers and do not read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::Routes;
use service_kit::server::WRITE_TIMEOUT;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, pause, sleep, timeout};

use crate::served::{TIMEOUT, TestServer, rest};

const MEGABYTE: usize = 1024 * 1024;
/// More than the socket buffers hold.
const LARGE_BYTES: usize = 14 * MEGABYTE;
/// The number of unread answers within the limit, and one more.
const LIVE_BYTES_MAX: usize = 16 * MEGABYTE + LARGE_BYTES;

/// The memory of an answer, counted.
struct CountedAnswer {
    bytes: Vec<u8>,
    all: Arc<AtomicUsize>,
}

impl CountedAnswer {
    fn new(size: usize, all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(size, Ordering::Relaxed);
        let bytes = vec![b'x'; size];
        let all = Arc::clone(all);
        Self { bytes, all }
    }
}

impl AsRef<[u8]> for CountedAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedAnswer {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

struct ReadersTest {
    served: TestServer,
    live: Arc<AtomicUsize>,
}

impl ReadersTest {
    async fn new() -> Self {
        let live = Arc::<AtomicUsize>::default();
        let answer = |size| {
            let live = Arc::clone(&live);
            get(async move || Bytes::from_owner(CountedAnswer::new(size, &live)))
        };
        let routes = Routes::new()
            .open("/large", answer(LARGE_BYTES))
            .open("/megabyte", answer(MEGABYTE));
        let served = TestServer::with(&[], routes).await;
        Self { served, live }
    }

    fn live_bytes(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    async fn settles_at(&self, bytes_max: usize) {
        while self.live_bytes() > bytes_max {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

const LARGE: &str = "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Reads only the head, so that the answer has been made.
async fn slow_reader(scene: &ReadersTest) -> TcpStream {
    let mut stream = scene.served.connect(LARGE).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn unread_answers_have_a_common_limit() {
    let scene = ReadersTest::new().await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(slow_reader(&scene).await);
        timeout(TIMEOUT, scene.settles_at(LIVE_BYTES_MAX))
            .await
            .unwrap();
    }
    // A caller that reads gets the whole answer, and others are served.
    let mut honest = slow_reader(&scene).await;
    let whole = timeout(TIMEOUT, rest(&mut honest)).await.unwrap();
    assert!(whole.len() > LARGE_BYTES, "{}", whole.len());
    assert!(scene.served.is_healthy().await);
}

/// With HTTP/2 one connection has many answers.
#[tokio::test]
async fn so_have_those_of_streams() {
    let scene = ReadersTest::new().await;
    let stream = TcpStream::connect(scene.served.address).await.unwrap();
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..100 {
        let request = Request::get("http://x/megabyte");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        match sender.clone().send_request(request).await {
            Ok(answer) => answers.push(answer),
            Err(_) => break,
        }
    }
    assert!(answers.len() < 100, "the connection is closed");
    drop(timeout(TIMEOUT, connection).await.unwrap());
    timeout(TIMEOUT, scene.settles_at(0)).await.unwrap();
    assert!(scene.served.is_healthy().await);
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_given_up() {
    let scene = ReadersTest::new().await;
    let _reader = slow_reader(&scene).await;
    assert_eq!(scene.live_bytes(), LARGE_BYTES);
    pause();
    let began = Instant::now();
    timeout(WRITE_TIMEOUT * 3, scene.settles_at(0))
        .await
        .unwrap();
    assert!(began.elapsed() + Duration::from_secs(1) >= WRITE_TIMEOUT);
}

/// The stream is reset, and its connection stays open.
#[tokio::test]
async fn so_is_who_takes_nothing_of_a_stream() {
    let scene = ReadersTest::new().await;
    let stream = TcpStream::connect(scene.served.address).await.unwrap();
    let (mut sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let request = Request::get(format!("http://x{path}"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap()
    };
    let answer = ask("/megabyte").await;
    assert_eq!(scene.live_bytes(), MEGABYTE);
    pause();
    let limit = Duration::from_secs(10) + WRITE_TIMEOUT;
    timeout(limit * 2, scene.settles_at(0)).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
    assert_eq!(ask("/health").await.status(), 200);
}
