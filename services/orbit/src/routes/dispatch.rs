//! `POST /dispatch`: asks governance, then axon. Without a yes from governance axon is not called.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use service_kit::outbound::with_causes;
use service_kit::{Clock, Problem, RequestContext};

use crate::clients::axon::{Axon, AxonError};
use crate::clients::governance::{Decision, Governance, GovernanceError};

const DEFAULT_INTENT: &str = "call_reasoning";

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
    State(dispatcher): State<Arc<Dispatcher>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Undispatched> {
    let intent = intent(&headers, &body)?;
    let Dispatcher {
        governance,
        axon,
        clock,
    } = &*dispatcher;
    if let Decision::Denied { reason } = governance.decide(&intent, &context).await? {
        tracing::info!(intent, reason, "denied");
        let timestamp = clock.now_text();
        let denied = Denied {
            status: "denied",
            reason,
            timestamp,
        };
        return Ok((StatusCode::FORBIDDEN, Json(denied)).into_response());
    }
    let message = axon.reason(&context).await?;
    let timestamp = clock.now_text();
    Ok(Json(Dispatched {
        status: "success",
        message,
        timestamp,
    })
    .into_response())
}

/// Why there was no dispatch, other than that governance forbade it.
pub(crate) enum Undispatched {
    Request(Problem),
    Governance(GovernanceError),
    Axon(AxonError),
}

impl From<Problem> for Undispatched {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

impl From<GovernanceError> for Undispatched {
    fn from(error: GovernanceError) -> Self {
        tracing::error!(error = with_causes(&error), "governance cannot answer");
        Self::Governance(error)
    }
}

impl From<AxonError> for Undispatched {
    fn from(error: AxonError) -> Self {
        tracing::error!(error = with_causes(&error), "axon failed");
        Self::Axon(error)
    }
}

impl IntoResponse for Undispatched {
    fn into_response(self) -> Response {
        match self {
            Self::Request(problem) => problem.into_response(),
            Self::Governance(error) => match error {
                GovernanceError::Deadline => deadline_passed(),
                GovernanceError::BreakerOpen { retry_after } => {
                    later("governance cannot answer", retry_after)
                }
                GovernanceError::Throttled { retry_after } => {
                    later("governance cannot answer", retry_after.unwrap_or_default())
                }
                _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "governance cannot answer")
                    .into_response(),
            },
            Self::Axon(error) => match error {
                AxonError::Deadline => deadline_passed(),
                AxonError::BreakerOpen { retry_after } => {
                    later("axon is not called for a while", retry_after)
                }
                AxonError::Timeout(_) => {
                    Problem::new(StatusCode::GATEWAY_TIMEOUT, "axon did not answer in time")
                        .into_response()
                }
                AxonError::Wrong(_) => {
                    Problem::new(StatusCode::BAD_GATEWAY, "axon did not answer as it should")
                        .into_response()
                }
            },
        }
    }
}

fn deadline_passed() -> Response {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed").into_response()
}

/// In whole seconds, as the header has them, and not before the time.
fn later(detail: &'static str, retry_after: Duration) -> Response {
    let begun = u64::from(retry_after.subsec_nanos() > 0);
    let seconds = retry_after.as_secs().saturating_add(begun).max(1);
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    ([(RETRY_AFTER, HeaderValue::from(seconds))], problem).into_response()
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
