//! What every request passes on its way in, in one ordered list.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::access::{Observer, note_route, observe};
use crate::correlation::correlate;
use crate::lifecycle::{Lifecycle, Phase};
use crate::problem::render_problems;
use crate::settings::Base;
use crate::{Parts, Problem};

/// Far above what any route of ours is sent.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Wraps the whole router as one service, outermost layer first. Layers of a router itself would
/// be made anew for each connection, and a limit that is held by a layer would then limit nothing.
pub fn inbound(router: Router, base: &Base, parts: &Parts) -> Router {
    let deadline = Duration::from_millis(base.deadline_ms);
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(deadline, correlate))
        .layer(from_fn_with_state(Observer::new(parts), observe))
        .layer(from_fn_with_state(
            parts.lifecycle.clone(),
            close_while_draining,
        ))
        .layer(from_fn(render_problems))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(deadline, stop_at_deadline))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .service(router.layer(MapRequestLayer::new(note_route)));
    Router::new().fallback_service(stack)
}

async fn close_while_draining(
    State(lifecycle): State<Lifecycle>,
    request: Request,
    next: Next,
) -> Response {
    // HTTP/2 has no such header: there, the server's GOAWAY does it.
    let has_header = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if has_header && lifecycle.phase() == Phase::Draining {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn stop_at_deadline(
    State(deadline): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    tokio::time::timeout(deadline, next.run(request))
        .await
        .unwrap_or_else(|_| {
            tracing::warn!(deadline_ms = deadline.as_millis(), "the deadline passed");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed").into_response()
        })
}

/// What was said in panicking is on the line that the panic hook wrote, not in the answer.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed").into_response()
}
