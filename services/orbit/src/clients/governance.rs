//! Asks governance whether an intent is allowed. Whatever is not a clear answer is an error, and
//! an error is never a yes.

mod function;
mod url;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service_kit::outbound::{HttpError, OutboundError};
use service_kit::{Parts, RequestContext};

use super::attempt_timeout;
use super::outcomes::Outcomes;
use crate::settings::GovernanceAt;
use crate::{SERVICE, Settings};
use function::Function;
use url::Url;

const TARGET: &str = "governance";

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
    #[error("governance answers {0}")]
    Status(http::StatusCode),
    #[error("the governance function cannot be invoked")]
    Invoke(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the governance function failed: {0}")]
    Function(String),
    #[error("the answer of governance is not one")]
    Answer(#[source] serde_json::Error),
}

pub(crate) struct Governance {
    place: Place,
    outcomes: Outcomes,
}

enum Place {
    Function(Function),
    Url(Url),
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
    pub(crate) async fn new(settings: &Settings, parts: &Parts) -> anyhow::Result<Self> {
        let metrics = &parts.metrics;
        let time = attempt_timeout(&settings.base);
        let place = match settings.governance.clone() {
            GovernanceAt::Function(name) => {
                Place::Function(Function::new(name, time, &parts.aws, metrics).await?)
            }
            GovernanceAt::Url(url) => {
                Place::Url(Url::new(url, time, &settings.base.roots, metrics))
            }
        };
        Ok(Self {
            place,
            outcomes: Outcomes::new(TARGET, &OUTCOMES, metrics),
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
        match &self.place {
            Place::Function(function) => decision(&function.ask(question, context).await?),
            Place::Url(url) => decision(&url.ask(question.into(), context).await?),
        }
    }
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

const OUTCOMES: [&str; 7] = [
    "allowed",
    "denied",
    "failed",
    "timeout",
    "throttled",
    "breaker_open",
    "deadline",
];

fn outcome(result: &Result<Decision, GovernanceError>) -> &'static str {
    match result {
        Ok(Decision::Allowed) => "allowed",
        Ok(Decision::Denied { .. }) => "denied",
        Err(GovernanceError::Deadline) => "deadline",
        Err(GovernanceError::BreakerOpen { .. }) => "breaker_open",
        Err(GovernanceError::Timeout(_)) => "timeout",
        Err(GovernanceError::Throttled { .. }) => "throttled",
        Err(_) => "failed",
    }
}

fn decision(answer: &[u8]) -> Result<Decision, GovernanceError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(GovernanceError::Answer)?;
    if answer.allowed {
        return Ok(Decision::Allowed);
    }
    let reason = answer
        .reason
        .unwrap_or_else(|| "governance gave no reason".to_owned());
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
    fn everything_else_is_an_error() {
        for answer in [
            "",
            "null",
            "true",
            "[]",
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
