//! Serves until it is told to stop, then drains: health says no and connections are asked to
//! close, while callers that found this task by DNS are still answered; then what is in flight
//! is finished.

mod activity;
mod admission;
mod body_reader;
mod connection;
mod connections;
mod half_close;
pub(crate) mod health;
mod host;
pub(crate) mod inbound;
pub(crate) mod lifecycle;
pub(crate) mod problem;
mod tracked_body;
mod unsent;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::settings::Base;
use connections::Connections;
use inbound::App;
use lifecycle::Lifecycle;

pub use activity::{FIRST_REQUEST_TIMEOUT, IDLE_TIMEOUT};
pub use body_reader::BODY_BYTES_MAX;
pub use connection::HEAD_BYTES_MAX;
pub use half_close::WRITE_TIMEOUT;

/// What a response takes to leave after the deadline has made it.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// The first of the signals means stop, the second one means now. Answers how many requests were
/// cut off: none, unless the second signal came, because nothing in flight takes longer than a
/// request's deadline.
pub async fn serve(
    listener: TcpListener,
    app: App,
    base: &Base,
    lifecycle: &Lifecycle,
    mut signals: mpsc::Receiver<()>,
) -> usize {
    let mut connections = Connections::new(app, base);
    tokio::select! {
        () = connections.accept_from(&listener) => {}
        _ = signals.recv() => {}
    }
    lifecycle.drain();
    tracing::info!(drain_ms = base.drain_ms, "draining");
    let drain = Duration::from_millis(base.drain_ms);
    let grace = Duration::from_millis(base.deadline_ms) + LAST_WRITE;
    tokio::select! {
        _ = signals.recv() => {}
        () = async {
            tokio::select! {
                () = connections.accept_from(&listener) => {}
                () = sleep(drain) => {}
            }
            // Who connects from here on is refused, which is always safe to try again elsewhere.
            drop(listener);
            tokio::select! {
                () = connections.finish() => {}
                () = sleep(grace) => {}
            }
        } => {}
    }
    let requests = connections.requests_in_flight();
    if requests == 0 {
        tracing::info!("stopped");
    } else {
        tracing::warn!(requests, "stopped with requests cut off");
    }
    requests
}
