//! Load shedding and the deadline: above a number of requests in flight the next one is answered
//! 503 at once, so that those in flight can be finished, and every request ends by its deadline.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::problem::Problem;
use crate::{Counter, Gauge, Metrics, RequestContext, Unit};

/// Requests take far less than a second, so by then there is capacity, here or in another task.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Shared by all connections.
pub(crate) struct Admission {
    in_flight_max: usize,
    in_flight: AtomicUsize,
    in_flight_gauge: Gauge,
    shed: Counter,
}

/// Counts a request as in flight until it is dropped.
struct AdmittedRequest<'a>(&'a Admission);

impl Admission {
    pub(crate) fn new(in_flight_max: usize, metrics: &Metrics) -> Self {
        Self {
            in_flight_max,
            in_flight: AtomicUsize::new(0),
            in_flight_gauge: metrics.gauge("in_flight", Unit::Count, &[]),
            shed: metrics.counter("shed", &[]),
        }
    }

    /// Polls `answer` until its deadline, unless too many requests are in flight. A request that
    /// may not be shed is not counted.
    pub(crate) async fn admit(
        &self,
        context: &RequestContext,
        may_be_shed: bool,
        answer: Pin<&mut impl Future<Output = Response>>,
    ) -> Response {
        let _in_flight = match may_be_shed.then(|| self.enter()) {
            Some(None) => return overloaded(),
            entered => entered,
        };
        until_deadline(context, answer).await
    }

    fn enter(&self) -> Option<AdmittedRequest<'_>> {
        let entered = AdmittedRequest(self);
        self.in_flight_gauge.add(1.0);
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if before < self.in_flight_max {
            return Some(entered);
        }
        self.shed.add(1);
        None
    }
}

impl Drop for AdmittedRequest<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.in_flight_gauge.add(-1.0);
    }
}

async fn until_deadline(
    context: &RequestContext,
    answer: Pin<&mut impl Future<Output = Response>>,
) -> Response {
    let deadline = context.deadline();
    tokio::time::timeout_at(deadline, answer)
        .await
        .unwrap_or_else(|_| {
            if !context.deadline_is_callers() {
                let deadline_ms = (deadline - context.began()).as_millis();
                tracing::warn!(deadline_ms, "the deadline passed");
            }
            Problem::deadline_passed(context).into_response()
        })
}

fn overloaded() -> Response {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is overloaded");
    ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], problem).into_response()
}
