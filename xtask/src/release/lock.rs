//! The lock of an environment: taken with the record that it is for, kept alive while a release or
//! rotation goes on, given back with the record's end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout};

use super::patience::Patience;
use super::{About, PATIENCE, Release, ReleaseError};
use crate::catalog::{Component, Function, Service};
use crate::decide::release::hold::Hold;
use crate::decide::release::lock::{BEAT_INTERVAL, FENCE, Holder, Lock, LockWatch};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::decide::release::rollout::Outcome;
use crate::decide::release::snapshot::{FunctionVersion, Revision};
use crate::failure::Failure;
use crate::ports::{Context, Ledger, Opening, WallClock};
use crate::random;
use crate::report::{CleanupEvent, LockEvent, ReleaseEvent, SecretsEvent};

/// How often a lock that another run holds is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often a call for the lock itself is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Returns when the lock can be taken: it is free (`None`), or its holder is dead or shall lose it.
///
/// # Errors
/// Where its holder lives, for longer than the user wants to wait.
pub(super) async fn available(context: &Context<'_>) -> Result<Option<Lock>> {
    let started = Instant::now();
    let mut watch = LockWatch::default();
    loop {
        let Some(lock) = context.ledger.lock().await? else {
            return Ok(None);
        };
        if context.if_locked.take_over {
            return Ok(Some(lock));
        }
        match watch.observe(&lock, context.clock.since_boot()) {
            Holder::Dead => return Ok(Some(lock)),
            Holder::Alive if started.elapsed() >= context.if_locked.wait => {
                return Err(held(context, &lock).into());
            }
            Holder::Alive | Holder::Unknown => {}
        }
        context.report.emit(LockEvent::LockWatched {
            holder: lock.holder.clone(),
        });
        sleep(WATCH_INTERVAL).await;
    }
}

/// Refuses to go on while another run that lives holds the lock.
pub async fn ensure_unlocked(context: &Context<'_>) -> Result<()> {
    available(context).await.map(drop)
}

fn held(context: &Context<'_>, lock: &Lock) -> Failure {
    let environment = &context.environment.name;
    let text = format!("{} is in progress since {:.0}", lock.holder, lock.since);
    Failure::refused(text).hint(format!(
        "wait for it:            the same command with --lock-wait 15m\n\
         end it by taking over:  the same command with --take-over\n\
         see what it does:       cargo xtask status --env {environment}"
    ))
}

/// Takes the lock that `available` returned, and opens a record.
pub(super) async fn open<'a>(
    context: &Context<'a>,
    about: About,
    kind: RecordKind,
    entries: Entries,
    over: Option<&Lock>,
) -> Result<Opened<'a>> {
    if let Some(lock) = over {
        let holder = lock.holder.clone();
        context.report.emit(if context.if_locked.take_over {
            LockEvent::TakingOver { holder }
        } else {
            LockEvent::HolderGone { holder }
        });
    }
    let newest = context.ledger.newest().await?;
    let mut record = next_record(context, about, newest.as_ref(), over)?;
    (record.kind, record.entries) = (kind, entries);
    let abandoned = newest
        .filter(|newest| record.took_over == Some(newest.number))
        .map(|newest| newest.abandoned(record.opened));
    let lock = HeldLock {
        ledger: context.ledger,
        clock: context.clock,
        token: record.token.clone(),
        beats: Mutex::new(Beats {
            last: 0,
            confirmed: context.clock.since_boot(),
            lost: false,
        }),
    };
    let opening = Opening {
        record: &record,
        over,
        abandoned: abandoned.as_ref(),
    };
    let opened = context.ledger.open(&opening).await;
    if !matches!(opened, Ok(true)) {
        // An answer can be lost after the lock was taken.
        let holder = context.ledger.lock().await?;
        if holder.as_ref().is_none_or(|it| it.token != lock.token) {
            opened?;
            return Err(not_opened(context, kind, holder).await?.into());
        }
    }
    Ok(Opened {
        lock: Arc::new(lock),
        inherited: abandoned.map(|abandoned| Inheritance {
            intended: abandoned.entries,
            since: Instant::now(),
        }),
        record,
    })
}

/// The record that comes after the newest one, which it takes over where that is in progress: also
/// where somebody deleted its lock.
fn next_record(
    context: &Context<'_>,
    about: About,
    newest: Option<&Record>,
    over: Option<&Lock>,
) -> Result<Record> {
    // What the lock is for may be newer, where somebody deleted its record.
    let numbers = [newest.map(|it| it.number), over.map(|it| it.number)];
    let newest_number = numbers.into_iter().flatten().max().unwrap_or(0);
    let in_progress = newest.filter(|it| it.state == ReleaseState::InProgress);
    let why = match in_progress {
        Some(abandoned) => format!("{}, after {} was abandoned", about.why, abandoned.number),
        None => about.why,
    };
    Ok(Record {
        number: newest_number + 1,
        kind: RecordKind::default(),
        state: ReleaseState::InProgress,
        token: random::hex(16)?,
        opened: context.clock.now(),
        closed: None,
        who: about.who,
        host: about.host,
        why,
        commit: about.commit,
        dirty: about.dirty,
        took_over: in_progress.map(|it| it.number),
        without_alarms: newest.map_or_else(BTreeSet::new, |it| it.without_alarms.clone()),
        phases: Vec::new(),
        cause: Vec::new(),
        entries: Entries::default(),
    })
}

/// Why a record was not opened.
async fn not_opened(
    context: &Context<'_>,
    kind: RecordKind,
    holder: Option<Lock>,
) -> Result<Failure> {
    if let Some(holder) = holder {
        return Ok(held(context, &holder));
    }
    if kind == RecordKind::Release && context.ledger.hold().await?.is_some() {
        let text = "the environment was put on hold meanwhile";
        return Ok(Failure::refused(text).hint("cargo xtask status"));
    }
    Ok(Failure::refused("another run was faster, and has ended"))
}

/// The lock, taken.
pub(super) struct Opened<'a> {
    pub(super) lock: Arc<HeldLock<'a>>,
    pub(super) record: Record,
    pub(super) inherited: Option<Inheritance>,
}

/// What the release that was taken over meant to bring. A call of its, which its machine fell
/// asleep on, may be sent when it wakes up: a signature is valid for five minutes.
pub(super) struct Inheritance {
    intended: Entries,
    since: Instant,
}

const SIGNATURE_LIFE: Duration = Duration::from_mins(5);

impl Inheritance {
    fn intended(&self) -> Option<&Entries> {
        Some(&self.intended).filter(|_| self.since.elapsed() < SIGNATURE_LIFE)
    }
}

/// The lock while this run holds it.
pub(super) struct HeldLock<'a> {
    ledger: &'a dyn Ledger,
    clock: &'a dyn WallClock,
    token: String,
    beats: Mutex<Beats>,
}

struct Beats {
    last: u64,
    /// When the last beat that was confirmed was sent.
    confirmed: Duration,
    /// Another run has taken the lock.
    lost: bool,
}

impl HeldLock<'_> {
    /// Raises the beat again and again; never returns. Runs beside all else that a holder does.
    pub(super) async fn keep(&self) {
        loop {
            sleep(BEAT_INTERVAL).await;
            // One that is not answered is followed by the next.
            drop(timeout(BEAT_INTERVAL, self.beat()).await);
        }
    }

    async fn beat(&self) -> Result<()> {
        let beat = self.beats().last + 1;
        let sent = self.clock.since_boot();
        let is_ours = self.ledger.beat(&self.token, beat).await?;
        let mut beats = self.beats();
        if is_ours {
            beats.last = beats.last.max(beat);
            beats.confirmed = beats.confirmed.max(sent);
        } else {
            beats.lost = true;
        }
        Ok(())
    }

    /// Whether a change may begin: the lock was ours a moment ago, and nobody takes it before the
    /// change has ended.
    async fn confirm(&self) -> Result<bool> {
        let started = Instant::now();
        loop {
            {
                let beats = self.beats();
                if beats.lost {
                    return Ok(false);
                }
                if self.clock.since_boot().saturating_sub(beats.confirmed) < FENCE {
                    return Ok(true);
                }
            }
            match self.beat().await {
                Err(error) if started.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(RETRY_INTERVAL).await,
                Ok(()) => {}
            }
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.beats().lost
    }

    fn lose(&self) {
        self.beats().lost = true;
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a record and gives the lock back. Neither is done, and the answer is `false`, where another
/// run has the lock.
pub(super) async fn close(
    context: &Context<'_>,
    patience: &Patience,
    record: &Record,
    hold: Option<&Hold>,
) -> Result<bool, ReleaseError> {
    let Context { ledger, report, .. } = *context;
    let closed = patience.answered(report, async || ledger.close(record, hold).await);
    if closed.await? {
        return Ok(true);
    }
    // An answer can be lost after the record was closed: then the lock is gone.
    let found = patience.answered(report, async || ledger.read(record.number).await);
    Ok(found.await?.as_ref() == Some(record))
}

impl Release<'_> {
    /// Called right before each call that changes what runs.
    pub(super) async fn ensure_lock_held(&self) -> Result<(), ReleaseError> {
        if self.lock.confirm().await? {
            return Ok(());
        }
        Err(self.lock_lost().await)
    }

    /// Whether the release that was taken over may have brought this just now.
    pub(super) fn inherits_revision(&self, service: Service, revision: &Revision) -> bool {
        let intended = self.inherited.as_ref().and_then(Inheritance::intended);
        let after = intended.and_then(|it| it.services.get(&service)?.after.as_ref());
        after.is_some_and(|after| after.revision == *revision)
    }

    pub(super) fn inherits_version(&self, function: Function, version: &FunctionVersion) -> bool {
        let intended = self.inherited.as_ref().and_then(Inheritance::intended);
        let after = intended.and_then(|it| it.functions.get(&function)?.after.as_ref());
        after.is_some_and(|after| after.version == *version)
    }

    /// Called while something is waited for.
    pub(super) async fn ensure_lock_not_lost(&self) -> Result<(), ReleaseError> {
        if self.lock.is_lost() {
            return Err(self.lock_lost().await);
        }
        Ok(())
    }

    async fn lock_lost(&self) -> ReleaseError {
        let newest = self.context.ledger.newest().await.ok().flatten();
        let later = newest.filter(|newest| newest.number > self.record.number);
        let by = later.map_or_else(
            || "the lock is not in the table any more".to_owned(),
            |later| later.about(),
        );
        ReleaseError::Superseded {
            component: None,
            by,
        }
    }

    pub(super) async fn set_outcome(
        &mut self,
        component: Component,
        outcome: Outcome,
    ) -> Result<(), ReleaseError> {
        self.record.entries.conclude(component, outcome);
        let phase = format!("{component} {}", outcome.text());
        self.record.end_phase(phase, self.context.clock.now());
        self.save().await
    }

    /// Writes the record, which other runs rely on.
    pub(super) async fn save(&self) -> Result<(), ReleaseError> {
        let ledger = self.context.ledger;
        self.as_holder(async || ledger.write(&self.record).await)
            .await
    }

    /// Makes a call that the ledger carries out for the lock's holder only, and answers with `false`
    /// to anybody else.
    pub(super) async fn as_holder(
        &self,
        call: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<(), ReleaseError> {
        if self.answered(call).await? {
            return Ok(());
        }
        self.lock.lose();
        Err(self.lock_lost().await)
    }

    /// Ends the record and gives the lock back; or neither, where another run has the lock.
    pub(super) async fn close(&mut self, state: ReleaseState) -> Result<(), ReleaseError> {
        self.record.state = state;
        self.record.closed = Some(self.context.clock.now());
        let hold = self
            .hold
            .as_ref()
            .filter(|_| state == ReleaseState::Succeeded);
        if !close(&self.context, &self.patience, &self.record, hold).await? {
            return Err(self.lock_lost().await);
        }
        let report = self.context.report;
        let (number, outcome) = (self.record.number, state.text().to_owned());
        match self.record.kind {
            RecordKind::Rotation => report.emit(SecretsEvent::RotationClosed { number, outcome }),
            RecordKind::Cleanup => report.emit(CleanupEvent::CleanupClosed { number, outcome }),
            _ => report.emit(ReleaseEvent::ReleaseClosed { number, outcome }),
        }
        Ok(())
    }
}
