//! Calls axon's `GET /reason`.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use service_kit::outbound::{AttemptOutcome, CallError, CallTarget, HttpError, Outbound, Repeat};
use service_kit::sigv4::{SignatureSetupError, Signer};
use service_kit::{Dependencies, RequestContext};

use super::limits::attempt_timeout;
use super::outcomes::Outcomes;
use crate::json::parse_object;
use crate::settings::Settings;

const TARGET: &str = "axon";

/// What is wrong with axon's answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AxonError {
    #[error("axon cannot be called")]
    Http(#[source] HttpError),
    #[error("axon answers {0}")]
    Status(StatusCode),
    #[error("the answer of axon has no message")]
    Body(#[source] serde_json::Error),
}

pub(crate) struct Axon {
    outbound: Outbound,
    outcomes: Outcomes,
}

/// The body of axon's 200.
#[derive(Deserialize)]
struct Heartbeat {
    message: String,
}

impl Axon {
    pub(crate) fn new(
        settings: &Settings,
        dependencies: &Dependencies,
    ) -> Result<Self, SignatureSetupError> {
        let target = CallTarget {
            name: TARGET,
            url: settings.axon_url.clone(),
            connect_to: settings.axon_connect_to.clone(),
            resolver: Some(Arc::clone(&dependencies.resolver)),
            attempt_timeout: attempt_timeout(&settings.base),
            repeat: Repeat::ByMethod,
            outcome: AttemptOutcome::of_response,
            signer: Signer::new(settings.axon_signed_for, &settings.base, dependencies)?,
        };
        Ok(Self {
            outbound: Outbound::new(target, &settings.base.roots, dependencies),
            outcomes: Outcomes::new(TARGET, &["ok", "wrong"], &dependencies.metrics),
        })
    }

    /// Axon's message.
    pub(crate) async fn reason(
        &self,
        context: &RequestContext,
    ) -> Result<String, CallError<AxonError>> {
        let result = self.call(context).await;
        self.outcomes
            .record(context, &result, |_| "ok", |_| "wrong");
        result
    }

    async fn call(&self, context: &RequestContext) -> Result<String, CallError<AxonError>> {
        let request = Request::new(Bytes::new());
        let response = self.outbound.call(context, request).await;
        let response = response.map_err(|error| error.map_failed(AxonError::Http))?;
        if response.status() != StatusCode::OK {
            return Err(CallError::Failed(AxonError::Status(response.status())));
        }
        parse_object(response.body())
            .map(|reason: Heartbeat| reason.message)
            .map_err(|error| CallError::Failed(AxonError::Body(error)))
    }
}
