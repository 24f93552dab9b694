//! How requests leave this machine: those of the SDKs, of a push and of a probe alike.

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

use crate::decide::machine::proxy::{Proxies, Proxy};
use crate::failure::Failure;
use crate::ports::ProcessEnv;

/// A connection is there within this, or not at all.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Transport {
    /// Whom to trust; plain HTTP alone, where nobody is named.
    trust: Option<TlsContext>,
    proxies: Arc<Proxies>,
}

impl Transport {
    /// For what is on this machine: plain HTTP, and nothing that the shell holds has a say.
    pub fn local() -> Self {
        Self {
            trust: None,
            proxies: Arc::default(),
        }
    }

    /// For AWS: trusts whom this machine trusts, and whoever is in the file of `AWS_CA_BUNDLE`;
    /// goes through the proxy that the shell names, as Terraform does.
    pub fn real(process_env: &ProcessEnv) -> Result<Self> {
        let proxies = Proxies::parse(|name| process_env.variable(name)).map_err(|unusable| {
            Failure::not_ready(unusable.to_string())
                .hint("write http://HOST:PORT; what stands for itself in a password is %XX")
        })?;
        let bundle = process_env.variable("AWS_CA_BUNDLE").map(bundle);
        Ok(Self {
            trust: Some(trust(bundle.transpose()?)?),
            proxies: Arc::new(proxies),
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

    /// The client of our own requests. `idle_max`: how many connections to a host are kept, all
    /// where nothing is said.
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
        let through = self.proxies.iter().map(|(scheme, proxy)| {
            let way = ProxyConfig::all(proxy.url().clone());
            let way = way.expect("a proxy that was parsed has a scheme and a host");
            (scheme, self.one_way(settings, idle_max, way))
        });
        SharedHttpConnector::new(Ways {
            direct: self.one_way(settings, idle_max, ProxyConfig::disabled()),
            through: through.collect(),
            proxies: Arc::clone(&self.proxies),
        })
    }

    fn one_way(
        &self,
        settings: &HttpConnectorSettings,
        idle_max: Option<usize>,
        way: ProxyConfig,
    ) -> Connector {
        let mut builder = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(way);
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

/// The connectors of one client: which of them a request takes is not for the client to say.
#[derive(Debug)]
struct Ways {
    direct: Connector,
    /// By the scheme of what is asked.
    through: BTreeMap<&'static str, Connector>,
    proxies: Arc<Proxies>,
}

impl HttpConnector for Ways {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target: http::Uri = request.uri().parse().unwrap_or_default();
        let way = self.proxies.of(&target).and_then(|proxy| {
            let scheme = target.scheme_str()?;
            Some((proxy.clone(), self.through.get(scheme)?))
        });
        let Some((proxy, connector)) = way else {
            return self.direct.call(request);
        };
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(|it| through(proxy, it)) })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct Through {
    proxy: Proxy,
    source: ConnectorError,
}

/// The same error, for the SDK to go by, which names the proxy.
fn through(proxy: Proxy, source: ConnectorError) -> ConnectorError {
    let (is_timeout, is_io, kind) = (source.is_timeout(), source.is_io(), source.as_other());
    let error = Box::new(Through { proxy, source });
    if is_timeout {
        ConnectorError::timeout(error)
    } else if is_io {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, kind)
    }
}

/// Sends requests that are not an SDK's. Most commands have none, and so it reads whom to trust
/// with its first one.
pub(super) struct Client {
    transport: Transport,
    idle_max: Option<usize>,
    made: OnceLock<SharedHttpConnector>,
}

impl Client {
    /// One request and its whole answer, which is an error where it has more bytes than this.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>> {
        let request =
            HttpRequest::try_from(request.map(SdkBody::from)).context("make a request")?;
        let connector = self.made.get_or_init(|| {
            let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_LIMIT);
            self.transport.connector(&settings.build(), self.idle_max)
        });
        let answer = connector.call(request).await?.try_into_http1x()?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// Whom this machine trusts, or who is in `SSL_CERT_FILE`, and who is in a bundle.
fn trust(bundle: Option<Vec<u8>>) -> Result<TlsContext> {
    let mut machine = rustls::RootCertStore::empty();
    machine.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if machine.is_empty() && bundle.is_none() {
        return Err(
            Failure::not_ready("this machine trusts no authority that signs certificates")
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

/// The certificates of a file, all of which can be used: with others the SDK panics.
#[expect(
    clippy::disallowed_methods,
    reason = "whom to trust is read here and nowhere else"
)]
fn bundle(file: &str) -> Result<Vec<u8>> {
    let useless = |why: String| {
        Failure::not_ready(format!("AWS_CA_BUNDLE names {file}: {why}"))
            .hint("name a file of PEM certificates, or unset AWS_CA_BUNDLE")
    };
    let bytes = std::fs::read(Path::new(file)).map_err(|error| useless(error.to_string()))?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| useless(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| useless(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(useless("it has no certificate".to_owned()).into());
    }
    Ok(bytes)
}
