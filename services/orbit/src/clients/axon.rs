//! Calls axon's heartbeat.

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use serde::Deserialize;
use service_kit::RequestContext;
use service_kit::outbound::{Outbound, OutboundError, Target};

use crate::Settings;

const TIMEOUT_MS: u64 = 3000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AxonError {
    #[error("axon did not answer within {TIMEOUT_MS} ms")]
    Timeout,
    #[error("axon did not answer as it should")]
    Wrong(#[source] Wrong),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(transparent)]
    Call(OutboundError),
    #[error("the status is {0}")]
    Status(StatusCode),
    #[error("the body has no message")]
    Body(#[source] serde_json::Error),
}

#[derive(Clone)]
pub(crate) struct Axon {
    outbound: Outbound,
    url: Uri,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Axon {
    pub(crate) fn new(settings: &Settings) -> Self {
        let target = Target {
            connect_to: settings.axon_connect_to.clone(),
            timeout_ms: TIMEOUT_MS,
        };
        Self {
            outbound: Outbound::new(target, &settings.base.roots),
            url: settings.axon_url.clone(),
        }
    }

    /// Axon's message.
    pub(crate) async fn reason(&self, context: &RequestContext) -> Result<String, AxonError> {
        let mut request = Request::new(Bytes::new().into());
        *request.uri_mut() = self.url.clone();
        let response = self
            .outbound
            .call(context, request)
            .await
            .map_err(|error| match error {
                OutboundError::Timeout(_) => AxonError::Timeout,
                error => AxonError::Wrong(Wrong::Call(error)),
            })?;
        if response.status() != StatusCode::OK {
            return Err(AxonError::Wrong(Wrong::Status(response.status())));
        }
        serde_json::from_slice(response.body())
            .map(|reason: Reason| reason.message)
            .map_err(|error| AxonError::Wrong(Wrong::Body(error)))
    }
}
