//! Signs requests on their way out.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;
use secrecy::ExposeSecret as _;

use super::SERVICE;
use crate::{Clock, KeyRing};

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the request cannot be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Signs with the current pair of a ring. Copies share the ring.
#[derive(Clone)]
pub struct Signer {
    keys: KeyRing,
    region: String,
    clock: Clock,
}

impl Signer {
    pub fn new(keys: KeyRing, region: String, clock: Clock) -> Self {
        Self {
            keys,
            region,
            clock,
        }
    }

    /// Signs anew: what an earlier attempt has signed is replaced.
    pub async fn sign(&self, request: &mut Request<Bytes>) -> Result<(), SigningError> {
        let pairs = self.keys.pairs();
        let identity = Credentials::new(
            &pairs.current.access_key_id,
            pairs.current.secret_access_key.expose_secret(),
            None,
            None,
            "service-kit",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(self.clock.now().into())
            .settings(settings)
            .build()
            .map_err(|error| SigningError::Signing(error.into()))?;
        let uri = request.uri().to_string();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, body)
            .map_err(|error| SigningError::Signing(error.into()))?;
        let (instructions, _) = sign(signable, &SigningParams::V4(parameters))
            .map_err(|error| SigningError::Signing(error.into()))?
            .into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
