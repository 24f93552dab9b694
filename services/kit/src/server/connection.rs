//! One connection: HTTP/1.1 or HTTP/2 by its first bytes, and how long it may wait for a request.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::linger::{Lingering, WRITE_TIMEOUT};
use super::unsent::{Leaving, PIECE_BYTES, Unsent};
use crate::App;
use crate::inbound::BODY_BYTES_MAX;

/// Request line and headers together: what HTTP/1.1 keeps of a head that is not complete yet, and
/// the size of HTTP/2's header list. Above it the answer is 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a new connection may take until the head of its first request is complete.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for each further request, counted from the last answer. It is above the 60 s for which
/// AWS's load balancers keep an idle connection by default: the side that asks has to close first,
/// or it asks on a connection that is being closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
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
            let activity = Arc::clone(&in_flight.0);
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

/// What a connection is at. A request costs it a few atomic operations and no timer.
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// Of the last answer, in milliseconds since it was opened; 0 before the first one.
    answered_ms: AtomicU64,
    unread: AtomicBool,
    unsent_of_all: Arc<Unsent>,
    unsent_bytes: AtomicUsize,
    /// Since when there has always been something unsent, as `answered_ms`.
    unsent_since_ms: AtomicU64,
}

impl Activity {
    pub(super) fn new(unsent_of_all: Arc<Unsent>) -> Self {
        Self {
            unsent_of_all,
            unsent_bytes: AtomicUsize::new(0),
            unsent_since_ms: AtomicU64::new(0),
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            answered_ms: AtomicU64::new(0),
            unread: AtomicBool::new(false),
        }
    }

    pub(super) fn requests_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// None while a request is in flight.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let answered = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        (self.requests_in_flight() == 0).then(|| self.opened + answered)
    }

    fn note_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }

    /// Whether the last answer may have come before the end of its request's body.
    pub(super) fn may_have_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Of an answer that has just been made.
    pub(super) fn add_unsent(&self, bytes: usize) {
        if self.unsent_bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            let answered_ms = self.answered_ms.load(Ordering::Relaxed);
            self.unsent_since_ms.store(answered_ms, Ordering::Relaxed);
        }
        self.unsent_of_all.add(bytes);
    }

    pub(super) fn remove_unsent(&self, bytes: usize) {
        self.unsent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.unsent_of_all.remove(bytes);
    }

    /// How much of its answers the peer has not taken, and since when there was always some.
    pub(super) fn unsent(&self) -> (usize, Instant) {
        let since = Duration::from_millis(self.unsent_since_ms.load(Ordering::Relaxed));
        (
            self.unsent_bytes.load(Ordering::Relaxed),
            self.opened + since,
        )
    }

    /// Comes when the connection has waited too long for a request.
    async fn ends(&self) {
        loop {
            let limit = match self.answered_ms.load(Ordering::Relaxed) {
                0 => FIRST_REQUEST_TIMEOUT,
                _ => IDLE_TIMEOUT,
            };
            match self.waits_since() {
                None => sleep(limit).await,
                Some(since) if since.elapsed() < limit => sleep_until(since + limit).await,
                Some(_) => return,
            }
        }
    }
}

struct InFlight(Arc<Activity>);

impl InFlight {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let elapsed = self.0.opened.elapsed().as_millis();
        let answered_ms = u64::try_from(elapsed).unwrap_or(u64::MAX).max(1);
        self.0.answered_ms.store(answered_ms, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
