//! Asks governance whether an intent is allowed. Whatever is not a clear answer is an error, and
//! an error is never a yes.

mod function;
mod url;

use serde::{Deserialize, Serialize};
use service_kit::outbound::OutboundError;
use service_kit::{Aws, RequestContext};

use crate::settings::GovernanceAt;
use crate::{SERVICE, Settings};
use function::Function;
use url::Url;

/// Longer than a cold start of the function.
const TIMEOUT_MS: u64 = 3000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    Denied { reason: String },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum GovernanceError {
    #[error("governance cannot be asked")]
    Call(#[source] OutboundError),
    #[error("governance answers {0}")]
    Status(http::StatusCode),
    #[error("the governance function cannot be invoked")]
    Invoke(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the governance function failed: {0}")]
    Function(String),
    #[error("the answer of governance is not one")]
    Answer(#[source] serde_json::Error),
}

#[derive(Clone)]
pub(crate) enum Governance {
    Function(Function),
    Url(Url),
}

#[derive(Serialize)]
struct Question<'a> {
    service: &'static str,
    intent: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    allowed: bool,
    reason: Option<String>,
}

impl Governance {
    pub(crate) async fn new(settings: &Settings, aws: &Aws) -> anyhow::Result<Self> {
        Ok(match &settings.governance {
            GovernanceAt::Function(name) => Self::Function(Function::new(name.clone(), aws).await?),
            GovernanceAt::Url(url) => Self::Url(Url::new(url.clone(), &settings.base.roots)),
        })
    }

    pub(crate) async fn decide(
        &self,
        intent: &str,
        context: &RequestContext,
    ) -> Result<Decision, GovernanceError> {
        let question = serde_json::to_vec(&Question {
            service: SERVICE.name,
            intent,
        })
        .expect("two strings are JSON");
        match self {
            Self::Function(function) => decision(&function.ask(question).await?),
            Self::Url(url) => decision(&url.ask(question, context).await?),
        }
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
