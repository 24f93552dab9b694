//! The routes of a service, and which of them require a signature.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use bytes::Bytes;
use http::StatusCode;
use tower::ServiceExt as _;

use crate::settings::{Base, Signatures};
use crate::sigv4::{SignatureGuard, SignatureSetupError};
use crate::{Dependencies, RequestContext};

/// Each path is open, or only for callers that sign their requests.
pub struct Routes<S = ()> {
    router: Router<S>,
    paths: matchit::Router<RoutePath>,
    has_signed: bool,
}

/// The paths are matched here as well as by axum. So the route of a request is known from its
/// beginning, and no layer of axum is needed to verify a signature: each boxes its futures, and
/// clones what is below it twice for every request.
pub(super) struct GuardedRoutes {
    router: Router,
    paths: matchit::Router<RoutePath>,
    /// `None` where nothing requires a signature.
    guard: Option<SignatureGuard>,
}

#[derive(Clone, Copy)]
pub(super) struct RoutePath {
    pub(super) template: &'static str,
    is_signed: bool,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self {
            router: Router::new(),
            paths: matchit::Router::new(),
            has_signed: false,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Self::default()
    }

    /// A path that answers everybody.
    #[must_use]
    pub fn open(self, path: &'static str, methods: MethodRouter<S>) -> Self {
        self.route(path, false, methods)
    }

    /// A path that answers 401 or 403, where `SIGNATURES` is `required`, unless the request is signed
    /// for this service.
    #[must_use]
    pub fn signed(self, path: &'static str, methods: MethodRouter<S>) -> Self {
        self.route(path, true, methods)
    }

    fn route(mut self, path: &'static str, is_signed: bool, methods: MethodRouter<S>) -> Self {
        let known = RoutePath {
            template: path,
            is_signed,
        };
        // A path that is given twice must not be open because it was so the first time.
        let inserted = self.paths.insert(path, known);
        inserted.expect("a path is valid, and given once with all its methods");
        self.router = self.router.route(path, methods);
        self.has_signed |= is_signed;
        self
    }

    pub fn with_state(self, state: S) -> Routes {
        Routes {
            router: self.router.with_state(state),
            paths: self.paths,
            has_signed: self.has_signed,
        }
    }
}

impl Routes {
    pub(super) fn guarded(
        self,
        base: &Base,
        dependencies: &Dependencies,
    ) -> Result<GuardedRoutes, SignatureSetupError> {
        let is_required = base.signatures != Signatures::Off && self.has_signed;
        let guard = is_required.then(|| SignatureGuard::new(base, dependencies));
        Ok(GuardedRoutes {
            // Handlers without a state become services now, and not at every request.
            router: self.router.with_state(()),
            paths: self.paths,
            guard: guard.transpose()?,
        })
    }
}

impl GuardedRoutes {
    pub(super) fn path(&self, path: &str) -> Option<RoutePath> {
        self.paths.at(path).ok().map(|found| *found.value)
    }

    /// Answers a request with this path and body. One whose path is not known here does not reach
    /// axum: no path is open by mistake.
    pub(super) async fn answer(
        &self,
        path: Option<RoutePath>,
        context: &RequestContext,
        request: Request,
        body: Bytes,
    ) -> Response {
        let Some(path) = path else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let (head, no_body) = request.into_parts();
        if path.is_signed
            && let Some(guard) = &self.guard
            && let Err(error) = guard.verify(&head, &body, context)
        {
            return error.into_response();
        }
        let body = if body.is_empty() {
            no_body
        } else {
            body.into()
        };
        let answer = self.router.clone();
        let answer = answer.oneshot(Request::from_parts(head, body)).await;
        answer.unwrap_or_else(|never| match never {})
    }
}
