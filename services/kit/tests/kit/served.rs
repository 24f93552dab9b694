//! The kit's server on a port of loopback, within the test, and callers that say what they like.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use service_kit::settings::{Base, Environment, Reader};
use service_kit::{App, Clock, Dependencies, Lifecycle, Metrics, health, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::SERVICE;

/// Far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// Each one sent is a signal.
    pub(crate) signals: mpsc::Sender<()>,
    pub(crate) metrics: Metrics,
    /// Ends with the number of requests that were cut off.
    pub(crate) ended: JoinHandle<usize>,
}

impl Served {
    /// Routes are `GET /health`, `GET /endless`, and `POST /size`, which answers how large the
    /// body is.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::with(variables, Router::new()).await
    }

    /// With routes of the test's besides.
    pub(crate) async fn with(variables: &[(&str, &str)], routes: Router) -> Self {
        let lifecycle = Lifecycle::default();
        let dependencies = Dependencies {
            lifecycle: lifecycle.clone(),
            ..Dependencies::new(SERVICE, Clock::system())
        };
        let routes = routes
            .route("/health", health(&dependencies))
            .route("/endless", get(async || std::future::pending::<()>().await))
            .route("/size", post(async |body: Bytes| body.len().to_string()));
        let base = base(variables);
        let app = App::new(routes, &base, &dependencies);
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

    /// All that is answered until the connection is closed, to a caller that says all it has to
    /// say before it listens.
    pub(crate) async fn answer(&self, text: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // It may be closed to us before we have said it all.
        drop(stream.write_all(text.as_ref()).await);
        rest(&mut stream).await
    }

    pub(crate) async fn is_healthy(&self) -> bool {
        let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        self.answer(request).await.starts_with("HTTP/1.1 200 ")
    }
}

/// What comes until the connection is closed, in whichever way.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As much as one read gives.
pub(crate) async fn some(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

fn base(variables: &[(&str, &str)]) -> Base {
    let variable = |name: &str| {
        let mut of_name = variables.iter().filter(|(known, _)| *known == name);
        of_name.next().map(|(_, value)| (*value).to_owned())
    };
    let environment = Environment {
        variable: &variable,
        file: &|_| unreachable!("the base has no file"),
    };
    let mut reader = Reader::new(&environment);
    let base = Base::read(&mut reader, SERVICE);
    reader.finish(base).unwrap()
}
