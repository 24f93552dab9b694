//! The rollback of a release: everything that it changed, in reverse order, in one block.

use anyhow::Result;

use super::{ComponentFailure, End, Release, ReleaseError};
use crate::decide::release::plan::Step;
use crate::decide::release::record::ReleaseState;
use crate::decide::release::rollout::Outcome;
use crate::failure::{self, Failure, Kind};

/// How the rollback of one component ended.
pub(super) enum RollbackOutcome {
    Done,
    /// It runs another deployment, which is left alone.
    Superseded {
        by: String,
    },
}

impl Release<'_> {
    pub(super) async fn failed(&mut self, changed: &[&Step], failure: &ComponentFailure) -> End {
        let what = failure
            .component
            .map_or_else(|| "the release".to_owned(), |it| it.to_string());
        let reason = &failure.reason;
        let report = self.context.report;
        report.warn(&what, &format!("failed: {reason}; rolling back"));
        let mut lines = vec![format!("release {} failed", self.record.number)];
        lines.push(format!("  what        {what}"));
        lines.push(format!("  why         {reason}"));
        lines.extend(failure.evidence.iter().map(|line| format!("  {line}")));
        let mut by_hand = Vec::new();
        let mut superseded = false;
        for step in changed.iter().rev() {
            let component = step.component();
            let outcome = match self.roll_back_step(step).await {
                Ok(RollbackOutcome::Done) => {
                    lines.push(format!("  rolled back {component} to {}", target(step)));
                    Outcome::RolledBack
                }
                Ok(RollbackOutcome::Superseded { by }) => {
                    superseded = true;
                    lines.push(format!("  left alone  {component}: superseded by {by}"));
                    Outcome::Superseded
                }
                Err(error) => {
                    lines.push(format!("  ROLLBACK FAILED  {component}: {error:#}"));
                    if failure::is(&error, Kind::Expired) {
                        report.block(&lines.join("\n"));
                        return End {
                            state: ReleaseState::InProgress,
                            result: Err(self.expired(&format!("{error:#}"))),
                        };
                    }
                    by_hand.push(self.by_hand(step));
                    Outcome::RollbackFailed
                }
            };
            if let Err(error) = self.set_outcome(component, outcome).await {
                // The closing of the record writes it once more: the rest goes back first.
                report.warn("release", &format!("{error:#}"));
            }
        }
        if changed.is_empty() {
            lines.push("  rolled back nothing: it had changed nothing that runs".to_owned());
        }
        report.block(&lines.join("\n"));
        let message = format!("release {} failed: {what}: {reason}", self.record.number);
        conclusion(message, &by_hand, superseded)
    }

    async fn roll_back_step(&mut self, step: &Step) -> Result<RollbackOutcome> {
        match self.ensure_lock_held().await {
            Ok(()) => {}
            Err(ReleaseError::Superseded { by, .. }) => {
                return Ok(RollbackOutcome::Superseded { by });
            }
            Err(ReleaseError::Expired { how }) => {
                return Err(Failure::new(Kind::Expired, how).into());
            }
            Err(
                ReleaseError::Failed(ComponentFailure { reason, .. })
                | ReleaseError::MovedOn { how: reason },
            ) => anyhow::bail!(reason),
        }
        match step {
            Step::Function(step) => self.roll_back_function(step).await,
            Step::Service(step) => self.roll_back_service(step).await,
        }
    }

    /// The command that a person runs where the rollback of a component failed.
    fn by_hand(&self, step: &Step) -> String {
        match step {
            Step::Function(step) => {
                let function = self.outputs.function(step.function);
                format!(
                    "aws lambda update-alias --function-name {} --name {} --function-version {}",
                    function.name, function.alias, step.rollback_version
                )
            }
            Step::Service(step) => {
                let to = if step.rollback_count == 0 {
                    "--desired-count 0".to_owned()
                } else {
                    format!("--task-definition {}", step.rollback_revision)
                };
                let service = &self.outputs.service(step.service).ecs_service;
                let cluster = &self.outputs.cluster;
                format!("aws ecs update-service --cluster {cluster} --service {service} {to}")
            }
        }
    }
}

fn conclusion(message: String, by_hand: &[String], superseded: bool) -> End {
    let (state, kind, hint) = if !by_hand.is_empty() {
        let hint = by_hand.join("\n");
        (ReleaseState::RollbackFailed, Kind::RollbackFailed, hint)
    } else if superseded {
        let hint = "what another deployment changed was left alone; see `cargo xtask releases`";
        (ReleaseState::Superseded, Kind::Superseded, hint.to_owned())
    } else {
        let hint = "everything is back where it was; fix the cause and deploy again";
        (ReleaseState::RolledBack, Kind::RolledBack, hint.to_owned())
    };
    End {
        state,
        result: Err(Failure::new(kind, message).hint(hint).into()),
    }
}

/// Where a rollback goes to, for people.
fn target(step: &Step) -> &str {
    match step {
        Step::Function(step) => step.rollback_version.as_str(),
        Step::Service(step) if step.rollback_count == 0 => "none desired",
        Step::Service(step) => step.rollback_revision.as_str(),
    }
}
