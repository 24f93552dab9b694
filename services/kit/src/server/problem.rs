//! Errors as `application/problem+json` (RFC 9457). A handler answers with a `Problem`; the inbound
//! stack renders it, and every other error response without a JSON body, with the correlation id.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::RequestContext;

/// Bounded because a detail may quote what the caller sent, as in the message of a parser.
const DETAIL_CHARACTERS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    reason: Option<&'static str>,
    is_targets_fault: bool,
}

impl Problem {
    /// `detail` goes to the caller, so it must hold nothing confidential. It is cut off at 256
    /// characters.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARACTERS_MAX) {
            detail.to_mut().truncate(end);
            detail.to_mut().push('…');
        }
        Self {
            status,
            detail,
            reason: None,
            is_targets_fault: false,
        }
    }

    /// The deadline of the request passed: 408 where the caller set it, which is no failure of
    /// ours, else 504.
    pub fn deadline_passed(context: &RequestContext) -> Self {
        if context.deadline_is_callers() {
            let detail = "the time that X-Request-Timeout-Ms gave has passed";
            Self::new(StatusCode::REQUEST_TIMEOUT, detail)
        } else {
            Self::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed")
        }
    }

    /// What was called for the request failed: the metric `failures` counts it there, and not as
    /// ours.
    #[must_use]
    pub fn of_target(mut self) -> Self {
        self.is_targets_fault = true;
        self
    }

    /// Adds the extension member `reason`, which distinguishes problems of one status.
    #[must_use]
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns an error response without a JSON body into a problem. Other headers, such as the `Allow`
/// of 405, stay.
pub(crate) fn render_problem(mut response: Response, context: &RequestContext) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || has_json(&response) {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    if problem.as_ref().is_some_and(|it| it.is_targets_fault) {
        context.blame_target();
    }
    let body = serde_json::to_vec(&ProblemDocument {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        reason: problem.as_ref().and_then(|problem| problem.reason),
        detail: problem.map(|problem| problem.detail),
        correlation_id: context.correlation_id().as_str(),
    })
    .expect("strings and a number are JSON");
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    *response.body_mut() = Body::from(body);
    response
}

#[derive(Serialize)]
struct ProblemDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    correlation_id: &'a str,
}

fn has_json(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}
