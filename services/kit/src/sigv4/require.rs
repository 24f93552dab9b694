//! Routes that require a valid signature.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode};

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
    Ok(routes.route_layer(from_fn_with_state(Arc::new(guard), require_signature)))
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

async fn require_signature(
    State(guard): State<Arc<SignatureGuard>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let verified = guard.verify(&head, body).await;
    let outcome = match &verified {
        Ok(_) => "valid",
        Err(error) => error.name(),
    };
    guard.outcomes.count(outcome);
    if let Some(context) = head.extensions.get::<RequestContext>() {
        context.note("signature", outcome);
    }
    match verified {
        Ok(body) => next.run(Request::from_parts(head, body.into())).await,
        Err(error) => refuse(error),
    }
}

impl SignatureGuard {
    async fn verify(&self, head: &Head, body: Body) -> Result<Bytes, SignatureError> {
        let claim = self.verifier.claim(head)?;
        // The inbound stack has read it already. An empty body will not match the signature.
        let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
        self.verifier.prove(&claim, &body).map(|()| body)
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
