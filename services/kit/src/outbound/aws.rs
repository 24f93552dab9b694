//! How a service reaches AWS: one configuration for all that it asks there, over the HTTP client that
//! it calls everybody with. It is made when it is needed first, since TLS reads every authority then.

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

/// Copies share what is made.
#[derive(Clone, Default)]
pub struct Aws(Arc<Inner>);

#[derive(Default)]
struct Inner {
    region: Option<String>,
    endpoint: Option<Uri>,
    roots: TrustRoots,
    config: OnceLock<SdkConfig>,
}

impl Aws {
    /// `endpoint` is asked instead of AWS.
    pub fn new(region: Option<String>, endpoint: Option<Uri>, roots: TrustRoots) -> Self {
        Self(Arc::new(Inner {
            region,
            endpoint,
            roots,
            config: OnceLock::new(),
        }))
    }

    /// What clients are made from. Time limits and retries are each client's own to set.
    pub fn config(&self) -> &SdkConfig {
        self.0.config.get_or_init(|| self.0.make())
    }

    /// Those of the environment, else those of the role that ECS gives the task.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        let provider = self.config().credentials_provider();
        provider.expect("the configuration is made with one")
    }

    #[cfg(test)]
    pub(crate) fn with(config: SdkConfig) -> Self {
        Self(Arc::new(Inner {
            config: config.into(),
            ..Inner::default()
        }))
    }
}

impl Inner {
    /// By hand: the SDK's own chain also knows profiles, web identities and EC2, none of which a task
    /// has, and they are a tenth of the program.
    fn make(&self) -> SdkConfig {
        let aws = Uri::from_static("https://amazonaws.com");
        let client = HttpClient::new(self.endpoint.as_ref().unwrap_or(&aws), None, &self.roots);
        let http_client = over(client);
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

pub(crate) fn over(client: HttpClient) -> SharedHttpClient {
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Wire {
            client: client.clone(),
            read_timeout: settings.read_timeout(),
        })
    })
}

/// One operation's way to the wire.
#[derive(Debug)]
struct Wire {
    client: HttpClient,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Wire {
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

/// The SDK tries again what is of the connection.
fn connector_error(error: HttpError) -> ConnectorError {
    match error {
        HttpError::Connect(_) | HttpError::ConnectionLost(_) => ConnectorError::io(error.into()),
        HttpError::Signing(_) | HttpError::InvalidResponse(_) | HttpError::BodyTooLarge => {
            ConnectorError::other(error.into(), None)
        }
    }
}
