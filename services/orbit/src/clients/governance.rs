//! Asks governance whether an intent is allowed. Whatever is not a clear answer is an error, and
//! an error is never a yes.

mod function;

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use service_kit::outbound::{Ending, HttpError, Outbound, OutboundError, Repeat, Target};
use service_kit::{Dependencies, RequestContext};

use super::outcomes::{CALLERS_DEADLINE, DEADLINE, Outcomes};
use super::{attempt_timeout, bounded};
use crate::json::object;
use crate::settings::GovernanceAt;
use crate::{SERVICE, Settings};

const TARGET: &str = "governance";
/// By which Lambda says that it is the function that failed.
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    Denied { reason: String },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum GovernanceError {
    #[error("the deadline passed before governance answered")]
    Deadline,
    #[error("the breaker of governance is open")]
    BreakerOpen { retry_after: Duration },
    #[error("governance did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("governance is asked too often")]
    Throttled { retry_after: Option<Duration> },
    #[error("governance cannot be asked")]
    Call(#[source] HttpError),
    #[error("governance answers {status}: {said}")]
    Status { status: StatusCode, said: String },
    #[error("the governance function failed: {0}")]
    Function(String),
    #[error("the answer of governance is not one")]
    Answer(#[source] serde_json::Error),
}

pub(crate) struct Governance {
    outbound: Outbound,
    outcomes: Outcomes,
}

#[derive(Serialize)]
struct Question<'a> {
    service: &'static str,
    intent: &'a str,
    correlation_id: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    allowed: bool,
    reason: Option<String>,
}

impl Governance {
    pub(crate) async fn new(
        settings: &Settings,
        dependencies: &Dependencies,
    ) -> anyhow::Result<Self> {
        let target = match &settings.governance {
            GovernanceAt::Function(function) => {
                function::target(function, settings, dependencies).await?
            }
            GovernanceAt::Url(url) => target_at(url.clone(), settings),
        };
        Ok(Self {
            outbound: Outbound::new(target, &settings.base.roots, dependencies),
            outcomes: Outcomes::new(TARGET, &OUTCOMES, &dependencies.metrics),
        })
    }

    pub(crate) async fn decide(
        &self,
        intent: &str,
        context: &RequestContext,
    ) -> Result<Decision, GovernanceError> {
        let result = self.ask(intent, context).await;
        self.outcomes.record(context, outcome(&result));
        result
    }

    async fn ask(
        &self,
        intent: &str,
        context: &RequestContext,
    ) -> Result<Decision, GovernanceError> {
        let question = serde_json::to_vec(&Question {
            service: SERVICE.name,
            intent,
            correlation_id: context.correlation_id().as_str(),
        })
        .expect("strings are JSON");
        let mut request = Request::new(question.into());
        *request.method_mut() = Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        decision(&answer(self.outbound.call(context, request).await?)?)
    }
}

/// As it is where there is no Lambda.
fn target_at(url: Uri, settings: &Settings) -> Target {
    Target {
        name: TARGET,
        url,
        connect_to: None,
        attempt_timeout: attempt_timeout(&settings.base),
        // It is a question, though it is POSTed.
        repeat: Repeat::Always,
        ending: Ending::of_answer,
        signer: None,
    }
}

/// The body, where there is one of governance's own.
fn answer(response: Response<Bytes>) -> Result<Bytes, GovernanceError> {
    let (head, body) = response.into_parts();
    let status = head.status;
    if let Ending::Throttled { retry_after } = Ending::of_answer(status, &head.headers) {
        return Err(GovernanceError::Throttled { retry_after });
    }
    if let Some(error) = head.headers.get(FUNCTION_ERROR) {
        let error = bounded(&String::from_utf8_lossy(error.as_bytes()));
        return Err(GovernanceError::Function(error));
    }
    if status != StatusCode::OK {
        let said = said(&body);
        return Err(GovernanceError::Status { status, said });
    }
    Ok(body)
}

/// What AWS says of an error, such as which permission is missing.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(alias = "Message")]
        message: String,
    }
    object(body).map_or_else(
        |_| "it does not say why".to_owned(),
        |said: Said| bounded(&said.message),
    )
}

impl From<OutboundError> for GovernanceError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Deadline => Self::Deadline,
            OutboundError::BreakerOpen { retry_after } => Self::BreakerOpen { retry_after },
            OutboundError::Timeout(time) => Self::Timeout(time),
            OutboundError::Failed(error) => Self::Call(error),
        }
    }
}

const OUTCOMES: [&str; 8] = [
    "allowed",
    "denied",
    "failed",
    "timeout",
    "throttled",
    "breaker_open",
    DEADLINE,
    CALLERS_DEADLINE,
];

fn outcome(result: &Result<Decision, GovernanceError>) -> &'static str {
    match result {
        Ok(Decision::Allowed) => "allowed",
        Ok(Decision::Denied { .. }) => "denied",
        Err(GovernanceError::Deadline) => DEADLINE,
        Err(GovernanceError::BreakerOpen { .. }) => "breaker_open",
        Err(GovernanceError::Timeout(_)) => "timeout",
        Err(GovernanceError::Throttled { .. }) => "throttled",
        Err(_) => "failed",
    }
}

fn decision(answer: &[u8]) -> Result<Decision, GovernanceError> {
    let answer: Answer = object(answer).map_err(GovernanceError::Answer)?;
    if answer.allowed {
        return Ok(Decision::Allowed);
    }
    let reason = answer.reason.as_deref();
    let reason = reason.map_or_else(|| "governance gave no reason".to_owned(), bounded);
    Ok(Decision::Denied { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no() {
        assert_eq!(decision(br#"{"allowed":true}"#).unwrap(), Decision::Allowed);
        let denied = decision(br#"{"allowed":false,"reason":"Policy violation"}"#).unwrap();
        assert_eq!(
            denied,
            Decision::Denied {
                reason: "Policy violation".to_owned()
            }
        );
        let silent = decision(br#"{"allowed":false}"#).unwrap();
        assert_eq!(
            silent,
            Decision::Denied {
                reason: "governance gave no reason".to_owned()
            }
        );
    }

    #[test]
    fn a_reason_of_any_length_and_characters_does_no_harm() {
        let reason = |text: String| {
            let answer = serde_json::json!({"allowed": false, "reason": text}).to_string();
            match decision(answer.as_bytes()).unwrap() {
                Decision::Denied { reason } => reason,
                Decision::Allowed => panic!("{answer}"),
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
    fn what_aws_says_of_an_error_is_told() {
        let status = StatusCode::FORBIDDEN;
        let told = |body: &'static str| {
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status;
            answer(response).unwrap_err().to_string()
        };
        assert_eq!(
            told(r#"{"Message":"orbit may not lambda:InvokeFunction"}"#),
            "governance answers 403 Forbidden: orbit may not lambda:InvokeFunction"
        );
        let silent = "governance answers 403 Forbidden: it does not say why";
        assert_eq!([told("{}"), told("<html>")], [silent, silent]);
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
