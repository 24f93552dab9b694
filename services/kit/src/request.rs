//! What belongs to one request and goes with it: from the inbound stack to the handler, and from
//! there on to whoever is called.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::MatchedPath;
use tokio::time::Instant;

use crate::deadline::Time;
use crate::{CorrelationId, TraceContext};

/// Handlers find it among the request's extensions; copies are of the same request.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    correlation_id: CorrelationId,
    trace: TraceContext,
    began: Instant,
    time: Time,
    /// Filled by the router, read by the access line, which lies outside the router: so there is
    /// a route on the line of a request that panicked or ran out of time, too.
    route: OnceLock<MatchedPath>,
    notes: Mutex<Vec<(&'static str, &'static str)>>,
}

impl RequestContext {
    /// A request that begins now and may take this long.
    pub fn new(correlation_id: CorrelationId, trace: TraceContext, time: Duration) -> Self {
        Self::begin(correlation_id, trace, Time::ours(time))
    }

    pub(crate) fn begin(correlation_id: CorrelationId, trace: TraceContext, time: Time) -> Self {
        Self(Arc::new(Inner {
            correlation_id,
            trace,
            began: Instant::now(),
            time,
            route: OnceLock::new(),
            notes: Mutex::default(),
        }))
    }

    pub fn correlation_id(&self) -> &CorrelationId {
        &self.0.correlation_id
    }

    pub fn trace(&self) -> &TraceContext {
        &self.0.trace
    }

    pub fn began(&self) -> Instant {
        self.0.began
    }

    /// When the whole request, and all that is called for it, has to be over.
    pub fn deadline(&self) -> Instant {
        self.0.began + self.0.time.span
    }

    /// Whether the deadline is the caller's (`X-Request-Timeout-Ms`) and not ours: that it passes
    /// is then nobody's failure but the caller's. See `Problem::deadline_passed`.
    pub fn deadline_is_callers(&self) -> bool {
        self.0.time.is_callers
    }

    pub(crate) fn time(&self) -> Time {
        self.0.time
    }

    /// A field of the request's access line, such as what governance said. The last value counts.
    pub fn note(&self, name: &'static str, value: &'static str) {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|(known, _)| *known != name);
        notes.push((name, value));
    }

    pub(crate) fn notes(&self) -> Vec<(&'static str, &'static str)> {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut notes)
    }

    pub(crate) fn set_route(&self, route: &MatchedPath) {
        self.0.route.get_or_init(|| route.clone());
    }

    pub(crate) fn route(&self) -> Option<&str> {
        self.0.route.get().map(MatchedPath::as_str)
    }
}
