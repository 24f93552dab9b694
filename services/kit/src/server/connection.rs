//! One connection: HTTP/1.1 or HTTP/2 by its first bytes, and how long it may wait for a request.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::activity::{Activity, InFlight};
use super::body_reader::BODY_BYTES_MAX;
use super::half_close::{Lingering, WRITE_TIMEOUT};
use super::inbound::App;
use super::tracked_body::{Leaving, PIECE_BYTES};

/// Request line and headers together: what HTTP/1.1 keeps of a head that is not complete yet, and
/// the size of HTTP/2's header list. Above it the answer is 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// For HTTP/2's farewell, and what has been written already.
const FAREWELL: Duration = Duration::from_millis(500);

const STREAMS_MAX: u32 = 128;
/// One body fits, and four of them fit together: a connection keeps no more of what nobody reads.
const STREAM_WINDOW: usize = BODY_BYTES_MAX;
const CONNECTION_WINDOW: usize = 4 * BODY_BYTES_MAX;

pub(super) type Protocols = Builder<Streams>;

/// Runs the streams of HTTP/2. Each ends by itself, also where nobody takes its answer: then it is
/// reset.
#[derive(Clone)]
pub(super) struct Streams {
    longest: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(timeout(self.longest, stream));
    }
}

/// Pings are not needed: whoever is gone is idle, or cut off by a request's deadline.
pub(super) fn protocols(deadline: Duration) -> Protocols {
    let bytes = |size| u32::try_from(size).expect("the limits are small");
    let longest = deadline + WRITE_TIMEOUT;
    let mut builder = Builder::new(Streams { longest });
    builder.http1().max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .max_header_list_size(bytes(HEAD_BYTES_MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(bytes(STREAM_WINDOW))
        .initial_connection_window_size(bytes(CONNECTION_WINDOW))
        .max_send_buf_size(PIECE_BYTES);
    builder
}

/// Serves the connection to its end: its own, that of its patience, or the server's.
pub(super) async fn attend(
    stream: TcpStream,
    app: App,
    protocols: Arc<Protocols>,
    activity: Arc<Activity>,
    mut finishing: watch::Receiver<()>,
) {
    let io = TokioIo::new(Lingering::new(stream, Arc::clone(&activity)));
    let patience = Arc::clone(&activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_flight = InFlight::new(&activity);
        let has_body = !request.body().is_end_stream();
        let app = app.clone();
        async move {
            let body = |body| {
                if has_body {
                    Body::new(body)
                } else {
                    Body::empty()
                }
            };
            let answer = app.answer(request.map(body)).await;
            let refused = !answer.status().is_success();
            let activity = in_flight.activity();
            activity.note_unread(has_body && refused);
            drop(in_flight);
            Ok::<_, Infallible>(answer.map(|body| Leaving::new(body, activity)))
        }
    });
    let mut connection = pin!(protocols.serve_connection(io, service));
    let mut out_of_patience = pin!(patience.ends());
    tokio::select! {
        biased;
        outcome = connection.as_mut() => return note(outcome),
        () = out_of_patience.as_mut() => {
            connection.as_mut().graceful_shutdown();
            if let Ok(outcome) = timeout(FAREWELL, connection).await {
                note(outcome);
            }
            return;
        }
        _ = finishing.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        outcome = connection => note(outcome),
        () = out_of_patience => {}
    }
}

fn note(outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = outcome {
        tracing::debug!(error, "a connection broke");
    }
}
