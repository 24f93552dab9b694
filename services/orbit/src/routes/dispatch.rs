//! `POST /dispatch`: asks governance, then axon. Without a yes from governance axon is not called.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use service_kit::with_causes;
use service_kit::{Clock, Problem, RequestContext};

use crate::clients::axon::{Axon, AxonError};
use crate::clients::governance::{Decision, Governance, GovernanceError};
use crate::intent::Intent;

pub(crate) struct Dispatcher {
    pub(crate) governance: Governance,
    pub(crate) axon: Axon,
    pub(crate) clock: Clock,
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
    let intent = Intent::read(&headers, &body)?;
    let Dispatcher {
        governance,
        axon,
        clock,
    } = &*dispatcher;
    let decision = governance.decide(intent.as_str(), &context).await;
    let decision = decision.map_err(|error| Undispatched::by_governance(error, &context))?;
    if let Decision::Denied { reason } = decision {
        tracing::info!(intent = intent.as_str(), reason, "denied");
        let timestamp = clock.now_text();
        let denied = Denied {
            status: "denied",
            reason,
            timestamp,
        };
        return Ok((StatusCode::FORBIDDEN, Json(denied)).into_response());
    }
    let message = axon.reason(&context).await;
    let message = message.map_err(|error| Undispatched::by_axon(error, &context))?;
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

/// That a caller gave too little time is no error of ours, nor of those that are called.
impl Undispatched {
    fn by_governance(error: GovernanceError, context: &RequestContext) -> Self {
        if matches!(error, GovernanceError::Deadline) && context.deadline_is_callers() {
            return Self::Request(Problem::deadline_passed(context));
        }
        tracing::error!(error = with_causes(&error), "governance cannot answer");
        Self::Governance(error)
    }

    fn by_axon(error: AxonError, context: &RequestContext) -> Self {
        if matches!(error, AxonError::Deadline) && context.deadline_is_callers() {
            return Self::Request(Problem::deadline_passed(context));
        }
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
