//! SIGUSR1 raises the levels of the log for a time, so that a task that misbehaves can be looked at
//! without a restart.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::telemetry::logs::levels::LogLevels;

/// Never ends. A signal while they are raised begins the time anew, and is not told: many signals
/// cost no more than one. The runtime merges those that it has not handed on yet.
pub(super) async fn raise_at_each(levels: LogLevels, time: Duration) -> Infallible {
    let mut signals = match signal(SignalKind::user_defined1()) {
        Ok(signals) => signals,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "SIGUSR1 cannot be handled");
            return pending().await;
        }
    };
    loop {
        next(&mut signals).await;
        levels.raise(true);
        let seconds = time.as_secs_f64();
        tracing::warn!(seconds, "SIGUSR1: the levels of the log are raised");
        while timeout(time, next(&mut signals)).await.is_ok() {}
        levels.raise(false);
        tracing::warn!("the levels of the log are as before");
    }
}

async fn next(signals: &mut Signal) {
    if signals.recv().await.is_none() {
        // The runtime is ending.
        pending::<()>().await;
    }
}
