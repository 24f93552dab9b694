//! The HTTP transport of the SDKs, of pushes and of probes: TLS trust, proxies and limits.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::rehearsal::Rehearsal;
use crate::decide::machine::proxy::{Proxies, Proxy};
use crate::failure::{Failure, Kind};
use crate::ports::ProcessEnv;

/// The limit of establishing a connection.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Transport {
    /// The trusted certificate authorities. `None`: plain HTTP only.
    trust: Option<TlsContext>,
    proxies: Arc<Proxies>,
    /// Makes requests fail on purpose.
    rehearsal: Option<Arc<Rehearsal>>,
}

impl Transport {
    /// For services on this machine: plain HTTP without the settings of the shell.
    pub fn local() -> Self {
        Self {
            trust: None,
            proxies: Arc::default(),
            rehearsal: None,
        }
    }

    #[must_use]
    pub fn with_faults(self, rehearsal: Option<Arc<Rehearsal>>) -> Self {
        Self { rehearsal, ..self }
    }

    /// For AWS: trusts the authorities of this machine and of `AWS_CA_BUNDLE`, and uses the proxy
    /// of the shell, as Terraform does.
    pub fn real(process_env: &ProcessEnv) -> Result<Self> {
        let proxies = Proxies::parse(|name| process_env.variable(name)).map_err(|error| {
            Failure::not_ready(error.to_string())
                .hint("use http://HOST:PORT, with special characters of a password encoded as %XX")
        })?;
        let bundle = process_env.variable("AWS_CA_BUNDLE").map(bundle);
        Ok(Self {
            trust: Some(trust(bundle.transpose()?)?),
            proxies: Arc::new(proxies),
            rehearsal: None,
        })
    }

    /// The client of the SDKs.
    pub fn sdk(&self) -> SharedHttpClient {
        let transport = self.clone();
        let made: Mutex<HashMap<_, SharedHttpConnector>> = Mutex::default();
        http_client_fn(move |settings, _| {
            let limits = (settings.connect_timeout(), settings.read_timeout());
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            let connector = made
                .entry(limits)
                .or_insert_with(|| transport.connector(settings, None));
            connector.clone()
        })
    }

    /// The client of our own requests. `idle_max`: the number of idle connections to keep for each
    /// host. `None`: no limit.
    pub(super) fn client(&self, idle_max: Option<usize>) -> Client {
        Client {
            transport: self.clone(),
            idle_max,
            made: OnceLock::new(),
        }
    }

    fn connector(
        &self,
        settings: &HttpConnectorSettings,
        idle_max: Option<usize>,
    ) -> SharedHttpConnector {
        let proxied = self.proxies.iter().map(|(scheme, proxy)| {
            let config = ProxyConfig::all(proxy.url().clone());
            let config = config.expect("a parsed proxy has a scheme and a host");
            (scheme, self.single_connector(settings, idle_max, config))
        });
        let connector = SharedHttpConnector::new(RoutingConnector {
            direct: self.single_connector(settings, idle_max, ProxyConfig::disabled()),
            proxied: proxied.collect(),
            proxies: Arc::clone(&self.proxies),
        });
        match &self.rehearsal {
            Some(rehearsal) => Rehearsal::in_front_of(rehearsal, connector),
            None => connector,
        }
    }

    fn single_connector(
        &self,
        settings: &HttpConnectorSettings,
        idle_max: Option<usize>,
        proxy: ProxyConfig,
    ) -> Connector {
        let mut builder = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(proxy);
        if let Some(idle_max) = idle_max {
            builder = builder.pool_max_idle_per_host(idle_max);
        }
        match &self.trust {
            None => builder.build_http(),
            Some(trust) => builder
                .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                .tls_context(trust.clone())
                .build(),
        }
    }
}

/// Sends each request directly or through a proxy.
#[derive(Debug)]
struct RoutingConnector {
    direct: Connector,
    /// By the scheme of the request.
    proxied: BTreeMap<&'static str, Connector>,
    proxies: Arc<Proxies>,
}

impl HttpConnector for RoutingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target: http::Uri = request.uri().parse().unwrap_or_default();
        let proxied = self.proxies.of(&target).and_then(|proxy| {
            let scheme = target.scheme_str()?;
            Some((proxy.clone(), self.proxied.get(scheme)?))
        });
        let Some((proxy, connector)) = proxied else {
            return self.direct.call(request);
        };
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(|it| with_proxy(proxy, it)) })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct ProxyConnectError {
    proxy: Proxy,
    source: ConnectorError,
}

/// Adds the proxy to an error and keeps its kind, which the SDK needs for retries.
fn with_proxy(proxy: Proxy, source: ConnectorError) -> ConnectorError {
    let (is_timeout, is_io, kind) = (source.is_timeout(), source.is_io(), source.as_other());
    let error = Box::new(ProxyConnectError { proxy, source });
    if is_timeout {
        ConnectorError::timeout(error)
    } else if is_io {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, kind)
    }
}

/// Sends requests other than those of the SDKs. The connector is created with the first request,
/// since most commands have none.
pub(super) struct Client {
    transport: Transport,
    idle_max: Option<usize>,
    made: OnceLock<SharedHttpConnector>,
}

impl Client {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// Also if the body has more than `bytes_max` bytes.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>> {
        let request =
            HttpRequest::try_from(request.map(SdkBody::from)).context("build a request")?;
        let connector = self.made.get_or_init(|| {
            let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_LIMIT);
            self.transport.connector(&settings.build(), self.idle_max)
        });
        let answer = connector.call(request).await;
        let answer = answer
            .map_err(|error| Failure::new(Kind::Unanswered, format!("{:#}", anyhow!(error))))?;
        let answer = answer.try_into_http1x()?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// The authorities of this machine or of `SSL_CERT_FILE`, and those of a bundle.
fn trust(bundle: Option<Vec<u8>>) -> Result<TlsContext> {
    let mut machine = rustls::RootCertStore::empty();
    machine.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if machine.is_empty() && bundle.is_none() {
        return Err(
            Failure::not_ready("this machine has no trusted certificate authorities")
                .hint("install them (apt-get install ca-certificates), or correct SSL_CERT_FILE")
                .into(),
        );
    }
    let mut store = TrustStore::empty().with_native_roots(!machine.is_empty());
    if let Some(bundle) = bundle {
        store = store.with_pem_certificate(bundle);
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context.context("set up TLS")
}

/// Reads the certificates of a file. All have to be valid, since the SDK panics on invalid ones.
#[expect(clippy::disallowed_methods, reason = "reads the certificates to trust")]
fn bundle(file: &str) -> Result<Vec<u8>> {
    let unusable = |why: String| {
        Failure::not_ready(format!("AWS_CA_BUNDLE is {file}: {why}"))
            .hint("use a file of PEM certificates, or unset AWS_CA_BUNDLE")
    };
    let bytes = std::fs::read(Path::new(file)).map_err(|error| unusable(error.to_string()))?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(unusable("no certificate in the file".to_owned()).into());
    }
    Ok(bytes)
}
