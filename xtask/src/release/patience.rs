//! Calls that are repeated until AWS answers them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ReleaseError;
use crate::report::{LockEvent, Report};

/// The pause after a call that was not answered, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long AWS may not answer.
pub(super) struct Patience {
    limit: Duration,
    /// How many calls it has not answered.
    unanswered: AtomicU32,
}

impl Patience {
    pub(super) fn of(limit: Duration) -> Self {
        Self {
            limit,
            unanswered: AtomicU32::new(0),
        }
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Repeats a call until AWS answers it. Only for calls that may be made twice.
    ///
    /// # Errors
    /// An answer that is an error; none at all for too long.
    pub(super) async fn answered<T, E: Into<ReleaseError>>(
        &self,
        report: &Report,
        mut call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, ReleaseError> {
        let started = Instant::now();
        let (mut pause, longest) = PAUSES;
        loop {
            match call().await.map_err(Into::into) {
                Err(ReleaseError::Unanswered { how }) if started.elapsed() < self.limit => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    report.emit(LockEvent::NotAnswered { how });
                }
                answer => return answer,
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}
