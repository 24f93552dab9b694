//! Who is let in, and for how long: above a number of requests in flight the next one is turned away
//! at once, while those that are in can still be answered, and each one ends by its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::{Counter, Gauge, Metrics, Problem, RequestContext, Unit};

/// A service that says nothing of its health under load is replaced, which makes the load of the
/// others worse.
const NEVER_SHED: &str = "/health";
/// Requests take far less than a second: by then there is room, or there is somebody else.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// One for all connections. Copies are of the same one.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    in_flight_max: usize,
    in_flight: AtomicUsize,
    in_flight_gauge: Gauge,
    shed: Counter,
}

/// A request that is in, until it is answered or given up.
struct InFlight<'a>(&'a Inner);

impl Admission {
    pub(crate) fn new(in_flight_max: usize, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            in_flight_max,
            in_flight: AtomicUsize::new(0),
            in_flight_gauge: metrics.gauge("in_flight", Unit::Count, &[]),
            shed: metrics.counter("shed", &[]),
        }))
    }

    fn enter(&self) -> Option<InFlight<'_>> {
        let inner = &*self.0;
        let entered = InFlight(inner);
        inner.in_flight_gauge.add(1.0);
        let before = inner.in_flight.fetch_add(1, Ordering::Relaxed);
        if before < inner.in_flight_max {
            return Some(entered);
        }
        inner.shed.add(1);
        None
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.in_flight_gauge.add(-1.0);
    }
}

/// The layer. It stands behind the one that makes the context.
pub(crate) async fn admit(
    State(admission): State<Admission>,
    Extension(context): Extension<RequestContext>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == NEVER_SHED {
        return until_deadline(&context, next.run(request)).await;
    }
    match admission.enter() {
        Some(_in_flight) => until_deadline(&context, next.run(request)).await,
        None => overloaded(),
    }
}

async fn until_deadline(
    context: &RequestContext,
    response: impl Future<Output = Response>,
) -> Response {
    let deadline = context.deadline();
    tokio::time::timeout_at(deadline, response)
        .await
        .unwrap_or_else(|_| {
            let deadline_ms = (deadline - context.began()).as_millis();
            tracing::warn!(deadline_ms, "the deadline passed");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed").into_response()
        })
}

fn overloaded() -> Response {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is overloaded");
    ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], problem).into_response()
}
