//! What every request passes on its way in, in one order.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use http_body_util::Limited;
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;

use crate::access::{Observer, note_route};
use crate::admission::{Admission, NEVER_SHED};
use crate::correlation;
use crate::lifecycle::{Lifecycle, Phase};
use crate::problem::render_problem;
use crate::settings::Base;
use crate::{Parts, Problem};

/// Far above what any route of ours is sent.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A service's routes and all that goes around them. Copies are of the same. It is one function and
/// not layers of a router: each of those would box a future and copy what lies below it, for every
/// request, and be made anew for each connection, which a limit must not be.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    deadline: Duration,
    observer: Observer,
    lifecycle: Lifecycle,
    admission: Admission,
    routes: Router,
}

impl App {
    pub fn new(routes: Router, base: &Base, parts: &Parts) -> Self {
        Self(Arc::new(Inner {
            deadline: Duration::from_millis(base.deadline_ms),
            observer: Observer::new(parts),
            lifecycle: parts.lifecycle.clone(),
            admission: Admission::new(base.in_flight_max, &parts.metrics),
            routes: routes.layer(MapRequestLayer::new(note_route)),
        }))
    }

    /// From outside: correlation id, access line, `Connection: close` where due, errors to
    /// problems, shedding and deadline, panics, body limit, routes.
    pub async fn answer(&self, mut request: Request) -> Response {
        let inner = &*self.0;
        let context = correlation::context(request.headers(), inner.deadline);
        request.extensions_mut().insert(context.clone());
        let method = request.method().clone();
        let may_be_shed = request.uri().path() != NEVER_SHED;
        // HTTP/2 has no such header: there, the server's GOAWAY does it.
        let has_header = request.version() <= Version::HTTP_11;
        let has_body = !request.body().is_end_stream();
        let is_chunked = has_body && request.headers().contains_key(TRANSFER_ENCODING);
        // Pinned where they are: each step would otherwise copy, and have room for, all below it.
        let routed = pin!(inner.route(request));
        let answer = pin!(async {
            let unharmed = AssertUnwindSafe(routed).catch_unwind();
            let unharmed = pin!(unharmed.map(|routed| routed.unwrap_or_else(panicked)));
            let admitted = inner.admission.admit(&context, may_be_shed, unharmed);
            let mut response = render_problem(admitted.await, &context);
            if has_header && (is_chunked || inner.lifecycle.phase() == Phase::Draining) {
                close_connection(&mut response);
            }
            response
        });
        let mut response = inner.observer.observe(&context, &method, answer).await;
        correlation::mark(&mut response, &context);
        response
    }
}

impl Inner {
    async fn route(&self, request: Request) -> Response {
        match limited(request) {
            Ok(request) => {
                let answer = self.routes.clone().oneshot(request).await;
                answer.unwrap_or_else(|never| match never {})
            }
            Err(problem) => problem.into_response(),
        }
    }
}

/// A body that says it is too large is not read, and one that does not say only up to the limit.
fn limited(request: Request) -> Result<Request, Problem> {
    let body = request.body();
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Problem::new(status, "the body is too large"));
    }
    if body.is_end_stream() {
        return Ok(request);
    }
    Ok(request.map(|body| Body::new(Limited::new(body, BODY_BYTES_MAX))))
}

/// While draining, and after a body in chunks: hyper passes over a length that a request gives
/// besides, so this may be an attempt at smuggling a second request, and RFC 9112 (section 6.1)
/// has the connection closed.
fn close_connection(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

/// What was said in panicking is on the line that the panic hook wrote, not in the answer.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed").into_response()
}
