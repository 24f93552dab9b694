//! How late the runtime runs what is due: a task of its own sleeps, and measures how much later
//! than it asked for it goes on. A handler that blocks a worker shows here, before anybody waits.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::{Metrics, Peak, Unit};

/// The timer's own resolution is a millisecond.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(super) struct SchedulingDelay {
    delay: Peak,
}

impl SchedulingDelay {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            delay: metrics.peak("scheduling_delay", Unit::Microseconds),
        }
    }

    /// Observes the runtime on one of its workers until the result is dropped.
    pub(super) fn observe(&self) -> JoinSet<Infallible> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().measure());
        tasks
    }

    async fn measure(self) -> Infallible {
        loop {
            let due = Instant::now() + INTERVAL;
            sleep_until(due).await;
            let delay = due.elapsed().as_micros();
            self.delay.set(u64::try_from(delay).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that is blocked is told with the time that it was, and later ones as they are.
    #[tokio::test(start_paused = true)]
    async fn a_blocked_worker_shows() {
        let metrics = Metrics::default();
        let delay = SchedulingDelay::new(&metrics);
        let _observed = delay.observe();
        tokio::task::yield_now().await;
        tokio::time::advance(INTERVAL + Duration::from_millis(40)).await;
        tokio::task::yield_now().await;
        let told = delay.delay.take();
        assert!((40_000..=41_000).contains(&told), "{told}");
        tokio::time::sleep(INTERVAL).await;
        tokio::task::yield_now().await;
        delay.delay.take();
        tokio::time::sleep(INTERVAL).await;
        assert!(delay.delay.take() <= 1000);
    }
}
