//! What the programs of images do: when a task of one starts, listens, falls sick and ends.

use super::chance::Chance;
use super::tasks::StopCause;
use super::{Millis, NEVER};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ImageScript {
    Good,
    /// It is good, and takes most of the grace period until it listens.
    SlowStart,
    CrashesAtOnce,
    /// It is healthy first.
    CrashesLater,
    NeverListens,
    /// It answers the load balancer, and the health check of its container fails.
    FailsContainerCheck,
    /// It answers the health checks of the load balancer, and no other request.
    AnswersChecksOnly,
    /// It is healthy first, and then its health check fails.
    SickLater,
    OutOfMemory,
    NotPulled,
    /// The registry does not answer in time.
    PullTimesOut,
    PullNeverEnds,
    SecretMissing,
}

impl ImageScript {
    pub(crate) const BAD: [Self; 7] = [
        Self::CrashesAtOnce,
        Self::CrashesLater,
        Self::NeverListens,
        Self::SickLater,
        Self::OutOfMemory,
        Self::NotPulled,
        Self::SecretMissing,
    ];

    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::SlowStart)
    }

    /// Whether its tasks are healthy for a while.
    pub(crate) fn is_healthy_first(self) -> bool {
        matches!(self, Self::CrashesLater | Self::SickLater)
    }
}

/// The times of one task, each counted from the one before.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) pull: Millis,
    pub(super) start_failure: Option<StopCause>,
    pub(super) listens_after: Millis,
    pub(super) answers_checks_only: bool,
    /// From the start on: when the health check of its container has failed often enough.
    pub(super) fails_check_after: Millis,
    /// From the start on.
    pub(super) exits_after: Millis,
    pub(super) exit: StopCause,
    /// From the start on.
    pub(super) sick_after: Millis,
}

impl Life {
    pub(super) fn of(script: ImageScript, chance: &mut Chance) -> Self {
        let exits_after = match script {
            ImageScript::CrashesAtOnce => chance.between(100, 1_500),
            ImageScript::CrashesLater => chance.between(15_000, 40_000),
            ImageScript::OutOfMemory => chance.between(500, 4_000),
            _ => NEVER,
        };
        let out_of_memory = script == ImageScript::OutOfMemory;
        let killed = "OutOfMemoryError: Container killed due to memory usage";
        Self {
            pull: match script {
                ImageScript::PullNeverEnds => NEVER,
                _ => chance.between(1_500, 5_000),
            },
            start_failure: start_failure(script),
            listens_after: match script {
                ImageScript::SlowStart => chance.between(20_000, 45_000),
                ImageScript::CrashesAtOnce
                | ImageScript::NeverListens
                | ImageScript::OutOfMemory => NEVER,
                _ => chance.between(300, 3_000),
            },
            answers_checks_only: script == ImageScript::AnswersChecksOnly,
            fails_check_after: match script {
                ImageScript::FailsContainerCheck => chance.between(10_000, 20_000),
                _ => NEVER,
            },
            exits_after,
            exit: StopCause {
                code: "EssentialContainerExited",
                reason: "Essential container in task exited".to_owned(),
                exit_code: Some(if out_of_memory { 137 } else { 101 }),
                container_reason: out_of_memory.then(|| killed.to_owned()),
            },
            sick_after: match script {
                ImageScript::SickLater => chance.between(20_000, 60_000),
                _ => NEVER,
            },
        }
    }
}

fn start_failure(script: ImageScript) -> Option<StopCause> {
    let reason = match script {
        ImageScript::NotPulled => {
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): \
             failed to resolve ref registry/demo@sha256:0: not found"
        }
        ImageScript::PullTimesOut => {
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to \
             resolve ref registry/demo@sha256:0: dial tcp 10.0.0.1:443: i/o timeout"
        }
        ImageScript::SecretMissing => {
            "ResourceInitializationError: unable to pull secrets or registry auth: execution \
             resource retrieval failed: unable to retrieve secret from asm: service call has been \
             retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:secret from secrets \
             manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."
        }
        _ => return None,
    };
    Some(StopCause {
        code: "TaskFailedToStart",
        reason: reason.to_owned(),
        exit_code: None,
        container_reason: None,
    })
}
