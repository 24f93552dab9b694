//! The request's span, which puts the correlation id on every line logged meanwhile, and one
//! access line for each request.

use axum::Extension;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::RequestContext;

/// Level error, so that no level of `RUST_LOG` takes the id off the lines that are left.
pub(crate) async fn log_access(
    Extension(context): Extension<RequestContext>,
    request: Request,
    next: Next,
) -> Response {
    let correlation_id = context.correlation_id().as_str();
    let span = tracing::error_span!("request", correlation_id);
    let method = request.method().clone();
    async {
        let response = next.run(request).await;
        tracing::info!(
            method = method.as_str(),
            route = context.route().unwrap_or("unmatched"),
            status = response.status().as_u16(),
            duration_ms = (context.began().elapsed().as_secs_f64() * 1e6).round() / 1e3,
            "request"
        );
        response
    }
    .instrument(span)
    .await
}

/// The layer next to the router, where the route is known.
pub(crate) async fn note_route(request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    if let (Some(context), Some(path)) = (
        extensions.get::<RequestContext>(),
        extensions.get::<MatchedPath>(),
    ) {
        context.set_route(path);
    }
    next.run(request).await
}
