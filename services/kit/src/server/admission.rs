//! Load shedding and the deadline: above a number of requests in flight the next one is answered
//! 503 at once, so that those in flight can be finished, and every request ends by its deadline.

use std::pin::Pin;

use axum::response::{IntoResponse, Response};
use futures_util::future::poll_immediate;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::limit::InFlightLimit;
use super::problem::Problem;
use crate::settings::Base;
use crate::{Counter, Level, Metrics, RequestContext};

/// Requests take far less than a second, so by then there is capacity, here or in another task.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Shared by all connections.
pub(crate) struct Admission {
    limit: InFlightLimit,
    in_flight: Level,
    shed: Counter,
}

/// Counts a request as in flight until it is dropped.
struct AdmittedRequest<'a> {
    admission: &'a Admission,
    admitted: Instant,
    is_answered: bool,
}

impl Admission {
    pub(crate) fn new(base: &Base, metrics: &Metrics) -> Self {
        Self {
            limit: InFlightLimit::new(base, metrics),
            in_flight: metrics.level("in_flight"),
            shed: metrics.counter("shed", &[]),
        }
    }

    /// Polls `answer` until its deadline, unless too many requests are in flight. A request that
    /// may not be shed is not counted. `arrived` is when all of it was there.
    pub(crate) async fn admit(
        &self,
        context: &RequestContext,
        arrived: Instant,
        may_be_shed: bool,
        mut answer: Pin<&mut impl Future<Output = Response>>,
    ) -> Response {
        let in_flight = match may_be_shed.then(|| self.enter(arrived)) {
            Some(None) => return overloaded(),
            entered => entered.flatten(),
        };
        // An answer that waits for nothing needs no timer, which every request would register with
        // the one runtime.
        let answered = match poll_immediate(&mut answer).await {
            Some(response) => Ok(response),
            None => timeout_at(context.deadline(), answer).await,
        };
        match answered {
            Ok(response) => {
                if let Some(mut in_flight) = in_flight {
                    in_flight.is_answered = true;
                }
                response
            }
            Err(_) => deadline_passed(context),
        }
    }

    fn enter(&self, admitted: Instant) -> Option<AdmittedRequest<'_>> {
        if self.in_flight.add() < self.limit.get() {
            return Some(AdmittedRequest {
                admission: self,
                admitted,
                is_answered: false,
            });
        }
        self.in_flight.remove();
        self.shed.add(1);
        None
    }
}

impl Drop for AdmittedRequest<'_> {
    fn drop(&mut self) {
        let in_flight = self.admission.in_flight.remove();
        let limit = &self.admission.limit;
        limit.ended(self.admitted, in_flight, self.is_answered);
    }
}

fn deadline_passed(context: &RequestContext) -> Response {
    if !context.deadline_is_callers() {
        let deadline_ms = (context.deadline() - context.began()).as_millis();
        tracing::warn!(deadline_ms, "the deadline passed");
    }
    Problem::deadline_passed(context).into_response()
}

fn overloaded() -> Response {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is overloaded");
    ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], problem).into_response()
}
