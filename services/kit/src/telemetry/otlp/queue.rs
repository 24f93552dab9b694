//! Spans between the requests that record them and the exporter that sends them.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::span::Span;
use crate::{Clock, Counter};

/// How many spans are sent at once.
const BATCH: usize = 512;
/// Where the collector is slower than the requests, spans beyond this are dropped and counted.
const SPANS_MAX: usize = 4 * BATCH;

pub(super) struct SpanQueue {
    clock: Clock,
    spans: Mutex<Vec<Span>>,
    has_batch: Notify,
    dropped: Counter,
}

impl SpanQueue {
    pub(super) fn new(clock: Clock, dropped: Counter) -> Self {
        Self {
            clock,
            spans: Mutex::default(),
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
