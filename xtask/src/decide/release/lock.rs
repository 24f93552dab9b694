//! The lock of an environment: who holds it, and whether that holder lives.
//!
//! A holder raises its beat while it lives. Who finds the lock taken watches the beat on a clock
//! of its own, so that no two clocks are compared. A holder that was not heard for a while changes
//! nothing, so that nobody who took over meets its changes: `FENCE` and `CHANGE_LIMIT` together are
//! shorter than `DEAD_AFTER`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Record;

pub const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The holder of a beat that has not moved for this long is gone.
pub const DEAD_AFTER: Duration = Duration::from_secs(20);
/// A holder starts a change only if a beat that was confirmed was sent less than this long ago.
pub const FENCE: Duration = Duration::from_secs(8);
/// The limit of a call that changes what runs, its retries included. The engine keeps it: the SDK
/// goes on for longer.
pub const CHANGE_LIMIT: Duration = Duration::from_secs(10);

/// The lock while a run holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Random: no two runs have the same.
    pub token: String,
    /// The record that it was taken for.
    pub number: u64,
    /// Who holds it, where and why.
    pub holder: String,
    pub since: Timestamp,
    #[serde(default)]
    pub beat: u64,
}

impl Lock {
    pub fn of(record: &Record) -> Self {
        Self {
            token: record.token.clone(),
            number: record.number,
            holder: record.about(),
            since: record.opened,
            beat: 0,
        }
    }
}

/// Whether the holder of a lock lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Not known yet: look again.
    Unknown,
    Alive,
    Dead,
}

/// Watches one lock.
#[derive(Debug, Default)]
pub struct LockWatch {
    /// The beat that was seen last, by its token, and when it was seen first.
    seen: Option<(String, u64, Duration)>,
}

impl LockWatch {
    /// `now` is of a clock that counts the time that this machine sleeps.
    pub fn observe(&mut self, lock: &Lock, now: Duration) -> Holder {
        match &self.seen {
            Some((token, beat, since)) if *token == lock.token && *beat == lock.beat => {
                if now.saturating_sub(*since) >= DEAD_AFTER {
                    Holder::Dead
                } else {
                    Holder::Unknown
                }
            }
            seen => {
                let holder = if seen.is_some() {
                    Holder::Alive
                } else {
                    Holder::Unknown
                };
                self.seen = Some((lock.token.clone(), lock.beat, now));
                holder
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::release::record::ReleaseState;
    use crate::decide::release::record::testing::record;

    fn lock(token: &str, beat: u64) -> Lock {
        Lock {
            token: token.to_owned(),
            beat,
            ..Lock::of(&record(1, ReleaseState::InProgress, "a"))
        }
    }

    #[test]
    fn a_holder_is_dead_when_its_beat_has_not_moved_for_the_whole_time() {
        let mut watch = LockWatch::default();
        let mut at = |seconds, lock: &Lock| watch.observe(lock, Duration::from_secs(seconds));
        assert_eq!(at(100, &lock("a", 3)), Holder::Unknown);
        assert_eq!(at(119, &lock("a", 3)), Holder::Unknown);
        assert_eq!(at(120, &lock("a", 3)), Holder::Dead);
        assert_eq!(at(121, &lock("a", 4)), Holder::Alive);
        assert_eq!(at(140, &lock("a", 4)), Holder::Unknown);
        assert_eq!(at(141, &lock("b", 4)), Holder::Alive);
        assert_eq!(at(160, &lock("b", 4)), Holder::Unknown);
        assert_eq!(at(161, &lock("b", 4)), Holder::Dead);
    }

    #[test]
    fn a_change_of_a_holder_ends_before_anybody_takes_over() {
        assert!(FENCE + CHANGE_LIMIT < DEAD_AFTER);
        assert!(
            BEAT_INTERVAL < FENCE,
            "a beat that is in time lets changes begin"
        );
    }
}
