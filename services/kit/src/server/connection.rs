//! Serves one connection: HTTP/1.1 or HTTP/2 by its first bytes, until it is idle for too long or
//! the server stops.

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
use super::half_close::{DrainingStream, WRITE_TIMEOUT};
use super::inbound::App;
use super::tracked_body::{PIECE_BYTES, TrackedBody};

/// The largest request line and headers together: the buffer for an incomplete HTTP/1.1 head, and
/// the header list of HTTP/2. Above it the answer is 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The time for HTTP/2's GOAWAY, and for what is being written.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

const STREAMS_MAX: u32 = 128;
/// A stream's window holds one body, and a connection's four: it buffers no more that is unread.
const STREAM_WINDOW: usize = BODY_BYTES_MAX;
const CONNECTION_WINDOW: usize = 4 * BODY_BYTES_MAX;

pub(super) type Protocols = Builder<StreamExecutor>;

/// Runs the streams of HTTP/2 with a time limit, after which a stream is reset: its peer may not
/// take its answer.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    time_limit: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(timeout(self.time_limit, stream));
    }
}

/// HTTP/2 pings are not needed: a connection whose peer is gone ends by the idle timeout or a
/// deadline.
pub(super) fn protocols(deadline: Duration) -> Protocols {
    let bytes = |size| u32::try_from(size).expect("the limits are small");
    let time_limit = deadline + WRITE_TIMEOUT;
    let mut builder = Builder::new(StreamExecutor { time_limit });
    // A caller may end its side right after its request, as `nc -N` and old clients do, and still
    // reads the answer. It looks like one that has gone away, whose request is finished as well.
    builder
        .http1()
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .max_header_list_size(bytes(HEAD_BYTES_MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(bytes(STREAM_WINDOW))
        .initial_connection_window_size(bytes(CONNECTION_WINDOW))
        .max_send_buf_size(PIECE_BYTES);
    builder
}

/// Serves until the peer closes, the connection is idle for too long, or `finishing` changes.
pub(super) async fn serve_connection(
    stream: TcpStream,
    app: App,
    protocols: Arc<Protocols>,
    activity: Arc<Activity>,
    mut finishing: watch::Receiver<()>,
) {
    let io = TokioIo::new(DrainingStream::new(stream, Arc::clone(&activity)));
    let idle = Arc::clone(&activity);
    // One for each connection: all of them would write a shared reference count at every request.
    let app = Arc::new(app);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_flight = InFlight::new(&activity);
        let has_body = !request.body().is_end_stream();
        let app = Arc::clone(&app);
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
            Ok::<_, Infallible>(answer.map(|body| TrackedBody::new(body, activity)))
        }
    });
    let mut connection = pin!(protocols.serve_connection(io, service));
    let mut idle_timeout = pin!(idle.idle_timeout());
    tokio::select! {
        biased;
        outcome = connection.as_mut() => return log_outcome(outcome),
        () = idle_timeout.as_mut() => {
            connection.as_mut().graceful_shutdown();
            if let Ok(outcome) = timeout(SHUTDOWN_TIMEOUT, connection).await {
                log_outcome(outcome);
            }
            return;
        }
        _ = finishing.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        outcome = connection => log_outcome(outcome),
        () = idle_timeout => {}
    }
}

fn log_outcome(outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = outcome {
        tracing::debug!(error, "a connection broke");
    }
}
