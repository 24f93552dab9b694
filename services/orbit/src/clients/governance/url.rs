//! Governance behind a URL: where there is no Lambda.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use service_kit::outbound::{Outbound, Target};
use service_kit::{RequestContext, TrustRoots};

use super::{GovernanceError, TIMEOUT_MS};

#[derive(Clone)]
pub(crate) struct Url {
    outbound: Outbound,
    url: Uri,
}

impl Url {
    pub(crate) fn new(url: Uri, roots: &TrustRoots) -> Self {
        let target = Target {
            connect_to: None,
            timeout_ms: TIMEOUT_MS,
        };
        Self {
            outbound: Outbound::new(target, roots),
            url,
        }
    }

    pub(crate) async fn ask(
        &self,
        question: Vec<u8>,
        context: &RequestContext,
    ) -> Result<Bytes, GovernanceError> {
        let mut request = Request::new(Bytes::from(question).into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self
            .outbound
            .call(context, request)
            .await
            .map_err(GovernanceError::Call)?;
        if response.status() != StatusCode::OK {
            return Err(GovernanceError::Status(response.status()));
        }
        Ok(response.into_body())
    }
}
