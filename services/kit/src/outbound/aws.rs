//! The configuration of the AWS SDK, shared by all of its clients. They send with the kit's HTTP
//! client. It is built on first use, because that parses every root certificate.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Uri;
use tokio::time::timeout;

use super::http_client::{HttpClient, HttpError};
use super::roots::TrustRoots;

/// Clones share one configuration.
#[derive(Clone, Default)]
pub struct AwsSdk(Arc<AwsInner>);

#[derive(Default)]
struct AwsInner {
    region: Option<String>,
    endpoint: Option<Uri>,
    roots: TrustRoots,
    config: OnceLock<SdkConfig>,
}

impl AwsSdk {
    /// `endpoint` replaces the endpoints of AWS.
    pub fn new(region: Option<String>, endpoint: Option<Uri>, roots: TrustRoots) -> Self {
        Self(Arc::new(AwsInner {
            region,
            endpoint,
            roots,
            config: OnceLock::new(),
        }))
    }

    /// What clients are built from. Each client sets its own timeouts and retries.
    pub fn config(&self) -> &SdkConfig {
        self.0.config.get_or_init(|| self.0.build())
    }

    /// The credentials of the environment, or else those of the ECS task role.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        let provider = self.config().credentials_provider();
        provider.expect("the configuration is made with one")
    }

    #[cfg(test)]
    pub(crate) fn with(config: SdkConfig) -> Self {
        Self(Arc::new(AwsInner {
            config: config.into(),
            ..AwsInner::default()
        }))
    }
}

impl AwsInner {
    /// Not the SDK's default chain: it also supports profiles, web identities and EC2, none of
    /// which a task has, and which are a tenth of the program's size.
    fn build(&self) -> SdkConfig {
        let aws = Uri::from_static("https://amazonaws.com");
        let client = HttpClient::new(self.endpoint.as_ref().unwrap_or(&aws), None, &self.roots);
        let http_client = sdk_http_client(client);
        let provider_config =
            ProviderConfig::without_region().with_http_client(http_client.clone());
        let task_role = EcsCredentialsProvider::builder().configure(&provider_config);
        let environment = EnvironmentVariableCredentialsProvider::new();
        let credentials = CredentialsProviderChain::first_try("Environment", environment)
            .or_else("EcsContainer", task_role.build());
        let endpoint = self.endpoint.as_ref().map(ToString::to_string);
        let endpoint = endpoint.map(|url| url.trim_end_matches('/').to_owned());
        let mut config = SdkConfig::builder()
            .region(self.region.clone().map(Region::new))
            .http_client(http_client)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .behavior_version(BehaviorVersion::latest());
        config.set_endpoint_url(endpoint);
        config.build()
    }
}

pub(crate) fn sdk_http_client(client: HttpClient) -> SharedHttpClient {
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(SdkConnector {
            client: client.clone(),
            read_timeout: settings.read_timeout(),
        })
    })
}

/// Sends the requests of one SDK operation with the kit's HTTP client.
#[derive(Debug)]
struct SdkConnector {
    client: HttpClient,
    read_timeout: Option<Duration>,
}

impl HttpConnector for SdkConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, read_timeout) = (self.client.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let body = request.body().bytes().map(Bytes::copy_from_slice);
            let body = body.ok_or_else(|| ConnectorError::user("the body is a stream".into()))?;
            let answer = client.send(request.map(|_| body));
            let answer = match read_timeout {
                Some(limit) => timeout(limit, answer)
                    .await
                    .map_err(|late| ConnectorError::timeout(late.into()))?,
                None => answer.await,
            };
            HttpResponse::try_from(answer.map_err(connector_error)?.map(SdkBody::from))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The SDK retries connector errors of the kinds `io` and `timeout`, and no others.
fn connector_error(error: HttpError) -> ConnectorError {
    match error {
        HttpError::Connect(_) | HttpError::ConnectionLost(_) => ConnectorError::io(error.into()),
        HttpError::Signing(_) | HttpError::InvalidResponse(_) | HttpError::BodyTooLarge => {
            ConnectorError::other(error.into(), None)
        }
    }
}
