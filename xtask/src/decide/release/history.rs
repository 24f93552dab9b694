//! Which earlier release to go back to.

use std::collections::BTreeMap;

use crate::catalog::Component;
use crate::decide::release::record::{Record, ReleaseState, Running};

/// Whether a rollback may choose this release by itself: it succeeded, it left something running, and
/// that is not what runs now. "One revision less" would be a release that may never have worked.
pub fn is_target(record: &Record, now: &BTreeMap<Component, Option<Running>>) -> bool {
    record.state == ReleaseState::Succeeded
        && record
            .components
            .values()
            .all(|entry| entry.after.is_some())
        && !record.runs(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ALL;
    use crate::decide::release::record::testing::{record, running};

    fn now(content: &str) -> BTreeMap<Component, Option<Running>> {
        ALL.map(|component| (component, Some(running("x", content))))
            .into()
    }

    #[test]
    fn the_target_is_the_newest_that_succeeded_and_does_not_run() {
        let records = [
            record(4, ReleaseState::RolledBack, "d"),
            record(3, ReleaseState::Succeeded, "c"),
            record(2, ReleaseState::Superseded, "b"),
            record(1, ReleaseState::Succeeded, "a"),
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
        let mut stopped = record(2, ReleaseState::Succeeded, "b");
        for entry in stopped.components.values_mut() {
            entry.after = None;
        }
        assert!(!is_target(&stopped, &now("a")));
    }
}
