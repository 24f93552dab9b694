//! Errors as `application/problem+json` (RFC 9457). A handler answers with a `Problem`; the stack
//! renders it, and every other error response that has no JSON body of its own, with the request's
//! correlation id.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::RequestContext;

/// A detail may quote what the caller sent, such as a parser's words on it.
const DETAIL_CHARACTERS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    reason: Option<&'static str>,
}

impl Problem {
    /// `detail` goes to the caller: it must not hold anything that the caller may not know. It is cut
    /// off where it is long.
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
        }
    }

    /// The request's deadline passed: 408 where the caller set it, which is no failure of ours, and
    /// 504 where it is ours.
    pub fn deadline_passed(context: &RequestContext) -> Self {
        if context.deadline_is_callers() {
            let detail = "the time that X-Request-Timeout-Ms gave has passed";
            Self::new(StatusCode::REQUEST_TIMEOUT, detail)
        } else {
            Self::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed")
        }
    }

    /// Which of several problems of the same status it is, for programs: an extension member.
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

/// An error that is not JSON yet becomes a problem.
pub(crate) fn render_problem(mut response: Response, context: &RequestContext) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || has_json(&response) {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    let body = serde_json::to_vec(&Document {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        reason: problem.as_ref().and_then(|problem| problem.reason),
        detail: problem.map(|problem| problem.detail),
        correlation_id: context.correlation_id().as_str(),
    })
    .expect("strings and a number are JSON");
    // The other headers stay: 405 has its `Allow` there.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    *response.body_mut() = Body::from(body);
    response
}

#[derive(Serialize)]
struct Document<'a> {
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
