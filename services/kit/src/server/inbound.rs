//! What every request passes on its way in, in one order.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;

use super::admission::Admission;
use super::body_reader::Arrivals;
use super::host;
use super::lifecycle::{Lifecycle, Phase};
use super::problem::{Problem, render_problem};
use crate::request::correlation;
use crate::request::time_limit::LEAST_MS;
use crate::service::HEALTH_PATH;
use crate::settings::Base;
use crate::telemetry::access::{Observer, note_route};
use crate::{Counter, Dependencies, RequestContext};

/// A service's routes and all that goes around them. Copies are of the same. It is one function and
/// not layers of a router: each of those would box a future and copy what lies below it, for every
/// request, and be made anew for each connection, which a limit must not be.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    deadline: Duration,
    observer: Observer,
    lifecycle: Lifecycle,
    arrivals: Arrivals,
    admission: Admission,
    panics: Counter,
    routes: Router,
}

impl App {
    pub fn new(routes: Router, base: &Base, dependencies: &Dependencies) -> Self {
        let deadline = Duration::from_millis(base.deadline_ms);
        // The other half of the time is for the answer, the other half of the connections for others.
        let waiting_max = base.in_flight_max.min(base.connections_max) / 2;
        Self(Arc::new(Inner {
            deadline,
            arrivals: Arrivals::new(deadline / 2, waiting_max.max(1)),
            observer: Observer::new(dependencies.metrics.clone(), dependencies.traces.clone()),
            lifecycle: dependencies.lifecycle.clone(),
            admission: Admission::new(base.in_flight_max, &dependencies.metrics),
            panics: dependencies.metrics.counter("panics", &[]),
            routes: routes.layer(MapRequestLayer::new(note_route)),
        }))
    }

    /// From outside: correlation id, access line, `Connection: close` where due, errors to
    /// problems, what is the caller's to get right (host, time, body), shedding and deadline, panics,
    /// routes.
    pub async fn answer(&self, mut request: Request) -> Response {
        let inner = &*self.0;
        let context = RequestContext::of(request.headers(), inner.deadline);
        request.extensions_mut().insert(context.clone());
        let method = request.method().clone();
        let may_be_shed = request.uri().path() != HEALTH_PATH;
        // HTTP/2 has no such header: there, the server's GOAWAY does it.
        let has_header = request.version() <= Version::HTTP_11;
        let has_body = !request.body().is_end_stream();
        let is_chunked = has_body && request.headers().contains_key(TRANSFER_ENCODING);
        // Pinned where it is: each step would otherwise copy, and have room for, all below it.
        let answer = pin!(async {
            let received = inner.receive(&mut request, &context).await;
            let is_unread = has_body && received.is_err();
            let response = match received {
                Ok(()) => {
                    let routed = pin!(inner.route(request));
                    let unharmed = AssertUnwindSafe(routed).catch_unwind();
                    let unharmed = pin!(unharmed.map(|routed| inner.unharmed(routed)));
                    inner.admission.admit(&context, may_be_shed, unharmed).await
                }
                Err(problem) => problem.into_response(),
            };
            let mut response = render_problem(response, &context);
            let is_draining = inner.lifecycle.phase() == Phase::Draining;
            if has_header && (is_chunked || is_unread || is_draining) {
                close_connection(&mut response);
            }
            response
        });
        let mut response = inner.observer.observe(&context, &method, answer).await;
        set_common_headers(&mut response, &context);
        response
    }
}

impl Inner {
    /// Makes sure that the request has what is the caller's to give, and its body whole.
    async fn receive(
        &self,
        request: &mut Request,
        context: &RequestContext,
    ) -> Result<(), Problem> {
        host::check(request)?;
        check_time_limit(context)?;
        if !request.body().is_end_stream() {
            let body = mem::take(request.body_mut());
            *request.body_mut() = self.arrivals.whole(body, context).await?.into();
        }
        Ok(())
    }

    async fn route(&self, request: Request) -> Response {
        let answer = self.routes.clone().oneshot(request).await;
        answer.unwrap_or_else(|never| match never {})
    }

    /// What was said in panicking is on the line that the panic hook wrote, not in the answer.
    fn unharmed(&self, routed: std::thread::Result<Response>) -> Response {
        routed.unwrap_or_else(|_| {
            self.panics.add(1);
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, "the service failed").into_response()
        })
    }
}

fn check_time_limit(context: &RequestContext) -> Result<(), Problem> {
    if context.time_limit().is_too_little() {
        let detail = format!("X-Request-Timeout-Ms must be at least {LEAST_MS}");
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    }
    Ok(())
}

/// Sets `X-Correlation-ID`, and `Cache-Control: no-store`: an answer is for one caller and one moment.
fn set_common_headers(response: &mut Response, context: &RequestContext) {
    let headers = response.headers_mut();
    headers.insert(correlation::HEADER, context.correlation_id().header_value());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// While draining; where a body is not waited for any longer; and after a body in chunks: hyper passes
/// over a length that a request gives besides, so this may be an attempt at smuggling a second
/// request, and RFC 9112 (section 6.1) has the connection closed.
fn close_connection(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}
