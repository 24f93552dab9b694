//! The registry, CloudWatch Logs and the ledger.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use async_trait::async_trait;
use jiff::Timestamp;
use xtask::catalog::Service;
use xtask::decide::artifact::image::Artifact;
use xtask::decide::artifact::types::{Digest, Key};
use xtask::decide::outputs::Outputs;
use xtask::decide::release::hold::Hold;
use xtask::decide::release::lock::Lock;
use xtask::decide::release::record::{RECORD_BYTES_MAX, Record, RecordKind, ReleaseState};
use xtask::decide::release::snapshot::FunctionVersion;
use xtask::ports::{Ledger, LogLine, Logs, Opening, Registry};

use super::cluster::Delivery;
use super::{Fake, FakeState, GRACE};

#[async_trait]
impl Registry for Fake {
    async fn digest(&self, _: &Outputs, service: Service, key: &Key) -> Result<Option<Digest>> {
        self.call(&format!("image {service}"), |state| {
            let images = state.images.get(&service);
            Ok(images.and_then(|images| images.get(key)).cloned())
        })
        .await
    }

    async fn has(&self, _: &Outputs, service: Service, digest: &Digest) -> Result<bool> {
        self.answers().await;
        let images = &self.state().images;
        let mut images = images.get(&service).into_iter().flat_map(|it| it.values());
        Ok(images.any(|known| known == digest))
    }

    async fn describe_images(&self, _: &Outputs, service: Service) -> Result<Vec<Digest>> {
        self.call(&format!("images {service}"), |state| {
            let images = state.images.get(&service).into_iter();
            Ok(images.flat_map(|it| it.values().cloned()).collect())
        })
        .await
    }

    async fn batch_delete_image(
        &self,
        _: &Outputs,
        service: Service,
        digests: &[Digest],
    ) -> Result<()> {
        let call = format!("delete {} images of {service}", digests.len());
        self.call(&call, |state| {
            let images = state.images.entry(service).or_default();
            images.retain(|_, it| !digests.contains(it));
            state.note_removed(self.delivery, image_of(service));
            state.changed(&call);
            Ok(())
        })
        .await
    }

    async fn push(&self, _: &Outputs, service: Service, artifact: &Artifact) -> Result<()> {
        self.call(&format!("push {service}"), |state| {
            let images = state.images.entry(service).or_default();
            images.insert(artifact.key.clone(), artifact.digest.clone());
            state.removed_late.remove(&image_of(service));
            state.changed(format!("push {service}"));
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Logs for Fake {
    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>> {
        let now = xtask::ports::WallClock::now(self);
        self.call(&format!("mentions {group}"), |state| {
            if state.logs_are_late > 0 {
                state.logs_are_late -= 1;
                return Ok(Vec::new());
            }
            let mut lines = state.task_lines(group, from, text);
            let arrived = state.written.iter();
            let arrived = arrived.filter(|it| it.arrives <= now && it.text.contains(text));
            lines.extend(arrived.map(|it| LogLine {
                id: it.text.to_owned(),
                at: it.at,
                stream: "a stream".to_owned(),
                text: it.text.to_owned(),
            }));
            Ok(lines)
        })
        .await
    }

    async fn tail(&self, group: &str, stream: &str, lines: i32) -> Result<Vec<String>> {
        self.call(&format!("tail {group}"), |state| {
            assert!(lines > 0);
            if state.logs_are_late > 0 {
                state.logs_are_late -= 1;
                return Ok(Vec::new());
            }
            Ok(vec![format!("last words in {group} {stream}")])
        })
        .await
    }

    async fn since(&self, group: &str, from: Timestamp) -> Result<Vec<LogLine>> {
        let now = xtask::ports::WallClock::now(self);
        self.call(&format!("since {group}"), |state| {
            let line = |id: &str, at: Timestamp, text: &str| LogLine {
                id: id.to_owned(),
                at,
                stream: "a stream".to_owned(),
                text: format!("{text} of {group}"),
            };
            let mut lines = vec![
                line("1", from, "first line"),
                line("2", from, "second line"),
            ];
            let arrived = state
                .written
                .iter()
                .filter(|it| it.arrives <= now && it.at >= from);
            lines.extend(arrived.map(|it| line(it.text, it.at, it.text)));
            Ok(lines)
        })
        .await
    }
}

impl FakeState {
    pub(crate) fn record(&self, number: u64) -> Option<Record> {
        let text = self.ledger.get(&number)?;
        Some(serde_json::from_str(text).unwrap())
    }

    /// What the newest release that succeeded needs to run, and is not there any more.
    pub(crate) fn lacking(&self) -> Vec<String> {
        let mut records = self.ledger.keys().rev().filter_map(|it| self.record(*it));
        let newest =
            records.find(|it| it.kind.changes_components() && it.state == ReleaseState::Succeeded);
        let entries = newest.map(|it| it.entries).unwrap_or_default();
        let mut lacking = Vec::new();
        for (service, entry) in entries.services {
            let Some(running) = entry.after else { continue };
            let active = self.ecs.active_revisions(running.revision.family());
            if !active.contains(&running.revision.to_string()) {
                lacking.push(running.revision.to_string());
            }
            let mut images = self
                .images
                .get(&service)
                .into_iter()
                .flat_map(BTreeMap::values);
            let image = running.image.expect("an image of this tool");
            if !images.any(|it| *it == image) {
                lacking.push(image_of(service));
            }
        }
        for running in entries.functions.into_values().filter_map(|it| it.after) {
            if !self.lambda.has(&running.version) {
                lacking.push(version_of(&running.version));
            }
        }
        lacking.retain(|it| !self.removed_late.contains(it));
        lacking
    }

    /// A call that is sent before the lock is lost may be carried out afterwards, and AWS removes
    /// without a condition.
    pub(super) fn note_removed(&mut self, delivery: Delivery, what: String) {
        if delivery.late {
            self.removed_late.insert(what);
        }
    }

    /// A record of another run. Where it is in progress, that run holds the lock and lives.
    pub(crate) fn put_record(&mut self, record: &Record) {
        if record.state == ReleaseState::InProgress {
            self.lock = Some(Lock::of(record));
        }
        self.write_record(record);
    }

    fn write_record(&mut self, record: &Record) {
        let text = serde_json::to_string(record).unwrap();
        assert!(text.len() <= RECORD_BYTES_MAX);
        for secret in ["secret-of-the", "postgres://"] {
            assert!(!text.contains(secret), "a secret in the ledger");
        }
        self.ledger.insert(record.number, text);
    }

    pub(crate) fn newest(&self) -> Option<Record> {
        self.record(*self.ledger.keys().next_back()?)
    }

    fn holds(&self, token: &str) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.token == token)
    }
}

fn image_of(service: Service) -> String {
    format!("the image of {service}")
}

pub(super) fn version_of(version: &FunctionVersion) -> String {
    format!("version {version} of a function")
}

#[async_trait]
impl Ledger for Fake {
    async fn newest(&self) -> Result<Option<Record>> {
        self.call("read the newest", |state| Ok(state.newest()))
            .await
    }

    async fn read(&self, number: u64) -> Result<Option<Record>> {
        self.call(&format!("read {number}"), |state| Ok(state.record(number)))
            .await
    }

    async fn records(&self) -> Result<Vec<Record>> {
        self.call("read all records", |state| {
            let numbers = state.ledger.keys().rev();
            Ok(numbers.filter_map(|number| state.record(*number)).collect())
        })
        .await
    }

    async fn remove(&self, token: &str, numbers: &[u64]) -> Result<bool> {
        let call = format!("remove records {numbers:?}");
        self.call(&call, |state| {
            if !state.holds(token) {
                return Ok(false);
            }
            state.ledger.retain(|number, _| !numbers.contains(number));
            state.changed(&call);
            Ok(true)
        })
        .await
    }

    async fn lock(&self) -> Result<Option<Lock>> {
        self.call("read the lock", |state| {
            if let Some(lock) = &mut state.lock
                && lock.token == GRACE
            {
                lock.beat += 1;
            }
            Ok(state.lock.clone())
        })
        .await
    }

    async fn open(&self, opening: &Opening<'_>) -> Result<bool> {
        let record = opening.record;
        self.call(&format!("open {}", record.number), |state| {
            let is_as_seen = state.lock.as_ref() == opening.over;
            if state.hold.is_some() && record.kind == RecordKind::Release {
                return Ok(false);
            }
            if !is_as_seen || state.ledger.contains_key(&record.number) {
                return Ok(false);
            }
            if let Some(abandoned) = opening.abandoned {
                state.write_record(abandoned);
            }
            state.put_record(record);
            state.changed(format!("open {}", record.number));
            Ok(true)
        })
        .await
    }

    /// It comes as time passes and not in the order of a command, so it has no event.
    async fn beat(&self, token: &str, beat: u64) -> Result<bool> {
        self.answers().await;
        self.sleeps().await;
        self.reaches("beat").await?;
        let state = &mut *self.state();
        if state.expired {
            bail!("beat: ExpiredTokenException");
        }
        if !state.holds(token) {
            return Ok(false);
        }
        if let Some(lock) = &mut state.lock {
            lock.beat = beat;
        }
        Ok(true)
    }

    async fn write(&self, record: &Record) -> Result<bool> {
        let name = format!("write {} {}", record.number, record.state.text());
        self.call(&name, |state| {
            if !state.holds(&record.token) {
                return Ok(false);
            }
            state.write_record(record);
            let written = &state.ledger[&record.number];
            let awaited = state
                .after_write
                .take_if(|(text, _)| written.contains(*text));
            if let Some((_, act)) = awaited {
                act(state);
            }
            Ok(true)
        })
        .await
    }

    async fn hold(&self) -> Result<Option<Hold>> {
        self.call("read the hold", |state| Ok(state.hold.clone()))
            .await
    }

    async fn set_hold(&self, hold: &Hold) -> Result<bool> {
        self.call("set the hold", |state| {
            let is_free = state.hold.is_none();
            state.hold.get_or_insert_with(|| hold.clone());
            Ok(is_free)
        })
        .await
    }

    async fn lift_hold(&self) -> Result<Option<Hold>> {
        self.call("lift the hold", |state| Ok(state.hold.take()))
            .await
    }

    async fn close(&self, record: &Record, hold: Option<&Hold>) -> Result<bool> {
        let name = format!("close {} {}", record.number, record.state.text());
        self.call(&name, |state| {
            if !state.holds(&record.token) {
                return Ok(false);
            }
            state.write_record(record);
            state.changed(format!("close {} {}", record.number, record.state.text()));
            state.lock = None;
            state.hold = hold.cloned().or(state.hold.take());
            Ok(true)
        })
        .await
    }
}
