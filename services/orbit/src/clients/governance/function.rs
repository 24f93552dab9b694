//! Governance as a Lambda function, asked at its alias.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_types::base64;
use service_kit::TrustRoots;

use super::{GovernanceError, TIMEOUT_MS};
use crate::settings::FunctionName;

#[derive(Clone)]
pub(crate) struct Function {
    client: Client,
    name: FunctionName,
}

impl Function {
    pub(crate) async fn new(
        name: FunctionName,
        region: String,
        roots: &TrustRoots,
    ) -> anyhow::Result<Self> {
        let tls = TlsContext::builder()
            .with_trust_store(trust_store(roots))
            .build()
            .context("the TLS of the AWS client cannot be set up")?;
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(Duration::from_millis(TIMEOUT_MS))
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region))
            .http_client(http_client)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .load()
            .await;
        Ok(Self {
            client: Client::new(&config),
            name,
        })
    }

    /// A function that fails answers with status 200 and `FunctionError`.
    pub(crate) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, GovernanceError> {
        let answer = self
            .client
            .invoke()
            .function_name(&self.name.name)
            .qualifier(&self.name.alias)
            .payload(Blob::new(question))
            .send()
            .await
            .map_err(|error| GovernanceError::Invoke(error.into()))?;
        match answer.function_error {
            Some(error) => Err(GovernanceError::Function(error)),
            None => Ok(answer.payload.map(Blob::into_inner).unwrap_or_default()),
        }
    }
}

/// The SDK's client takes PEM only.
fn trust_store(roots: &TrustRoots) -> TrustStore {
    let mut pem = String::new();
    for certificate in roots.certificates() {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        pem.push_str(&base64::encode(certificate));
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    TrustStore::empty().with_pem_certificate(pem)
}
