//! The routes of scout.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use service_kit::outbound::Outbound;
use service_kit::{Problem, RequestContext};

/// `GET /scout`: axon's answer, byte by byte.
pub(crate) async fn answer(
    State(axon): State<Arc<Outbound>>,
    Extension(context): Extension<RequestContext>,
) -> Response {
    match axon.call(&context, Request::new(Bytes::new())).await {
        Ok(response) => (response.status(), response.into_body()).into_response(),
        Err(_) => Problem::new(StatusCode::BAD_GATEWAY, "axon failed").into_response(),
    }
}
