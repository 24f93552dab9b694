//! Calls axon's heartbeat.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use service_kit::outbound::{Ending, HttpError, Outbound, OutboundError, Repeat, Target};
use service_kit::sigv4::{NotReady, Signer};
use service_kit::{Dependencies, RequestContext};

use super::attempt_timeout;
use super::outcomes::{CALLERS_DEADLINE, DEADLINE, Outcomes};
use crate::Settings;
use crate::json::object;

const TARGET: &str = "axon";

#[derive(Debug, thiserror::Error)]
pub(crate) enum AxonError {
    #[error("the deadline passed before axon answered")]
    Deadline,
    #[error("the breaker of axon is open")]
    BreakerOpen { retry_after: Duration },
    #[error("axon did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("axon did not answer as it should")]
    Wrong(#[source] Wrong),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(transparent)]
    Call(HttpError),
    #[error("the status is {0}")]
    Status(StatusCode),
    #[error("the body has no message")]
    Body(#[source] serde_json::Error),
}

pub(crate) struct Axon {
    outbound: Outbound,
    outcomes: Outcomes,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Axon {
    pub(crate) fn new(settings: &Settings, dependencies: &Dependencies) -> Result<Self, NotReady> {
        let target = Target {
            name: TARGET,
            url: settings.axon_url.clone(),
            connect_to: settings.axon_connect_to.clone(),
            attempt_timeout: attempt_timeout(&settings.base),
            repeat: Repeat::ByMethod,
            ending: Ending::of_answer,
            signer: Signer::new(settings.axon_signed_for, &settings.base, dependencies)?,
        };
        Ok(Self {
            outbound: Outbound::new(target, &settings.base.roots, dependencies),
            outcomes: Outcomes::new(TARGET, &OUTCOMES, &dependencies.metrics),
        })
    }

    /// Axon's message.
    pub(crate) async fn reason(&self, context: &RequestContext) -> Result<String, AxonError> {
        let result = self.call(context).await;
        self.outcomes.record(context, outcome(&result));
        result
    }

    async fn call(&self, context: &RequestContext) -> Result<String, AxonError> {
        let response = self
            .outbound
            .call(context, Request::new(Bytes::new()))
            .await?;
        if response.status() != StatusCode::OK {
            return Err(AxonError::Wrong(Wrong::Status(response.status())));
        }
        object(response.body())
            .map(|reason: Reason| reason.message)
            .map_err(|error| AxonError::Wrong(Wrong::Body(error)))
    }
}

impl From<OutboundError> for AxonError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Deadline => Self::Deadline,
            OutboundError::BreakerOpen { retry_after } => Self::BreakerOpen { retry_after },
            OutboundError::Timeout(time) => Self::Timeout(time),
            OutboundError::Failed(error) => Self::Wrong(Wrong::Call(error)),
        }
    }
}

const OUTCOMES: [&str; 6] = [
    "ok",
    "wrong",
    "timeout",
    "breaker_open",
    DEADLINE,
    CALLERS_DEADLINE,
];

fn outcome(result: &Result<String, AxonError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(AxonError::Deadline) => DEADLINE,
        Err(AxonError::BreakerOpen { .. }) => "breaker_open",
        Err(AxonError::Timeout(_)) => "timeout",
        Err(AxonError::Wrong(_)) => "wrong",
    }
}
