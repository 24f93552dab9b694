//! The inbound stack, in one function: everything around a request, in its order.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use tokio::time::Instant;

use super::admission::Admission;
use super::body_reader::BodyReader;
use super::host;
use super::lifecycle::{Lifecycle, LifecyclePhase};
use super::problem::{Problem, render_problem};
use super::routes::{GuardedRoutes, Routes};
use crate::request::correlation;
use crate::request::sampler::Sampler;
use crate::request::time_limit::TIME_LIMIT_MIN_MS;
use crate::service::HEALTH_PATH;
use crate::settings::Base;
use crate::sigv4::SignatureSetupError;
use crate::telemetry::access::Observer;
use crate::{Counter, Dependencies, Metrics, RequestContext};

/// A service's routes inside the inbound stack. Clones share it. It is one function instead of axum
/// layers: each layer boxes a future and clones the service below it for every request, and axum
/// clones layers for each connection, where a limit has to be shared.
#[derive(Clone)]
pub struct App(Arc<AppInner>);

struct AppInner {
    deadline: Duration,
    sampler: Sampler,
    metrics: Metrics,
    observer: Observer,
    lifecycle: Lifecycle,
    bodies: BodyReader,
    admission: Admission,
    panics: Counter,
    routes: GuardedRoutes,
}

impl App {
    /// # Errors
    /// Where a route requires signatures, and there is nothing to verify them with.
    pub fn new(
        routes: Routes,
        base: &Base,
        dependencies: &Dependencies,
    ) -> Result<Self, SignatureSetupError> {
        let deadline = Duration::from_millis(base.deadline_ms);
        // The other halves of the time and of the connections are for answers and other requests.
        let incomplete_max = base.in_flight_max.min(base.connections_max) / 2;
        let metrics = &dependencies.metrics;
        Ok(Self(Arc::new(AppInner {
            deadline,
            sampler: base.sampler,
            metrics: metrics.clone(),
            bodies: BodyReader::new(deadline / 2, incomplete_max.max(1), metrics),
            observer: Observer::new(metrics.clone(), dependencies.traces.clone()),
            lifecycle: dependencies.lifecycle.clone(),
            admission: Admission::new(base, metrics),
            panics: metrics.counter("panics", &[]),
            routes: routes.guarded(base, dependencies)?,
        })))
    }

    /// From the outside in: correlation id, access line, `Connection: close`, errors as problems,
    /// checks of the request (host, time limit, body), load shedding, deadline, panics, signature,
    /// routes.
    pub async fn answer(&self, mut request: Request) -> Response {
        let inner = &*self.0;
        let context = RequestContext::of(request.headers(), inner.sampler, inner.deadline);
        request.extensions_mut().insert(context.clone());
        let path = inner.routes.path(request.uri().path());
        if let Some(path) = path {
            context.set_route(path.template);
        }
        let method = request.method().clone();
        let may_be_shed = request.uri().path() != HEALTH_PATH;
        // HTTP/2 has no `Connection` header; there the server sends GOAWAY.
        let has_connection_header = request.version() <= Version::HTTP_11;
        let has_body = !request.body().is_end_stream();
        let is_chunked = has_body && request.headers().contains_key(TRANSFER_ENCODING);
        // Pinned in place: otherwise each wrapping future would contain and move all futures
        // below it.
        let answer = pin!(async {
            let received = inner.receive(&mut request, &context).await;
            let is_unread = has_body && received.is_err();
            let response = match received {
                Ok(body) => {
                    let arrived = if has_body {
                        Instant::now()
                    } else {
                        context.began()
                    };
                    let routed = pin!(inner.routes.answer(path, &context, request, body));
                    let caught = AssertUnwindSafe(routed).catch_unwind();
                    let response = pin!(caught.map(|result| inner.or_internal_error(result)));
                    let admission = &inner.admission;
                    admission
                        .admit(&context, arrived, may_be_shed, response)
                        .await
                }
                Err(problem) => problem.into_response(),
            };
            let mut response = render_problem(response, &context);
            let is_draining = inner.lifecycle.phase() == LifecyclePhase::Draining;
            if has_connection_header && (is_chunked || is_unread || is_draining) {
                close_connection(&mut response);
            }
            response
        });
        let mut response = inner.observer.observe(&context, &method, answer).await;
        set_common_headers(&mut response, &context);
        response
    }
}

impl App {
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

impl AppInner {
    /// Checks the host and the time limit, and takes the whole body.
    async fn receive(
        &self,
        request: &mut Request,
        context: &RequestContext,
    ) -> Result<Bytes, Problem> {
        host::check(request)?;
        check_time_limit(context)?;
        if request.body().is_end_stream() {
            return Ok(Bytes::new());
        }
        check_coding(request)?;
        let body = mem::take(request.body_mut());
        self.bodies.read(body, context).await
    }

    /// The panic message is on the line of the panic hook, and not in the answer.
    fn or_internal_error(&self, result: std::thread::Result<Response>) -> Response {
        result.unwrap_or_else(|_| {
            self.panics.add(1);
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, "the service failed").into_response()
        })
    }
}

/// hyper takes any list of codings that ends with `chunked`, and undoes only that one. The answer is
/// not 501, as RFC 9112 (section 6.1) would have it: what a caller does wrong is no failure of ours.
fn check_coding(request: &Request) -> Result<(), Problem> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Ok(());
    }
    let detail = "a transfer coding besides chunked is not understood";
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

fn check_time_limit(context: &RequestContext) -> Result<(), Problem> {
    if context.time_limit().is_too_little() {
        let detail = format!("X-Request-Timeout-Ms must be at least {TIME_LIMIT_MIN_MS}");
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    }
    Ok(())
}

/// Sets `X-Correlation-ID`, and `Cache-Control: no-store`: an answer is for one caller and one
/// moment.
fn set_common_headers(response: &mut Response, context: &RequestContext) {
    let headers = response.headers_mut();
    headers.insert(correlation::HEADER, context.correlation_id().header_value());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Called while draining, after a body that was not read to its end, and after a chunked body:
/// hyper ignores a `Content-Length` beside it, so it may be an attempt at request smuggling, for
/// which RFC 9112 (section 6.1) requires the connection to be closed.
fn close_connection(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}
