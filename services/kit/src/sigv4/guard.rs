//! Verifies the signatures of the routes that require one.

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::authorization::ALGORITHM;
use super::error::{SignatureError, SignatureSetupError};
use super::verify::Verifier;
use crate::settings::Base;
use crate::{Counter, Dependencies, KeyRing, Metrics, Problem, RequestContext};

/// Verifies requests, and says on their access lines and in metrics what came of it.
pub(crate) struct SignatureGuard {
    verifier: Verifier,
    outcomes: SignatureOutcomes,
}

impl SignatureGuard {
    pub(crate) fn new(
        base: &Base,
        dependencies: &Dependencies,
    ) -> Result<Self, SignatureSetupError> {
        let (keys, region) = scope(base, dependencies)?;
        let clock = dependencies.clock.clone();
        Ok(Self {
            verifier: Verifier::new(keys, region, dependencies.service.name, clock),
            outcomes: SignatureOutcomes::new(&dependencies.metrics),
        })
    }

    pub(crate) fn verify(
        &self,
        head: &Parts,
        body: &[u8],
        context: &RequestContext,
    ) -> Result<(), SignatureError> {
        let verified = self.verifier.verify(head, body);
        let outcome = verified.map_or_else(SignatureError::name, |()| "valid");
        self.outcomes.count(outcome);
        context.note("signature", outcome);
        verified
    }
}

/// RFC 9110: 401 asks for credentials and names their scheme, 403 refuses those that were sent.
impl IntoResponse for SignatureError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Missing | Self::Malformed(_) | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::UnknownKey | Self::Mismatch => StatusCode::FORBIDDEN,
        };
        let problem = Problem::new(status, self.to_string()).with_reason(self.name());
        let mut response = problem.into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static(ALGORITHM);
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
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
