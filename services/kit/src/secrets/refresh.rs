//! Reads secrets again and again: at the start until they are there, within a bound; then once in
//! an interval. When that fails, the last good ones are kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::error::SecretsError;
use super::loaded::{Loaded, Values};
use super::source::Source;
use crate::{Counter, Gauge, KeyPairs, Metrics, Unit};

const ATTEMPTS: u32 = 3;
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// Twice as long before the third: with it, all three take less than 10 s.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Tasks that were started together shall not ask together for ever.
const JITTER: f64 = 0.1;

/// What a metric says of an age is never older than this.
const AGE_STEP: Duration = Duration::from_secs(15);

/// Loads secrets for the first time.
pub(super) async fn first(
    what: &str,
    load: impl AsyncFn() -> Result<Loaded, SecretsError>,
) -> Result<Loaded, SecretsError> {
    let mut attempt = 1;
    loop {
        match in_time(what, load()).await {
            Err(_) if attempt < ATTEMPTS => sleep(FIRST_PAUSE * attempt).await,
            ended => return ended,
        }
        attempt += 1;
    }
}

async fn in_time(
    what: &str,
    load: impl Future<Output = Result<Loaded, SecretsError>>,
) -> Result<Loaded, SecretsError> {
    let late = |_| SecretsError::Late {
        what: what.to_owned(),
        limit: ATTEMPT_LIMIT,
    };
    timeout(ATTEMPT_LIMIT, load).await.map_err(late)?
}

pub(crate) struct Refresher {
    pub(super) source: Source,
    pub(super) what: String,
    pub(super) interval: Duration,
    pub(super) shelf: Shelf,
}

impl Refresher {
    /// Goes on as long as the service does.
    pub(crate) async fn run(self) -> Infallible {
        if self.shelf.version_id.is_none() {
            // There is no secret, and the environment does not change.
            return std::future::pending().await;
        }
        let pause = || spread(self.interval, fastrand::f64());
        let load = async || Box::pin(self.source.load()).await;
        keep_fresh(&self.what, load, pause, self.shelf).await
    }
}

/// From 1 - `JITTER` to 1 + `JITTER` intervals, as `chance` goes from 0 to 1.
fn spread(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance)
}

async fn keep_fresh(
    what: &str,
    load: impl AsyncFn() -> Result<Loaded, SecretsError>,
    pause: impl Fn() -> Duration,
    mut shelf: Shelf,
) -> Infallible {
    loop {
        shelf.grow_old(pause()).await;
        match in_time(what, load()).await {
            Ok(loaded) => shelf.put(loaded),
            Err(error) => shelf.keep(error),
        }
    }
}

/// Where the last good version lies, for all who use it.
pub(super) struct Shelf {
    version_id: Option<String>,
    values: watch::Sender<Arc<Values>>,
    keys: Option<watch::Sender<Arc<KeyPairs>>>,
    read: Instant,
    failing: bool,
    age: Gauge,
    failures: Counter,
}

impl Shelf {
    pub(super) fn new(
        version_id: Option<String>,
        values: watch::Sender<Arc<Values>>,
        keys: Option<watch::Sender<Arc<KeyPairs>>>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            version_id,
            values,
            keys,
            read: Instant::now(),
            failing: false,
            age: metrics.gauge("secret_age", Unit::Seconds, &[]),
            failures: metrics.counter("secret_refresh_failures", &[]),
        }
    }

    async fn grow_old(&self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(AGE_STEP)).await;
            self.age.set(self.read.elapsed().as_secs_f64());
        }
    }

    fn put(&mut self, loaded: Loaded) {
        self.read = Instant::now();
        self.age.set(0.0);
        if std::mem::take(&mut self.failing) {
            tracing::info!("the secret can be read again");
        }
        if self.version_id == loaded.version_id {
            return;
        }
        tracing::info!(version_id = loaded.version_id, "the secret has changed");
        self.version_id = loaded.version_id;
        self.values.send_replace(Arc::new(loaded.values));
        if let Some((keys, pairs)) = self.keys.as_ref().zip(loaded.keys) {
            keys.send_replace(Arc::new(pairs));
        }
    }

    fn keep(&mut self, error: SecretsError) {
        self.failures.add(1);
        if !std::mem::replace(&mut self.failing, true) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(
                error,
                "the secret cannot be read again: the last good one is kept"
            );
        }
    }
}

#[cfg(test)]
mod tests;
