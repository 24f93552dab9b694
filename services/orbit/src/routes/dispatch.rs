//! `POST /dispatch`: asks governance, then axon. Without a yes from governance axon is not called.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use service_kit::outbound::with_causes;
use service_kit::{Clock, Problem, RequestContext};

use crate::clients::axon::{Axon, AxonError};
use crate::clients::governance::{Decision, Governance};

const DEFAULT_INTENT: &str = "call_reasoning";

#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) governance: Governance,
    pub(crate) axon: Axon,
    pub(crate) clock: Clock,
}

#[derive(Deserialize)]
struct DispatchRequest {
    intent: String,
}

#[derive(Serialize)]
struct Dispatched {
    status: &'static str,
    message: String,
    timestamp: String,
}

#[derive(Serialize)]
struct Denied {
    status: &'static str,
    reason: String,
    timestamp: String,
}

pub(crate) async fn dispatch(
    State(dispatcher): State<Dispatcher>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let intent = intent(&headers, &body)?;
    let decision = dispatcher
        .governance
        .decide(&intent, &context)
        .await
        .map_err(|error| {
            tracing::error!(error = with_causes(&error), "governance cannot answer");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "governance cannot answer")
        })?;
    if let Decision::Denied { reason } = decision {
        tracing::info!(intent, reason, "denied");
        let timestamp = dispatcher.clock.now_text();
        let denied = Denied {
            status: "denied",
            reason,
            timestamp,
        };
        return Ok((StatusCode::FORBIDDEN, Json(denied)).into_response());
    }
    let message = dispatcher.axon.reason(&context).await.map_err(|error| {
        tracing::error!(error = with_causes(&error), "axon failed");
        match error {
            AxonError::Timeout => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "axon did not answer in time")
            }
            AxonError::Wrong(_) => {
                Problem::new(StatusCode::BAD_GATEWAY, "axon did not answer as it should")
            }
        }
    })?;
    let timestamp = dispatcher.clock.now_text();
    Ok(Json(Dispatched {
        status: "success",
        message,
        timestamp,
    })
    .into_response())
}

fn intent(headers: &HeaderMap, body: &[u8]) -> Result<String, Problem> {
    if body.is_empty() {
        return Ok(DEFAULT_INTENT.to_owned());
    }
    if !is_json(headers) {
        let detail = "the body must be of type application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    serde_json::from_slice(body)
        .map(|request: DispatchRequest| request.intent)
        .map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is wrong: {error}"),
            )
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
