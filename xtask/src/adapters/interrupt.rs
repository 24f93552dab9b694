//! Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed. The first signal goes to a task that waits for it, if there is one, so that
//! it can leave a known state. The second one ends the process.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::ports::Interrupt;

pub struct Signals {
    count: watch::Receiver<usize>,
    /// The tasks that wait for a signal, or handle one.
    claims: AtomicUsize,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminations = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut hangups = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
        let (sender, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                    _ = hangups.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self {
            count,
            claims: AtomicUsize::new(0),
        })
    }

    /// Returns after a signal that no task handles.
    pub async fn unclaimed(&self) {
        let mut count = self.count.clone();
        loop {
            let came = *count.borrow_and_update();
            if came > 1 || (came == 1 && self.claims.load(Ordering::SeqCst) == 0) {
                return;
            }
            if count.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[async_trait]
impl Interrupt for Signals {
    async fn wait(&self) {
        let claim = SignalClaim::new(&self.claims);
        let mut count = self.count.clone();
        if count.wait_for(|count| *count > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
        claim.keep();
    }
}

/// Released when a task stops waiting, kept after a signal.
struct SignalClaim<'a>(Option<&'a AtomicUsize>);

impl<'a> SignalClaim<'a> {
    fn new(claims: &'a AtomicUsize) -> Self {
        claims.fetch_add(1, Ordering::SeqCst);
        Self(Some(claims))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for SignalClaim<'_> {
    fn drop(&mut self) {
        if let Some(claims) = self.0 {
            claims.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> (watch::Sender<usize>, Signals) {
        let (sender, count) = watch::channel(0);
        (
            sender,
            Signals {
                count,
                claims: AtomicUsize::new(0),
            },
        )
    }

    async fn is_unclaimed(signals: &Signals) -> bool {
        tokio::select! {
            biased;
            () = signals.unclaimed() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn an_unclaimed_signal_ends_the_process() {
        let (sender, signals) = signals();
        assert!(!is_unclaimed(&signals).await);
        sender.send_modify(|count| *count += 1);
        assert!(is_unclaimed(&signals).await);
    }

    #[tokio::test]
    async fn a_waiting_task_gets_the_first_signal_and_the_process_the_second() {
        let (sender, signals) = signals();
        let wait = signals.wait();
        tokio::pin!(wait);
        tokio::select! {
            biased;
            () = &mut wait => panic!("there was no signal"),
            () = tokio::task::yield_now() => {}
        }
        sender.send_modify(|count| *count += 1);
        wait.await;
        assert!(!is_unclaimed(&signals).await);
        sender.send_modify(|count| *count += 1);
        assert!(is_unclaimed(&signals).await);
    }
}
