//! What every request passes on its way in, in one ordered list.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::access::{Observer, note_route};
use crate::admission::Admission;
use crate::correlation;
use crate::lifecycle::{Lifecycle, Phase};
use crate::problem::render_problem;
use crate::settings::Base;
use crate::{Parts, Problem};

/// Far above what any route of ours is sent.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Wraps the whole router as one service, outermost layer first. Layers of a router itself would
/// be made anew for each connection, and a limit that is held by a layer would then limit nothing.
pub fn inbound(router: Router, base: &Base, parts: &Parts) -> Router {
    let around = Around {
        deadline: Duration::from_millis(base.deadline_ms),
        observer: Observer::new(parts),
        lifecycle: parts.lifecycle.clone(),
        admission: Admission::new(base.in_flight_max, &parts.metrics),
    };
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::new(around), go_around))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .service(router.layer(MapRequestLayer::new(note_route)));
    Router::new().fallback_service(stack)
}

/// What the outermost steps need.
struct Around {
    deadline: Duration,
    observer: Observer,
    lifecycle: Lifecycle,
    admission: Admission,
}

/// The outermost steps: correlation id, span and access line, `Connection: close` where due, errors
/// to problems, shedding and deadline. One layer, because as layers of their own each would box a
/// future and copy all that lies below it, for every request.
async fn go_around(
    State(around): State<Arc<Around>>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = correlation::context(request.headers(), around.deadline);
    request.extensions_mut().insert(context.clone());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    // HTTP/2 has no such header: there, the server's GOAWAY does it.
    let has_header = request.version() <= Version::HTTP_11;
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let answer = async {
        let admitted = around
            .admission
            .admit(&context, uri.path(), next.run(request));
        let mut response = render_problem(admitted.await, &context);
        if has_header && (is_chunked || around.lifecycle.phase() == Phase::Draining) {
            close_connection(&mut response);
        }
        response
    };
    let mut response = around.observer.observe(&context, &method, answer).await;
    correlation::mark(&mut response, &context);
    response
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
