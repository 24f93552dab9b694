//! What belongs to one request and travels with it: from the inbound stack to the handler, and from
//! there to the services that it calls.

pub(crate) mod correlation;
pub(crate) mod fault;
pub(crate) mod sampler;
pub(crate) mod time_limit;
pub(crate) mod trace;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use correlation::CorrelationId;
use sampler::Sampler;
use time_limit::TimeLimit;
use trace::TraceContext;

/// An extension of every request that a handler gets. Clones share one request's state.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<RequestInner>);

#[derive(Debug)]
struct RequestInner {
    correlation_id: CorrelationId,
    trace: TraceContext,
    began: Instant,
    time_limit: TimeLimit,
    /// The template of its path, where the service has such a route.
    route: OnceLock<&'static str>,
    notes: Mutex<Vec<(&'static str, &'static str)>>,
    is_targets_fault: AtomicBool,
    /// Whether its spans are exported, once that is known.
    is_traced: OnceLock<bool>,
}

impl RequestContext {
    /// A request that begins now and may take this long.
    pub fn new(correlation_id: CorrelationId, trace: TraceContext, time: Duration) -> Self {
        Self::begin(correlation_id, trace, TimeLimit::ours(time))
    }

    /// Of a request with these headers that begins now and may take `time_max`.
    pub(crate) fn of(headers: &HeaderMap, sampler: Sampler, time_max: Duration) -> Self {
        Self::begin(
            CorrelationId::of(headers).unwrap_or_else(CorrelationId::generate),
            TraceContext::of(headers, sampler),
            TimeLimit::of(headers, time_max),
        )
    }

    fn begin(correlation_id: CorrelationId, trace: TraceContext, time_limit: TimeLimit) -> Self {
        Self(Arc::new(RequestInner {
            correlation_id,
            trace,
            began: Instant::now(),
            time_limit,
            route: OnceLock::new(),
            notes: Mutex::default(),
            is_targets_fault: AtomicBool::new(false),
            is_traced: OnceLock::new(),
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

    /// When the request has to be answered, and every call that is made for it has to end.
    pub fn deadline(&self) -> Instant {
        self.0.began + self.0.time_limit.span
    }

    /// Whether the deadline is the caller's (`X-Request-Timeout-Ms`). Where it passes, that is the
    /// caller's fault and not ours: see `Problem::deadline_passed`.
    pub fn deadline_is_callers(&self) -> bool {
        self.0.time_limit.is_callers
    }

    pub(crate) fn time_limit(&self) -> TimeLimit {
        self.0.time_limit
    }

    /// Adds a field to the request's access line, such as the decision of a function. A later value
    /// replaces an earlier one of the same name.
    pub fn note(&self, name: &'static str, value: &'static str) {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|(known, _)| *known != name);
        notes.push((name, value));
    }

    pub(crate) fn take_notes(&self) -> Vec<(&'static str, &'static str)> {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut notes)
    }

    /// What was called for the request failed.
    pub(crate) fn blame_target(&self) {
        self.0.is_targets_fault.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_targets_fault(&self) -> bool {
        self.0.is_targets_fault.load(Ordering::Relaxed)
    }

    pub(crate) fn set_traced(&self, is_traced: bool) {
        self.0.is_traced.get_or_init(|| is_traced);
    }

    pub(crate) fn is_traced(&self) -> Option<bool> {
        self.0.is_traced.get().copied()
    }

    pub(crate) fn set_route(&self, route: &'static str) {
        self.0.route.get_or_init(|| route);
    }

    pub(crate) fn route(&self) -> Option<&'static str> {
        self.0.route.get().copied()
    }
}
