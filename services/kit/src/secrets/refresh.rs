//! Loads secrets: at the start with a few attempts, then once an interval. Where a refresh fails,
//! the last good version stays in use.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::error::SecretsError;
use super::loaded::{DecryptedSecrets, SecretValues};
use super::source::SecretSource;
use crate::{Counter, Gauge, KeyPairs, Metrics, Unit};

const ATTEMPTS: u32 = 3;
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// The second pause is twice as long; three attempts with their pauses take less than 10 s.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Keeps tasks that started together from refreshing together.
const JITTER: f64 = 0.1;

/// How often `secret_age` is updated.
const AGE_STEP: Duration = Duration::from_secs(15);

/// Loads secrets for the first time.
pub(super) async fn first(
    what: &str,
    load: impl AsyncFn() -> Result<DecryptedSecrets, SecretsError>,
) -> Result<DecryptedSecrets, SecretsError> {
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
    load: impl Future<Output = Result<DecryptedSecrets, SecretsError>>,
) -> Result<DecryptedSecrets, SecretsError> {
    let late = |_| SecretsError::Late {
        what: what.to_owned(),
        limit: ATTEMPT_LIMIT,
    };
    timeout(ATTEMPT_LIMIT, load).await.map_err(late)?
}

pub(crate) struct Refresher {
    pub(super) source: SecretSource,
    pub(super) what: String,
    pub(super) interval: Duration,
    pub(super) cache: SecretCache,
}

impl Refresher {
    /// Never returns.
    pub(crate) async fn run(self) -> Infallible {
        if self.cache.version_id.is_none() {
            // Without a secret there is only the environment, which does not change.
            return std::future::pending().await;
        }
        let pause = || spread(self.interval, fastrand::f64());
        let load = async || Box::pin(self.source.load()).await;
        keep_fresh(&self.what, load, pause, self.cache).await
    }
}

/// 1 - `JITTER` to 1 + `JITTER` intervals for a `chance` from 0 to 1.
fn spread(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance)
}

async fn keep_fresh(
    what: &str,
    load: impl AsyncFn() -> Result<DecryptedSecrets, SecretsError>,
    pause: impl Fn() -> Duration,
    mut cache: SecretCache,
) -> Infallible {
    loop {
        cache.age_during(pause()).await;
        match in_time(what, load()).await {
            Ok(loaded) => cache.store(loaded),
            Err(error) => cache.record_failure(error),
        }
    }
}

/// The last good version, and the senders that publish it to its users.
pub(super) struct SecretCache {
    version_id: Option<String>,
    values: watch::Sender<Arc<SecretValues>>,
    keys: Option<watch::Sender<Arc<KeyPairs>>>,
    read: Instant,
    failing: bool,
    age: Gauge,
    failures: Counter,
}

impl SecretCache {
    pub(super) fn new(
        version_id: Option<String>,
        values: watch::Sender<Arc<SecretValues>>,
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

    async fn age_during(&self, pause: Duration) {
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

    fn store(&mut self, loaded: DecryptedSecrets) {
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

    fn record_failure(&mut self, error: SecretsError) {
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
