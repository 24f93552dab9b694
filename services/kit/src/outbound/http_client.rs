//! Sends one HTTP request and reads the whole response.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;
use tower::BoxError;

use super::connect::{ConnectTo, TargetConnector};
use super::resolver::ShuffledResolver;
use super::retry::AttemptOutcome;
use super::roots::TrustRoots;
use crate::sigv4::SigningError;

/// Far above what our services answer with.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Below the idle timeouts that servers and load balancers have by default (60 s on AWS).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Under load no connection is ever idle: without a maximum age all calls would go to the tasks
/// that were there first, and tasks that scaling adds would get none.
const POOL_AGE_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the request cannot be signed")]
    Signing(#[source] SigningError),
    #[error("cannot connect")]
    Connect(#[source] Error),
    #[error("the connection was lost")]
    ConnectionLost(#[source] BoxError),
    #[error("the response is not HTTP")]
    InvalidResponse(#[source] Error),
    #[error("the response is larger than {BODY_BYTES_MAX} bytes")]
    BodyTooLarge,
}

/// Clones share one pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    connector: TargetConnector,
    tls: Arc<ClientConfig>,
    pool: Arc<Mutex<Pool>>,
}

/// Connections that were opened within one `POOL_AGE_MAX`. When the pool is replaced, idle
/// connections are closed, and busy ones after their response.
#[derive(Debug)]
struct Pool {
    client: Client<HttpsConnector<TargetConnector>, Full<Bytes>>,
    until: Instant,
}

impl HttpError {
    pub(super) fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::Signing(_) => AttemptOutcome::Abandoned,
            Self::Connect(_) => AttemptOutcome::NotConnected,
            Self::ConnectionLost(_) => AttemptOutcome::ConnectionLost,
            Self::InvalidResponse(_) | Self::BodyTooLarge => AttemptOutcome::Broken,
        }
    }
}

impl HttpClient {
    pub(crate) fn new(url: &Uri, connect_to: Option<ConnectTo>, roots: &TrustRoots) -> Self {
        Self::resolving(url, connect_to, roots, ShuffledResolver::default())
    }

    pub(super) fn resolving(
        url: &Uri,
        connect_to: Option<ConnectTo>,
        roots: &TrustRoots,
        resolver: ShuffledResolver,
    ) -> Self {
        let mut inner = HttpConnector::new_with_resolver(resolver);
        inner.enforce_http(false);
        inner.set_nodelay(true);
        inner.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = TargetConnector {
            inner,
            to: connect_to,
        };
        let tls = if url.scheme() == Some(&Scheme::HTTPS) {
            roots.client_config()
        } else {
            TrustRoots::without_certificates()
        };
        Self::connecting(connector, tls)
    }

    /// A client for the same requests that connects to this address only.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        let to = Some(ConnectTo::address(address));
        let connector = TargetConnector {
            to,
            ..self.connector.clone()
        };
        Self::connecting(connector, Arc::clone(&self.tls))
    }

    fn connecting(connector: TargetConnector, tls: Arc<ClientConfig>) -> Self {
        let pool = Arc::new(Mutex::new(Pool::new(&connector, &tls)));
        Self {
            connector,
            tls,
            pool,
        }
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.pool().client.request(request.map(Full::new));
        let (head, body) = answer.await.map_err(request_error)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(body_error)?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.until <= Instant::now() {
            *pool = Pool::new(&self.connector, &self.tls);
        }
        pool
    }
}

impl Pool {
    /// It is replaced after a random time between half of the maximum age and all of it, so that
    /// callers that started together do not reconnect together.
    fn new(connector: &TargetConnector, tls: &Arc<ClientConfig>) -> Self {
        let connector = HttpsConnector::from((connector.clone(), Arc::clone(tls)));
        let age = POOL_AGE_MAX.mul_f64(1.0 - fastrand::f64() / 2.0);
        Self {
            client: builder().build(connector),
            until: Instant::now() + age,
        }
    }
}

/// hyper itself sends a request again that was given to a pooled connection but not yet written
/// when the connection closed: the target has received nothing of it, so that is not a retry.
fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .retry_canceled_requests(true)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT);
    builder
}

fn request_error(error: Error) -> HttpError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    if error.is_connect() {
        HttpError::Connect(error)
    } else if cause.is_some_and(hyper::Error::is_parse) {
        HttpError::InvalidResponse(error)
    } else {
        HttpError::ConnectionLost(error.into())
    }
}

fn body_error(error: BoxError) -> HttpError {
    if error.is::<LengthLimitError>() {
        HttpError::BodyTooLarge
    } else {
        HttpError::ConnectionLost(error)
    }
}
