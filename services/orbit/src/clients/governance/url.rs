//! Governance behind a URL: where there is no Lambda.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use service_kit::outbound::{Ending, Outbound, Repeat, Target};
use service_kit::{Metrics, RequestContext, TrustRoots};

use super::{GovernanceError, TARGET};

#[derive(Clone)]
pub(crate) struct Url(Outbound);

impl Url {
    pub(crate) fn new(
        url: Uri,
        attempt_timeout: Duration,
        roots: &TrustRoots,
        metrics: &Metrics,
    ) -> Self {
        let target = Target {
            name: TARGET,
            url,
            connect_to: None,
            attempt_timeout,
            // It is a question, though it is POSTed.
            repeat: Repeat::Always,
            signer: None,
        };
        Self(Outbound::new(target, roots, metrics))
    }

    pub(crate) async fn ask(
        &self,
        question: Bytes,
        context: &RequestContext,
    ) -> Result<Bytes, GovernanceError> {
        let mut request = Request::new(question);
        *request.method_mut() = Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let response = self.0.call(context, request).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        match Ending::of_answer(status, response.headers()) {
            Ending::Throttled { retry_after } => Err(GovernanceError::Throttled { retry_after }),
            _ => Err(GovernanceError::Status(status)),
        }
    }
}
