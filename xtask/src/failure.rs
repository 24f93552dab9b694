//! Kinds of failure: each has its exit code, and a remedy that is kept apart from the message.

use std::fmt;
use std::io::{self, ErrorKind};

/// What went wrong, as far as a caller of the command must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line could not be understood.
    Usage,
    /// Lint found errors.
    Findings,
    /// Refused: a release is in progress, the state moved on, or it was not confirmed.
    Refused,
    /// A tool, credentials, the outputs or a secret's value is missing, or the account is another one.
    NotReady,
    /// The credentials are not valid any more: nothing can be read or changed with them.
    Expired,
    /// The credentials lack a permission.
    Denied,
    /// AWS did not answer, or asked to call later: whether the call had an effect is not known.
    Unanswered,
    /// Terraform is to create what exists already: an earlier run of it was cut off.
    LeftOver,
    /// No failure but an answer that was asked for: a release would change something.
    Changes,
    /// The release failed and everything is back where it was.
    RolledBack,
    /// The release failed and something is not back.
    RollbackFailed,
    /// We stopped watching; AWS goes on.
    StoppedWatching,
    /// Another deployment replaced ours.
    Superseded,
    /// A check failed: of the acceptance criteria, or that services are served after an apply.
    CheckFailed,
    /// Ctrl-C before anything was changed.
    Interrupted,
}

impl Kind {
    /// The exit code of the process. The table is part of the README and never changes its meaning.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Findings => 10,
            Self::Refused => 11,
            Self::NotReady | Self::Expired | Self::Denied | Self::Unanswered | Self::LeftOver => 12,
            Self::Changes => 13,
            Self::RolledBack => 20,
            Self::RollbackFailed => 21,
            Self::StoppedWatching => 22,
            Self::Superseded => 23,
            Self::CheckFailed => 30,
            Self::Interrupted => 130,
        }
    }
}

/// An error that knows its kind and its remedy. It travels inside `anyhow::Error`.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn not_ready(message: impl Into<String>) -> Self {
        Self::new(Kind::NotReady, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A disk of this machine is full: `what` could not be done.
    pub fn disk_full(what: impl fmt::Display) -> Self {
        Self::not_ready(format!("the disk is full: {what}"))
            .hint("df -h .        # which one\ncargo clean    # frees what was compiled")
    }

    /// What the user can do about it: whole lines, commands ready to be copied.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The failure that an error carries, wherever in its chain.
pub fn of(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether an error is of a kind.
pub fn is(error: &anyhow::Error, kind: Kind) -> bool {
    of(error).is_some_and(|failure| failure.kind == kind)
}

/// The exit code for an error: 1 for an unexpected one.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    of(error).map_or(1, |failure| failure.kind.exit_code())
}

/// Any file can be the one for which there is no room: wherever that was, it gets its remedy.
#[must_use]
pub fn explained(error: anyhow::Error) -> anyhow::Error {
    let mut causes = error
        .chain()
        .filter_map(|it| it.downcast_ref::<io::Error>());
    let is_full =
        causes.any(|it| matches!(it.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    if is_full && of(&error).is_none() {
        return Failure::disk_full(format!("{error:#}")).into();
    }
    error
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failure_is_found_below_its_context() {
        let failure = Failure::not_ready("terraform is not installed").hint("install it");
        let error = Err::<(), _>(anyhow::Error::from(failure))
            .context("apply infra")
            .unwrap_err();
        assert_eq!(exit_code(&error), 12);
        assert_eq!(
            of(&error).and_then(|failure| failure.hint.as_deref()),
            Some("install it")
        );
        assert_eq!(exit_code(&anyhow::anyhow!("something else")), 1);
    }

    #[test]
    fn a_full_disk_gets_its_remedy_wherever_it_is_met() {
        let full = io::Error::from(ErrorKind::StorageFull);
        let error = explained(anyhow::Error::from(full).context("write the ledger"));
        assert_eq!(exit_code(&error), 12);
        assert!(
            error
                .to_string()
                .contains("the disk is full: write the ledger"),
            "{error}"
        );
        let other = anyhow::Error::from(io::Error::from(ErrorKind::NotFound));
        assert_eq!(exit_code(&explained(other)), 1);
    }
}
