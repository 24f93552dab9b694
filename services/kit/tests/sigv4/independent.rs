//! The signer of the AWS SDK with its defaults: it shares no code with the verifier.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use crate::{NOW, REGION, SERVICE};

pub(crate) struct Signing<'a> {
    pub(crate) key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) time: &'a str,
    pub(crate) normalize: bool,
    pub(crate) payload: bool,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Self {
            key: "CURRENT",
            region: REGION,
            service: SERVICE,
            time: NOW,
            normalize: true,
            payload: true,
        }
    }
}

impl Signing<'_> {
    /// Signs every header of the request.
    pub(crate) fn sign(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        let secret = format!("secret of {}", self.key);
        let identity = Credentials::new(self.key, secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::from(self.normalize);
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.time.parse::<Timestamp>().unwrap().into())
            .settings(settings)
            .build()
            .unwrap();
        let headers = request.headers().iter();
        let body = if self.payload {
            SignableBody::Bytes(request.body())
        } else {
            SignableBody::UnsignedPayload
        };
        let signable = SignableRequest::new(
            request.method().as_str(),
            format!("http://unused{}", request.uri()),
            headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())),
            body,
        )
        .unwrap();
        let signed = sign(signable, &SigningParams::V4(parameters)).unwrap();
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        request
    }
}
