//! Which earlier release to go back to.

use std::collections::BTreeMap;

use super::release::{Record, Running, State};
use crate::catalog::Thing;

/// Whether a rollback may choose this release by itself: it landed, it left something running, and
/// that is not what runs now. "One revision less" would be a release that may never have worked.
pub fn is_target(record: &Record, now: &BTreeMap<Thing, Option<Running>>) -> bool {
    record.state == State::Landed
        && record.things.values().all(|entry| entry.after.is_some())
        && !record.runs(now)
}

#[cfg(test)]
mod tests {
    use super::super::release::testing::{record, running};
    use super::*;
    use crate::catalog::ALL;

    fn now(content: &str) -> BTreeMap<Thing, Option<Running>> {
        ALL.map(|thing| (thing, Some(running("x", content)))).into()
    }

    #[test]
    fn the_target_is_the_newest_that_landed_and_does_not_run() {
        let records = [
            record(4, State::Back, "d"),
            record(3, State::Landed, "c"),
            record(2, State::Usurped, "b"),
            record(1, State::Landed, "a"),
        ];
        let target = |content: &str| {
            let now = now(content);
            records
                .iter()
                .find(|record| is_target(record, &now))
                .map(|record| record.number)
        };
        assert_eq!(target("c"), Some(1));
        assert_eq!(target("a"), Some(3));
        assert_eq!(target("something by hand"), Some(3));
    }

    #[test]
    fn a_release_that_left_nothing_running_is_no_target() {
        let mut stopped = record(2, State::Landed, "b");
        for entry in stopped.things.values_mut() {
            entry.after = None;
        }
        assert!(!is_target(&stopped, &now("a")));
    }
}
