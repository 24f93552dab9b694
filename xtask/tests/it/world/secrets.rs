//! Secrets Manager. Its reads are eventually consistent.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use xtask::catalog::Service;
use xtask::ports::{SecretStore, SecretVersion, WallClock};

use super::{At, CallFault, Fake, FakeState, PreparedEvent, secret_arn};

#[derive(Clone)]
pub(super) struct StoredVersion {
    pub(super) id: String,
    arn: String,
    /// `None`: since before the test began.
    since: Option<Instant>,
    created: Timestamp,
    pub(super) document: Value,
}

#[async_trait]
impl SecretStore for Fake {
    async fn has_value(&self, arn: &str) -> Result<bool> {
        self.answers().await;
        Ok(self.state().secrets.contains_key(arn))
    }

    async fn get_secret_value(&self, arn: &str) -> Result<Option<SecretVersion>> {
        self.call(&format!("read {arn}"), |state| {
            let seen = state.read_secret(arn, state.stale_for);
            Ok(seen.map(|seen| SecretVersion {
                id: seen.id,
                created: seen.created,
                document: seen.document,
            }))
        })
        .await
    }

    async fn put_secret_value(&self, arn: &str, document: &Value) -> Result<()> {
        let now = WallClock::now(self);
        self.call(&format!("put {arn}"), |state| {
            state.put_secret(arn, document, now);
            Ok(())
        })
        .await
    }

    async fn replace(&self, arn: &str, version: &str, document: &Value) -> Result<bool> {
        let now = WallClock::now(self);
        self.call(&format!("replace {arn}"), |state| {
            let current = state.versions_of(arn).pop();
            let is_current = current.is_some_and(|current| current.id == version);
            if is_current {
                state.put_secret(arn, document, now);
            }
            Ok(is_current)
        })
        .await
    }
}

/// At a call about a secret, by its index from 0, the machine falls asleep for `pause`.
#[derive(Default)]
pub(crate) struct SlowCall {
    pub(crate) index: usize,
    pub(crate) pause: Duration,
    pub(crate) calls: AtomicUsize,
    pub(crate) wakes: Mutex<Option<Instant>>,
}

impl Fake {
    /// The same environment, by a handle one of whose calls is slow.
    pub(crate) fn with_slow_call(&self, slow: &Arc<SlowCall>) -> Self {
        Self {
            slow: Some(Arc::clone(slow)),
            ..self.clone()
        }
    }

    /// As `spoil`, but `index` counts only calls about secrets.
    pub(crate) fn spoil_secret_call(&self, index: usize, fault: CallFault) {
        let mut state = self.state();
        let at = At::SecretCall(state.secret_calls + index);
        state.events.push(PreparedEvent {
            at,
            what: fault.what(),
        });
    }

    /// A change by hand.
    pub(crate) fn put_secret(&self, service: Service, document: &Value) {
        let now = WallClock::now(self);
        self.state().put_secret(&secret_arn(service), document, now);
    }
}

impl FakeState {
    /// Oldest first.
    fn versions_of(&self, arn: &str) -> Vec<StoredVersion> {
        let of_it = self.secret_versions.iter().filter(|it| it.arn == arn);
        let mut versions: Vec<_> = of_it.cloned().collect();
        if versions.is_empty() {
            versions.extend(self.secrets.get(arn).map(|document| StoredVersion {
                id: version_id(arn, 0),
                arn: arn.to_owned(),
                since: None,
                created: Timestamp::UNIX_EPOCH,
                document: document.clone(),
            }));
        }
        versions
    }

    /// The first version is the current one again.
    pub(crate) fn move_back(&mut self, service: Service) {
        let first = self.versions_of(&secret_arn(service)).remove(0);
        self.secrets
            .insert(first.arn.clone(), first.document.clone());
        self.secret_versions.push(first);
    }

    /// As if it had never had a value.
    pub(crate) fn forget_secret(&mut self, service: Service) {
        let arn = secret_arn(service);
        self.secret_versions.retain(|version| version.arn != arn);
        self.secrets.remove(&arn);
    }

    pub(super) fn read_secret(&mut self, arn: &str, stale_for: Duration) -> Option<StoredVersion> {
        let mut versions = self.versions_of(arn);
        let is_recent = |version: &StoredVersion| {
            let since = version.since.map(|since| since.elapsed());
            since.is_some_and(|since| since < stale_for)
        };
        let recent = versions.iter().rev().take_while(|it| is_recent(it)).count();
        if recent > 0 && versions.len() > recent {
            self.stale_reads += 1;
            if !self.stale_reads.is_multiple_of(3) {
                versions.truncate(versions.len() - recent);
            }
        }
        versions.pop()
    }

    fn put_secret(&mut self, arn: &str, document: &Value, now: Timestamp) {
        let versions = self.versions_of(arn);
        self.secret_versions.retain(|version| version.arn != arn);
        let new = StoredVersion {
            id: version_id(arn, versions.len()),
            arn: arn.to_owned(),
            since: Some(Instant::now()),
            created: now,
            document: document.clone(),
        };
        self.secret_versions.extend(versions);
        self.secret_versions.push(new);
        self.secrets.insert(arn.to_owned(), document.clone());
        self.changed(format!("put {}", arn.rsplit(':').next().unwrap_or(arn)));
    }
}

fn version_id(arn: &str, number: usize) -> String {
    let (_, name) = arn.rsplit_once('/').unwrap_or_default();
    format!("version-{number:02}-of-{name}")
}
