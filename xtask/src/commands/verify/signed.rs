//! Signs a request to axon with AWS Signature Version 4, by the SDK's signer.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use jiff::Timestamp;

use crate::decide::release::rotation::SigningPair;

const SERVICE: &str = "axon";

/// The headers that a GET of `url` is sent with.
pub(super) fn headers(
    pair: &SigningPair,
    region: &str,
    now: Timestamp,
    url: &str,
    correlation_id: &str,
) -> Result<BTreeMap<String, String>> {
    let doing = "sign a request";
    let secret = &pair.secret_access_key;
    let identity = Credentials::new(&pair.access_key_id, secret, None, None, "xtask").into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now.into())
        .settings(settings)
        .build()
        .context(doing)?;
    let mut headers = BTreeMap::from([("x-correlation-id".to_owned(), correlation_id.to_owned())]);
    let signed = { headers.iter() }.map(|(name, value)| (&**name, &**value));
    let request = SignableRequest::new("GET", url, signed, SignableBody::Bytes(b""));
    let request = request.context(doing)?;
    let (instructions, _) = sign(request, &SigningParams::V4(parameters))
        .context(doing)?
        .into_parts();
    for (name, value) in instructions.headers() {
        headers.insert(name.to_owned(), value.to_owned());
    }
    Ok(headers)
}
