//! The request's span, which puts the correlation id on every line logged meanwhile, and one
//! access line for each request.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::CorrelationId;

/// Filled by the router, read by the access line, which lies outside the router: so there is a
/// route on the line of a request that panicked or ran out of time, too.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

/// Level error, so that no level of `RUST_LOG` takes the id off the lines that are left.
pub(crate) async fn log_access(mut request: Request, next: Next) -> Response {
    let id = request.extensions().get::<CorrelationId>().cloned();
    let correlation_id = id.as_ref().map_or("", CorrelationId::as_str);
    let span = tracing::error_span!("request", correlation_id);
    let route = Route::default();
    request.extensions_mut().insert(route.clone());
    let method = request.method().clone();
    let began = Instant::now();
    async move {
        let response = next.run(request).await;
        tracing::info!(
            method = method.as_str(),
            route = route.0.get().map_or("unmatched", MatchedPath::as_str),
            status = response.status().as_u16(),
            duration_ms = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
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
    if let (Some(route), Some(path)) = (extensions.get::<Route>(), extensions.get::<MatchedPath>())
    {
        route.0.get_or_init(|| path.clone());
    }
    next.run(request).await
}
