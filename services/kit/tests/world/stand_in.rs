//! A server on loopback that stands in for another one and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;

#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

#[derive(Clone)]
pub(crate) struct Call {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl StandIn {
    /// Where `answer` has none, the caller waits for ever.
    pub(crate) async fn start(
        answer: impl Fn(&Call) -> Option<Response> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, calls) = recording(answer);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, calls }
    }

    /// Always the same.
    pub(crate) async fn answering(status: u16, body: &'static str) -> Self {
        Self::start(move |_| Some(answer(status, body))).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

pub(crate) fn answer(status: u16, body: &'static str) -> Response {
    Response::builder()
        .status(status)
        .body(Body::from(body))
        .unwrap()
}

/// The server's router, and what it has been asked so far.
pub(crate) fn recording(
    answer: impl Fn(&Call) -> Option<Response> + Clone + Send + Sync + 'static,
) -> (Router, Arc<Mutex<Vec<Call>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&calls);
    let handler = async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let call = Call {
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
