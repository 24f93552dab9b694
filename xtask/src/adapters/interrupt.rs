//! Ctrl-C and SIGTERM: the first one goes to the story that waits for it, if there is one; it can
//! then leave components in a known state. The next one ends the process whatever it does.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::ports::Interrupt;

pub struct Signals {
    count: watch::Receiver<usize>,
    /// Stories that wait for a signal, or that got one and are at work on it.
    claims: AtomicUsize,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminations = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let (sender, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self {
            count,
            claims: AtomicUsize::new(0),
        })
    }

    /// Returns when a signal came that no story takes care of.
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
        let claim = Claim::new(&self.claims);
        let mut count = self.count.clone();
        if count.wait_for(|count| *count > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
        claim.keep();
    }
}

/// Given back when a story stops waiting, kept when the signal came.
struct Claim<'a>(Option<&'a AtomicUsize>);

impl<'a> Claim<'a> {
    fn new(claims: &'a AtomicUsize) -> Self {
        claims.fetch_add(1, Ordering::SeqCst);
        Self(Some(claims))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Claim<'_> {
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
    async fn a_signal_that_nobody_waits_for_ends_the_process() {
        let (sender, signals) = signals();
        assert!(!is_unclaimed(&signals).await);
        sender.send_modify(|count| *count += 1);
        assert!(is_unclaimed(&signals).await);
    }

    #[tokio::test]
    async fn the_story_that_waits_gets_the_first_signal_and_the_process_the_second() {
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
