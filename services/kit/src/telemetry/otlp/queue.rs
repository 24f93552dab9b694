//! Spans between the requests that record them and the exporter that sends them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::span::Span;
use crate::{Clock, Counter, RequestContext};

/// How many spans are sent at once.
const BATCH: usize = 512;
/// Where the collector is slower than the requests, spans beyond this are dropped and counted.
const SPANS_MAX: usize = 4 * BATCH;
/// The attempts of so many requests are held until it is known whether they are exported.
const HELD_MAX: usize = 1024;

pub(super) struct SpanQueue {
    clock: Clock,
    spans: Mutex<Vec<Span>>,
    /// Of requests that are under way, by the id of the request's span.
    held: Mutex<HashMap<u64, Vec<Span>>>,
    has_batch: Notify,
    dropped: Counter,
}

impl SpanQueue {
    pub(super) fn new(clock: Clock, dropped: Counter) -> Self {
        Self {
            clock,
            spans: Mutex::default(),
            held: Mutex::default(),
            has_batch: Notify::new(),
            dropped,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn push(&self, span: Span) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() == SPANS_MAX {
            self.dropped.add(1);
            return;
        }
        spans.push(span);
        if spans.len() == BATCH {
            self.has_batch.notify_one();
        }
    }

    /// Adds the span of an attempt, or holds it until its request's end decides.
    pub(super) fn push_attempt(&self, span: Span) {
        let request = span.context.trace();
        if request.is_unlikely() {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match span.context.is_traced() {
                Some(true) => {}
                Some(false) => return,
                None => {
                    let id = request.span_id();
                    if held.len() < HELD_MAX || held.contains_key(&id) {
                        held.entry(id).or_default().push(span);
                    }
                    return;
                }
            }
        }
        self.push(span);
    }

    /// Exports what is held of a request, or drops it; also what comes of it later.
    pub(super) fn decide(&self, context: &RequestContext, is_traced: bool) {
        let id = context.trace().span_id();
        let attempts = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            context.set_traced(is_traced);
            held.remove(&id)
        };
        for attempt in attempts.into_iter().flatten().filter(|_| is_traced) {
            self.push(attempt);
        }
    }

    /// Completes when there is a whole batch.
    pub(super) async fn has_batch(&self) {
        self.has_batch.notified().await;
    }

    /// Moves the oldest spans into an empty `batch`.
    pub(super) fn take(&self, batch: &mut Vec<Span>) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let count = spans.len().min(BATCH);
        batch.extend(spans.drain(..count));
    }

    pub(super) fn count_dropped(&self, spans: usize) {
        self.dropped.add(u64::try_from(spans).unwrap_or(u64::MAX));
    }
}
