//! Which earlier release a rollback goes to.

use super::record::Record;
use super::snapshot::Snapshot;

/// Whether a rollback may choose this release by itself: it succeeded, it left every component
/// running, and that is not what runs now. "One revision less" would be a release that may never
/// have worked.
pub fn is_target(record: &Record, now: &Snapshot) -> bool {
    record.is_succeeded_release() && record.entries.all_run(now) && !record.entries.run_in(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{FUNCTIONS, SERVICES};
    use crate::decide::artifact::types::Key;
    use crate::decide::release::record::testing::{record, service_running};
    use crate::decide::release::record::{Entries, RecordKind, ReleaseState};
    use crate::decide::release::snapshot::testing::{deployment, revision, service};
    use crate::decide::release::snapshot::{FunctionState, RolloutState, ServiceSnapshot};

    /// Every component runs `content`, under other revisions than the records have.
    fn now(content: &str) -> Snapshot {
        let of_service = ServiceSnapshot {
            state: service(vec![deployment("other:7", RolloutState::Completed, 2, 2)]),
            revision: revision("other:7"),
            content: Some(service_running("other:7", content)),
            definition: None,
        };
        let of_function = FunctionState {
            version: "7".parse().unwrap(),
            code_sha256: content.to_owned(),
            key: Some(Key("1".repeat(64))),
            revision_id: "r".to_owned(),
        };
        Snapshot {
            services: SERVICES.map(|name| (name, of_service.clone())).into(),
            functions: FUNCTIONS.map(|name| (name, of_function.clone())).into(),
        }
    }

    #[test]
    fn the_target_is_the_newest_success_that_does_not_run_now() {
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
        for entry in stopped.entries.services.values_mut() {
            entry.after = None;
        }
        assert!(!is_target(&stopped, &now("a")));
    }

    #[test]
    fn what_changes_no_component_is_no_target() {
        for kind in [RecordKind::Rotation, RecordKind::Infra] {
            let mut other = record(2, ReleaseState::Succeeded, "b");
            other.kind = kind;
            assert!(!is_target(&other, &now("a")));
            other.entries = Entries::default();
            assert!(!is_target(&other, &now("a")));
        }
    }
}
