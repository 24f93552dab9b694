//! Serves until the first signal, then drains: `/health` answers 503 and responses ask for the
//! connection to be closed, while callers that still have this task's address from DNS are
//! answered. Then the requests in flight are finished.

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
mod limit;
pub(crate) mod problem;
pub(crate) mod routes;
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

/// The time to write a response that was made at the deadline.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// The first signal starts the drain, the second one stops at once. Returns how many requests
/// were cut off: 0 unless there was a second signal, because every request ends by its deadline.
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
            // From here on connecting fails, which a caller can always retry with another task.
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
