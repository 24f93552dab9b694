//! Routes that answer only those who sign, and what they answer everybody else.

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
use super::error::{SignatureError, SigningSetupError};
use super::verify::Verifier;
use crate::server::BODY_BYTES_MAX;
use crate::settings::{Base, Signatures};
use crate::{Counter, Dependencies, KeyRing, Metrics, Problem, RequestContext};

/// These routes answer only who signs for this service, where `SIGNATURES` is `required`. Put it
/// around the routes that are meant and merge these with the others:
///
/// ```text
/// let signed = sigv4::required(Router::new().route("/reason", get(reason)), base, dependencies)?;
/// let routes = Router::new().route("/health", health(dependencies)).merge(signed);
/// ```
pub fn required<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    base: &Base,
    dependencies: &Dependencies,
) -> Result<Router<S>, SigningSetupError> {
    if base.signatures == Signatures::Off {
        return Ok(routes);
    }
    let (keys, region) = scope(base, dependencies)?;
    let guard = Guard {
        verifier: Verifier::new(
            keys,
            region,
            dependencies.service.name,
            dependencies.clock.clone(),
        ),
        outcomes: Outcomes::new(&dependencies.metrics),
    };
    Ok(routes.route_layer(from_fn_with_state(Arc::new(guard), let_in)))
}

/// What signatures are made and verified by.
pub(super) fn scope(
    base: &Base,
    dependencies: &Dependencies,
) -> Result<(KeyRing, String), SigningSetupError> {
    let keys = dependencies.keys.clone().ok_or(SigningSetupError::NoKeys)?;
    Ok((keys, region(base)?))
}

pub(super) fn region(base: &Base) -> Result<String, SigningSetupError> {
    base.region.clone().ok_or(SigningSetupError::NoRegion)
}

struct Guard {
    verifier: Verifier,
    outcomes: Outcomes,
}

async fn let_in(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let verified = guard.verify(&head, body).await;
    let outcome = match &verified {
        Ok(_) => "valid",
        Err(refusal) => refusal.name(),
    };
    guard.outcomes.count(outcome);
    if let Some(context) = head.extensions.get::<RequestContext>() {
        context.note("signature", outcome);
    }
    match verified {
        Ok(body) => next.run(Request::from_parts(head, body.into())).await,
        Err(refusal) => refused(refusal),
    }
}

impl Guard {
    async fn verify(&self, head: &Head, body: Body) -> Result<Bytes, SignatureError> {
        let claim = self.verifier.claim(head)?;
        // The stack has read it; what could not be read is not what was signed.
        let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
        self.verifier.prove(&claim, &body).map(|()| body)
    }
}

/// RFC 9110: 401 asks for (other) credentials and says of which kind, 403 has seen them.
fn refused(refusal: SignatureError) -> Response {
    let status = match refusal {
        SignatureError::Missing | SignatureError::Malformed(_) | SignatureError::Expired => {
            StatusCode::UNAUTHORIZED
        }
        SignatureError::UnknownKey | SignatureError::Mismatch => StatusCode::FORBIDDEN,
    };
    let problem = Problem::new(status, refusal.to_string()).with_reason(refusal.name());
    let mut response = problem.into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static(ALGORITHM);
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

struct Outcomes([(&'static str, Counter); 6]);

impl Outcomes {
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
