//! A stub server on loopback that records the requests it gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;

#[derive(Clone)]
pub struct StubServer {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<StubCall>>>,
}

#[derive(Clone)]
pub struct StubCall {
    /// Method, path and query, as in `GET /reason`.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl StubServer {
    /// Where `answer` returns `None`, the caller gets no response.
    pub async fn start(
        answer: impl Fn(&StubCall) -> Option<Response> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, calls) = recording(answer);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, calls }
    }

    /// Always answers the same.
    pub async fn answering(status: u16, body: &'static str) -> Self {
        Self::start(move |_| Some(answer(status, body))).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn calls(&self) -> Vec<StubCall> {
        self.calls.lock().unwrap().clone()
    }
}

pub fn answer(status: u16, body: &'static str) -> Response {
    Response::builder()
        .status(status)
        .body(Body::from(body))
        .unwrap()
}

/// The router of the stub, and the requests that it got so far.
pub fn recording(
    answer: impl Fn(&StubCall) -> Option<Response> + Clone + Send + Sync + 'static,
) -> (Router, Arc<Mutex<Vec<StubCall>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&calls);
    let handler = async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let call = StubCall {
            line: format!("{} {}", head.method, head.uri),
            headers: head.headers,
            body,
        };
        recorded.lock().unwrap().push(call.clone());
        match answer(&call) {
            Some(response) => response,
            None => std::future::pending().await,
        }
    };
    (Router::new().fallback(handler), calls)
}
