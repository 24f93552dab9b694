//! `POST /dispatch`: asks governance, then axon. Unless governance allows the intent, axon is not
//! called.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use service_kit::outbound::CallError;
use service_kit::{Clock, Problem, RequestContext, with_causes};

use crate::clients::axon::{Axon, AxonError};
use crate::clients::governance::{DispatchDecision, Governance, GovernanceError};
use crate::intent::Intent;

pub(crate) struct Dispatcher {
    pub(crate) governance: Governance,
    pub(crate) axon: Axon,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct DispatchResponse {
    status: &'static str,
    message: String,
    timestamp: String,
}

#[derive(Serialize)]
struct DeniedResponse {
    status: &'static str,
    reason: String,
    timestamp: String,
}

pub(crate) async fn dispatch(
    State(dispatcher): State<Arc<Dispatcher>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, DispatchError> {
    let intent = Intent::read(&headers, &body)?;
    let Dispatcher {
        governance,
        axon,
        clock,
    } = &*dispatcher;
    let decision = governance.decide(intent.as_str(), &context).await;
    let decision = decision.map_err(|error| DispatchError::governance(error, &context))?;
    if let DispatchDecision::Denied { reason } = decision {
        tracing::info!(intent = intent.as_str(), reason, "denied");
        let timestamp = clock.now_text();
        let denied = DeniedResponse {
            status: "denied",
            reason,
            timestamp,
        };
        return Ok((StatusCode::FORBIDDEN, Json(denied)).into_response());
    }
    let message = axon.reason(&context).await;
    let message = message.map_err(|error| DispatchError::axon(error, &context))?;
    let timestamp = clock.now_text();
    Ok(Json(DispatchResponse {
        status: "success",
        message,
        timestamp,
    })
    .into_response())
}

/// Why there was no dispatch, other than that governance denied it.
pub(crate) enum DispatchError {
    Request(Problem),
    Governance(CallError<GovernanceError>),
    Axon(CallError<AxonError>),
}

impl From<Problem> for DispatchError {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

/// A deadline that the caller set and that passed is the caller's error: it is not logged as one of
/// orbit or of the target.
impl DispatchError {
    fn governance(error: CallError<GovernanceError>, context: &RequestContext) -> Self {
        if matches!(error, CallError::Deadline) && context.deadline_is_callers() {
            return Self::Request(Problem::deadline_passed(context));
        }
        tracing::error!(error = with_causes(&error), "governance cannot answer");
        Self::Governance(error)
    }

    fn axon(error: CallError<AxonError>, context: &RequestContext) -> Self {
        if matches!(error, CallError::Deadline) && context.deadline_is_callers() {
            return Self::Request(Problem::deadline_passed(context));
        }
        tracing::error!(error = with_causes(&error), "axon failed");
        Self::Axon(error)
    }
}

impl IntoResponse for DispatchError {
    fn into_response(self) -> Response {
        const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        let governance = "governance cannot answer";
        let problem = match self {
            Self::Request(problem) => return problem.into_response(),
            Self::Governance(CallError::Deadline) | Self::Axon(CallError::Deadline) => {
                Problem::new(TIMEOUT, "the deadline passed")
            }
            Self::Governance(CallError::BreakerOpen { retry_after }) => {
                return unavailable(governance, retry_after);
            }
            Self::Governance(CallError::Failed(GovernanceError::Throttled { retry_after })) => {
                return unavailable(governance, retry_after.unwrap_or_default());
            }
            Self::Governance(CallError::Timeout(_) | CallError::Failed(_)) => {
                Problem::new(UNAVAILABLE, governance)
            }
            Self::Axon(CallError::BreakerOpen { retry_after }) => {
                return unavailable("axon is not called for a while", retry_after);
            }
            Self::Axon(CallError::Timeout(_)) => {
                Problem::new(TIMEOUT, "axon did not answer in time")
            }
            Self::Axon(CallError::Failed(_)) => {
                Problem::new(BAD_GATEWAY, "axon did not answer as it should")
            }
        };
        problem.of_target().into_response()
    }
}

/// 503 with `Retry-After`: whole seconds, rounded up, at least 1.
fn unavailable(detail: &'static str, retry_after: Duration) -> Response {
    let partial = u64::from(retry_after.subsec_nanos() > 0);
    let seconds = retry_after.as_secs().saturating_add(partial).max(1);
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).of_target();
    ([(RETRY_AFTER, HeaderValue::from(seconds))], problem).into_response()
}
