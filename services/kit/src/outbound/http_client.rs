//! One HTTP request to a target, and an answer that is whole.

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
use tokio::time::Instant;
use tower::BoxError;

use super::connect::{AnyOrder, ConnectTo, Connector};
use super::retry::AttemptOutcome;
use super::roots::TrustRoots;
use crate::sigv4::SigningError;

/// Far above what our services answer.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Below the idle timeouts that servers and load balancers have by default (60 s on AWS).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Under load no connection is ever idle: without a greatest age all calls would go on to the tasks
/// that were there first, and those that scaling adds would get none.
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

/// Of one target, or of many alike. Copies share its connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    connector: HttpsConnector<Connector>,
    pool: Arc<Mutex<Pool>>,
}

/// Connections of one generation. Where it is replaced, those that are idle are closed, and those
/// that are in use once they have been answered.
#[derive(Debug)]
struct Pool {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
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
        let mut inner = HttpConnector::new_with_resolver(AnyOrder::default());
        inner.enforce_http(false);
        inner.set_nodelay(true);
        inner.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = Connector {
            inner,
            to: connect_to,
        };
        let tls = if url.scheme() == Some(&Scheme::HTTPS) {
            roots.client_config()
        } else {
            TrustRoots::nobody()
        };
        let connector = HttpsConnector::from((connector, tls));
        let pool = Arc::new(Mutex::new(Pool::new(&connector)));
        Self { connector, pool }
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.pool().client.request(request.map(Full::new));
        let (head, body) = answer.await.map_err(of_request)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(of_body)?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.until <= Instant::now() {
            *pool = Pool::new(&self.connector);
        }
        pool
    }
}

impl Pool {
    /// Ends at some time between half of the greatest age and all of it, so that tasks that started
    /// together do not connect anew together.
    fn new(connector: &HttpsConnector<Connector>) -> Self {
        let age = POOL_AGE_MAX.mul_f64(1.0 - fastrand::f64() / 2.0);
        Self {
            client: builder().build(connector.clone()),
            until: Instant::now() + age,
        }
    }
}

/// A request that was handed to a pooled connection, but not yet written when the connection closed,
/// is sent again by hyper itself: whoever was to get it has seen nothing of it, so that is no retry.
fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .retry_canceled_requests(true)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT);
    builder
}

fn of_request(error: Error) -> HttpError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    if error.is_connect() {
        HttpError::Connect(error)
    } else if cause.is_some_and(hyper::Error::is_parse) {
        HttpError::InvalidResponse(error)
    } else {
        HttpError::ConnectionLost(error.into())
    }
}

fn of_body(error: BoxError) -> HttpError {
    if error.is::<LengthLimitError>() {
        HttpError::BodyTooLarge
    } else {
        HttpError::ConnectionLost(error)
    }
}
