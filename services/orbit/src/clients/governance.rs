//! Asks governance whether an intent is allowed. Whatever is not a clear answer is an error, and
//! an error never counts as allowed.

mod function;

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use service_kit::outbound::{AttemptOutcome, CallError, CallTarget, HttpError, Outbound, Repeat};
use service_kit::{Dependencies, RequestContext};

use super::limits::{attempt_timeout, sanitized};
use super::outcomes::Outcomes;
use crate::json::parse_object;
use crate::service::SERVICE;
use crate::settings::{GovernanceEndpoint, Settings};

const TARGET: &str = "governance";
/// Lambda sets it where the function failed; the status is 200 then.
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DispatchDecision {
    Allowed,
    Denied { reason: String },
}

/// Why governance's answer is not a decision.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GovernanceError {
    #[error("governance throttles")]
    Throttled { retry_after: Option<Duration> },
    #[error("governance cannot be called")]
    Http(#[source] HttpError),
    #[error("governance answers {status}: {message}")]
    Status { status: StatusCode, message: String },
    #[error("the governance function failed: {0}")]
    Function(String),
    #[error("the answer of governance is not a decision")]
    Body(#[source] serde_json::Error),
}

pub(crate) struct Governance {
    outbound: Outbound,
    outcomes: Outcomes,
}

#[derive(Serialize)]
struct DecisionRequest<'a> {
    service: &'static str,
    intent: &'a str,
    correlation_id: &'a str,
}

#[derive(Deserialize)]
struct GovernanceDecision {
    allowed: bool,
    reason: Option<String>,
}

impl Governance {
    pub(crate) async fn new(
        settings: &Settings,
        dependencies: &Dependencies,
    ) -> anyhow::Result<Self> {
        let target = match &settings.governance {
            GovernanceEndpoint::Function(name) => {
                function::target(name, settings, dependencies).await?
            }
            GovernanceEndpoint::Url(url) => target_at(url.clone(), settings),
        };
        let answered = ["allowed", "denied", "failed", "throttled"];
        Ok(Self {
            outbound: Outbound::new(target, &settings.base.roots, dependencies),
            outcomes: Outcomes::new(TARGET, &answered, &dependencies.metrics),
        })
    }

    pub(crate) async fn decide(
        &self,
        intent: &str,
        context: &RequestContext,
    ) -> Result<DispatchDecision, CallError<GovernanceError>> {
        let result = self.call(intent, context).await;
        let of_answer = |decision: &DispatchDecision| match decision {
            DispatchDecision::Allowed => "allowed",
            DispatchDecision::Denied { .. } => "denied",
        };
        let of_failure = |error: &GovernanceError| match error {
            GovernanceError::Throttled { .. } => "throttled",
            _ => "failed",
        };
        self.outcomes
            .record(context, &result, of_answer, of_failure);
        result
    }

    async fn call(
        &self,
        intent: &str,
        context: &RequestContext,
    ) -> Result<DispatchDecision, CallError<GovernanceError>> {
        let question = serde_json::to_vec(&DecisionRequest {
            service: SERVICE.name,
            intent,
            correlation_id: context.correlation_id().as_str(),
        })
        .expect("strings are JSON");
        let mut request = Request::new(question.into());
        *request.method_mut() = Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let response = self.outbound.call(context, request).await;
        let response = response.map_err(|error| error.map_failed(GovernanceError::Http))?;
        response_body(response)
            .and_then(|body| decision(&body))
            .map_err(CallError::Failed)
    }
}

/// Governance behind a plain URL.
fn target_at(url: Uri, settings: &Settings) -> CallTarget {
    CallTarget {
        name: TARGET,
        url,
        connect_to: None,
        resolver: None,
        attempt_timeout: attempt_timeout(&settings.base),
        // A decision changes nothing, although it is asked for by POST.
        repeat: Repeat::Always,
        outcome: AttemptOutcome::of_response,
        signer: None,
    }
}

/// The body of a 200 that the function itself answered.
fn response_body(response: Response<Bytes>) -> Result<Bytes, GovernanceError> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let outcome = AttemptOutcome::of_response(status, &head.headers);
    if let AttemptOutcome::Throttled { retry_after } = outcome {
        return Err(GovernanceError::Throttled { retry_after });
    }
    if let Some(error) = head.headers.get(FUNCTION_ERROR) {
        let error = sanitized(&String::from_utf8_lossy(error.as_bytes()));
        return Err(GovernanceError::Function(error));
    }
    if status != StatusCode::OK {
        let message = aws_message(&body);
        return Err(GovernanceError::Status { status, message });
    }
    Ok(body)
}

/// The message of an error of AWS, which names a missing permission for example.
fn aws_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct AwsError {
        #[serde(alias = "Message")]
        message: String,
    }
    parse_object(body).map_or_else(
        |_| "no message".to_owned(),
        |error: AwsError| sanitized(&error.message),
    )
}

fn decision(body: &[u8]) -> Result<DispatchDecision, GovernanceError> {
    let response: GovernanceDecision = parse_object(body).map_err(GovernanceError::Body)?;
    if response.allowed {
        return Ok(DispatchDecision::Allowed);
    }
    let reason = response.reason.as_deref();
    let reason = reason.map_or_else(|| "governance gave no reason".to_owned(), sanitized);
    Ok(DispatchDecision::Denied { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_and_denied_are_decisions() {
        assert_eq!(
            decision(br#"{"allowed":true}"#).unwrap(),
            DispatchDecision::Allowed
        );
        let denied = decision(br#"{"allowed":false,"reason":"Policy violation"}"#).unwrap();
        assert_eq!(
            denied,
            DispatchDecision::Denied {
                reason: "Policy violation".to_owned()
            }
        );
        let silent = decision(br#"{"allowed":false}"#).unwrap();
        assert_eq!(
            silent,
            DispatchDecision::Denied {
                reason: "governance gave no reason".to_owned()
            }
        );
    }

    #[test]
    fn a_reason_is_bounded_and_its_controls_are_escaped() {
        let reason = |text: String| {
            let answer = serde_json::json!({"allowed": false, "reason": text}).to_string();
            match decision(answer.as_bytes()).unwrap() {
                DispatchDecision::Denied { reason } => reason,
                DispatchDecision::Allowed => panic!("{answer}"),
            }
        };
        let plain = r#"no policy permits service "orbit" to dispatch "sing""#;
        assert_eq!(reason(plain.to_owned()), plain);
        for character in ["a", "\u{7f}", "\u{9b}", "\n", "é", "\u{202e}", "\u{1f980}"] {
            let reason = reason(character.repeat(60_000));
            assert!(reason.len() < 300, "{}", reason.len());
            assert!(reason.ends_with('…'), "{reason}");
            assert!(!reason.contains(char::is_control), "{reason:?}");
            assert!(!reason.contains('\u{202e}'), "{reason:?}");
        }
    }

    #[test]
    fn the_message_of_an_aws_error_is_in_ours() {
        let status = StatusCode::FORBIDDEN;
        let message = |body: &'static str| {
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status;
            response_body(response).unwrap_err().to_string()
        };
        assert_eq!(
            message(r#"{"Message":"orbit may not lambda:InvokeFunction"}"#),
            "governance answers 403 Forbidden: orbit may not lambda:InvokeFunction"
        );
        let without = "governance answers 403 Forbidden: no message";
        assert_eq!([message("{}"), message("<html>")], [without, without]);
    }

    #[test]
    fn everything_else_is_an_error() {
        for answer in [
            "",
            "null",
            "true",
            "[]",
            "[true]",
            r#" [true,"a reason"]"#,
            "not json",
            "{}",
            r#"{"allowed":null}"#,
            r#"{"allowed":"true"}"#,
            r#"{"allowed":1}"#,
            r#"{"Allowed":true}"#,
            r#"{"allowed":true} more"#,
            r#"{"allowed":false,"allowed":true}"#,
            r#"{"errorMessage":"x","errorType":"y"}"#,
        ] {
            assert!(decision(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
