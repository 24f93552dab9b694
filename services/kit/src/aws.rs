//! How a service reaches AWS: one configuration and one HTTP client for all that it asks there.
//! They are made when the first of its clients is, since they hold every authority that TLS trusts.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_types::base64;
use tokio::sync::OnceCell;

use crate::TrustRoots;

#[derive(Debug, thiserror::Error)]
#[error("the TLS of the AWS clients cannot be set up")]
pub struct AwsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Copies share what is made.
#[derive(Clone, Debug, Default)]
pub struct Aws(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    region: Option<String>,
    roots: TrustRoots,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    pub fn new(region: Option<String>, roots: TrustRoots) -> Self {
        Self(Arc::new(Inner {
            region,
            roots,
            config: OnceCell::new(),
        }))
    }

    /// What clients are made from. Time limits and retries are each client's own to set.
    pub async fn config(&self) -> Result<&SdkConfig, AwsError> {
        self.0.config.get_or_try_init(|| self.make()).await
    }

    #[cfg(test)]
    pub(crate) fn with(config: SdkConfig) -> Self {
        Self(Arc::new(Inner {
            config: OnceCell::new_with(Some(config)),
            ..Inner::default()
        }))
    }

    async fn make(&self) -> Result<SdkConfig, AwsError> {
        let tls = TlsContext::builder()
            .with_trust_store(trust_store(&self.0.roots))
            .build()
            .map_err(|error| AwsError(error.into()))?;
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client);
        if let Some(region) = &self.0.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Ok(loader.load().await)
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
