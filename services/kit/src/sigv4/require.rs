//! Routes that require a valid signature.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode};
use tower::{Layer, Service};

use super::authorization::ALGORITHM;
use super::error::{SignatureError, SignatureSetupError};
use super::verify::Verifier;
use crate::server::BODY_BYTES_MAX;
use crate::settings::{Base, Signatures};
use crate::{Counter, Dependencies, KeyRing, Metrics, Problem, RequestContext};

/// Where `SIGNATURES` is `required`, these routes answer 401 or 403 unless the request is signed
/// for this service. Wrap only the protected routes and merge them with the others:
///
/// ```text
/// let signed = sigv4::required(Router::new().route("/reason", get(reason)), base, dependencies)?;
/// let routes = Router::new().route("/health", health(dependencies)).merge(signed);
/// ```
pub fn required<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    base: &Base,
    dependencies: &Dependencies,
) -> Result<Router<S>, SignatureSetupError> {
    if base.signatures == Signatures::Off {
        return Ok(routes);
    }
    let (keys, region) = scope(base, dependencies)?;
    let guard = SignatureGuard {
        verifier: Verifier::new(
            keys,
            region,
            dependencies.service.name,
            dependencies.clock.clone(),
        ),
        outcomes: SignatureOutcomes::new(&dependencies.metrics),
    };
    Ok(routes.route_layer(SignatureLayer(Arc::new(guard))))
}

/// The keys and the region of the signatures' scope.
pub(super) fn scope(
    base: &Base,
    dependencies: &Dependencies,
) -> Result<(KeyRing, String), SignatureSetupError> {
    let keys = dependencies
        .keys
        .clone()
        .ok_or(SignatureSetupError::NoKeys)?;
    Ok((keys, region(base)?))
}

pub(super) fn region(base: &Base) -> Result<String, SignatureSetupError> {
    base.region.clone().ok_or(SignatureSetupError::NoRegion)
}

struct SignatureGuard {
    verifier: Verifier,
    outcomes: SignatureOutcomes,
}

/// As a layer of its own, and not a function of axum's, it boxes no future and clones no route.
#[derive(Clone)]
struct SignatureLayer(Arc<SignatureGuard>);

#[derive(Clone)]
struct SignedRoute<S> {
    guard: Arc<SignatureGuard>,
    route: S,
}

impl<S> Layer<S> for SignatureLayer {
    type Service = SignedRoute<S>;

    fn layer(&self, route: S) -> SignedRoute<S> {
        let guard = Arc::clone(&self.0);
        SignedRoute { guard, route }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for SignedRoute<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.guard.admit(request) {
            Ok(request) => Either::Right(self.route.call(request)),
            Err(error) => Either::Left(ready(Ok(refuse(error)))),
        }
    }
}

impl SignatureGuard {
    fn admit(&self, request: Request) -> Result<Request, SignatureError> {
        let (head, body) = request.into_parts();
        let verified = self.verify(&head, body);
        let outcome = match &verified {
            Ok(_) => "valid",
            Err(error) => error.name(),
        };
        self.outcomes.count(outcome);
        if let Some(context) = head.extensions.get::<RequestContext>() {
            context.note("signature", outcome);
        }
        verified.map(|body| Request::from_parts(head, body))
    }

    fn verify(&self, head: &Head, body: Body) -> Result<Body, SignatureError> {
        let claim = self.verifier.claim(head)?;
        if body.is_end_stream() {
            return self.verifier.prove(&claim, b"").map(|()| body);
        }
        // The inbound stack has read it already. What it has not read will not match the signature.
        let read = to_bytes(body, BODY_BYTES_MAX).now_or_never();
        let body = read.and_then(Result::ok).unwrap_or_default();
        self.verifier.prove(&claim, &body).map(|()| body.into())
    }
}

/// RFC 9110: 401 asks for credentials and names their scheme, 403 refuses those that were sent.
fn refuse(error: SignatureError) -> Response {
    let status = match error {
        SignatureError::Missing | SignatureError::Malformed(_) | SignatureError::Expired => {
            StatusCode::UNAUTHORIZED
        }
        SignatureError::UnknownKey | SignatureError::Mismatch => StatusCode::FORBIDDEN,
    };
    let problem = Problem::new(status, error.to_string()).with_reason(error.name());
    let mut response = problem.into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static(ALGORITHM);
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

struct SignatureOutcomes([(&'static str, Counter); 6]);

impl SignatureOutcomes {
    fn new(metrics: &Metrics) -> Self {
        let counter = |dimensions| metrics.counter("signatures", dimensions);
        Self([
            ("valid", counter(&[("outcome", "valid")])),
            ("missing", counter(&[("outcome", "missing")])),
            ("malformed", counter(&[("outcome", "malformed")])),
            ("expired", counter(&[("outcome", "expired")])),
            ("unknown_key", counter(&[("outcome", "unknown_key")])),
            ("mismatch", counter(&[("outcome", "mismatch")])),
        ])
    }

    fn count(&self, outcome: &str) {
        for (name, counter) in &self.0 {
            if *name == outcome {
                counter.add(1);
            }
        }
    }
}
