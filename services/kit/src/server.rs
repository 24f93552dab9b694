//! Serves until it is told to stop, then drains: health says no and connections are asked to
//! close, while callers that found this task by DNS are still answered; then what is in flight
//! is finished.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::lifecycle::Lifecycle;
use crate::settings::Base;

/// What a response takes to leave after the deadline has made it.
const LAST_WRITE: Duration = Duration::from_millis(500);
/// A process without file descriptors left gets some back as connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Nothing in flight takes longer than a request's deadline, so neither does finishing it all.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    base: &Base,
    lifecycle: &Lifecycle,
    stop: impl Future<Output = ()>,
) {
    let drain = Duration::from_millis(base.drain_ms);
    let grace = Duration::from_millis(base.deadline_ms) + LAST_WRITE;
    let connections = GracefulShutdown::new();
    let stopped_and_drained = async {
        stop.await;
        lifecycle.drain();
        tracing::info!(drain_ms = base.drain_ms, "draining");
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = accept_forever(&listener, &app, &connections) => {}
        () = stopped_and_drained => {}
    }
    // Who connects from here on is refused, which is always safe to try again elsewhere.
    drop(listener);
    finish(connections, grace).await;
}

async fn accept_forever(listener: &TcpListener, app: &Router, connections: &GracefulShutdown) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => spawn_connection(stream, app.clone(), connections),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn spawn_connection(stream: TcpStream, app: Router, connections: &GracefulShutdown) {
    // Without it small answers wait for the peer's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let watcher = connections.watcher();
    tokio::spawn(async move {
        let builder = Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(app);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(error, "a connection broke");
        }
    });
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

async fn finish(connections: GracefulShutdown, grace: Duration) {
    let open = connections.count();
    tracing::info!(connections = open, "finishing what is in flight");
    if tokio::time::timeout(grace, connections.shutdown())
        .await
        .is_ok()
    {
        tracing::info!("stopped");
    } else {
        tracing::warn!(
            grace_ms = grace.as_millis(),
            "stopped with requests cut off"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::AsyncWriteExt as _;
    use tokio::sync::Notify;

    use super::*;
    use crate::Service;
    use crate::lifecycle::Phase;
    use crate::settings::{Environment, Reader};

    /// A request that never ends holds the process no longer than the deadline and the last write.
    #[tokio::test]
    async fn what_does_not_end_is_cut_off() {
        let environment = Environment {
            variable: &|name| matches!(name, "DRAIN_MS" | "DEADLINE_MS").then(|| "1".to_owned()),
            file: &|_| unreachable!("the base has no file"),
        };
        let base = Base::read(
            &mut Reader::new(&environment),
            Service {
                name: "x",
                version: "",
            },
        );
        let reached = Arc::new(Notify::new());
        let reach = Arc::clone(&reached);
        let endless = async move || {
            reach.notify_one();
            std::future::pending::<()>().await;
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let app = Router::new().route("/", get(endless));
        let lifecycle = Lifecycle::default();
        serve(listener, app, &base, &lifecycle, reached.notified()).await;
        assert_eq!(lifecycle.phase(), Phase::Draining);
    }
}
