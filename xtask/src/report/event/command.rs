//! Events of the commands: how each ended, what is looked at, what is measured.

use serde::Serialize;

use super::{Shown, Tone, done, failed, live, shown, warning};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CommandEvent {
    /// Everything runs as it is in the checkout.
    NothingToDeploy,
    /// Nothing was changed.
    DryRunEnded,
    Deployed {
        base_url: String,
    },
    /// The release that a rollback goes back to, with who made it and why.
    RollbackTarget {
        release: u64,
        about: String,
    },
    /// It is what runs now.
    NothingToRollBack {
        release: u64,
    },
    RollbackDone {
        release: u64,
    },
    NothingRuns,
    ServicesStopped,
    /// A finding of lint on the way of another command.
    Finding {
        /// A service, or the path of a definition.
        subject: String,
        code: String,
        severity: String,
        /// Where in the definition.
        json_path: String,
        reason: String,
        remedy: String,
        #[serde(skip)]
        text: String,
    },
    /// What `verify` looks at now.
    Looking {
        subject: String,
        at: String,
    },
    /// A criterion of acceptance was judged.
    Criterion {
        number: usize,
        name: String,
        /// `PASS`, `FAIL` or `SKIP`.
        status: String,
        seen: Vec<String>,
        remedy: Option<String>,
    },
    /// A stage of the tests is over. The counts are cargo's.
    StageEnded {
        stage: String,
        passed: bool,
        counts: Option<String>,
        seconds: u64,
    },
    /// A stage could not look at this, and does not count as skipped.
    NotLookedAt {
        subject: String,
        why: String,
    },
    Measuring {
        subject: String,
        what: String,
    },
    NotMeasured {
        subject: String,
        why: String,
    },
    /// Something failed that does not end the command.
    ErrorIgnored {
        subject: String,
        error: String,
    },
    /// One line of `--verbose`.
    Diagnostic {
        text: String,
    },
    /// The command failed. `exit_code` is the process's.
    Failure {
        exit_code: u8,
        error: String,
        hint: Option<String>,
    },
}

impl CommandEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::NothingToDeploy => done(
                "deploy",
                "nothing to do: everything runs as it is in the checkout",
            ),
            Self::DryRunEnded => done("deploy", "a dry run ends here: nothing was changed"),
            Self::Deployed { base_url } => {
                done("deploy", format!("done; {base_url} answers POST /dispatch"))
            }
            Self::RollbackTarget { about, .. } => done("rollback", format!("to {about}")),
            Self::NothingToRollBack { release } => {
                done("rollback", format!("release {release} is what runs now"))
            }
            Self::RollbackDone { release } => {
                done("rollback", format!("done: release {release} runs again"))
            }
            Self::NothingRuns => done("stop", "nothing runs"),
            Self::ServicesStopped => done(
                "stop",
                "done: `cargo xtask deploy` or `rollback` starts the services again",
            ),
            Self::Finding { text, .. } => warning("lint", text),
            Self::Looking { subject, at } => live(subject, at),
            Self::Criterion {
                number,
                name,
                status,
                ..
            } => live("verify", format!("{number:>2}  {status}  {name}")),
            Self::StageEnded {
                stage,
                passed,
                counts,
                seconds,
            } => {
                let outcome = if *passed { "passed" } else { "FAILED" };
                let counts = counts
                    .as_ref()
                    .map_or(String::new(), |it| format!(", {it}"));
                done(stage, format!("{outcome}{counts} ({seconds} s)"))
            }
            Self::NotLookedAt { subject, why } => done(subject, format!("not checked: {why}")),
            Self::Measuring { subject, what } => live(subject, what),
            Self::NotMeasured { subject, why } => warning(subject, format!("not measured: {why}")),
            Self::ErrorIgnored { subject, error } => warning(subject, error),
            Self::Diagnostic { text } => shown(Tone::Diagnostic, "", text),
            Self::Failure { error, hint, .. } => failed(failure(error, hint.as_deref())),
        }
    }
}

/// Whole lines of hints, each marked, so that a command in them can be copied.
pub(crate) fn failure(error: &str, hint: Option<&str>) -> String {
    let mut text = error.to_owned();
    for line in hint.iter().flat_map(|hint| hint.lines()) {
        text.push_str("\n  hint: ");
        text.push_str(line);
    }
    text
}
