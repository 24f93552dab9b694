//! The kit's server on loopback in the test's process, and raw TCP callers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::routing::{get, post};
use bytes::Bytes;
use service_kit::{App, Clock, Dependencies, Lifecycle, Metrics, Routes, health, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::SERVICE;
use crate::test_app::base;

/// Far above the duration of any step.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// Each message is a signal.
    pub(crate) signals: mpsc::Sender<()>,
    pub(crate) metrics: Metrics,
    /// Returns the number of requests that were cut off.
    pub(crate) ended: JoinHandle<usize>,
}

impl TestServer {
    /// Serves `GET /health`, `GET /endless`, and `POST /size`, which answers the size of the body.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::with(variables, Routes::new()).await
    }

    /// Serves these routes as well.
    pub(crate) async fn with(variables: &[(&str, &str)], routes: Routes) -> Self {
        let lifecycle = Lifecycle::default();
        let dependencies = Dependencies {
            lifecycle: lifecycle.clone(),
            ..Dependencies::new(SERVICE, Clock::system())
        };
        let routes = routes
            .open("/health", health(&dependencies))
            .open("/endless", get(async || std::future::pending::<()>().await))
            .open("/size", post(async |body: Bytes| body.len().to_string()));
        let base = base(variables);
        let app = App::new(routes, &base, &dependencies).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (signals, received) = mpsc::channel(2);
        lifecycle.ready(None);
        let ended =
            tokio::spawn(
                async move { server::serve(listener, app, &base, &lifecycle, received).await },
            );
        Self {
            address,
            signals,
            metrics: dependencies.metrics,
            ended,
        }
    }

    pub(crate) async fn connect(&self, text: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_ref()).await.unwrap();
        stream
    }

    /// Writes all of `text`, then reads until the connection is closed.
    pub(crate) async fn answer(&self, text: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close before all of it is written.
        drop(stream.write_all(text.as_ref()).await);
        rest(&mut stream).await
    }

    pub(crate) async fn is_healthy(&self) -> bool {
        let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        self.answer(request).await.starts_with("HTTP/1.1 200 ")
    }
}

/// Reads until the connection is closed or reset.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes of one read.
pub(crate) async fn some(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}
