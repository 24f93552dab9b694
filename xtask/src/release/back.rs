//! The rollback of a release: everything that it changed, in reverse order, told in one block.

use anyhow::Result;

use super::{ComponentFailure, End, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::plan::{Plan, Step};
use crate::decide::release::record::ReleaseState;
use crate::decide::release::rollout::Outcome;
use crate::failure::{self, Failure, Kind};

/// How the rolling back of one component ended.
pub(super) enum RollbackOutcome {
    Done,
    /// It is somebody else's now, and is left to them.
    Superseded {
        by: String,
    },
}

impl Release<'_> {
    pub(super) async fn failed(
        &mut self,
        plan: &Plan,
        changed: &[Component],
        fault: &ComponentFailure,
    ) -> End {
        let what = fault.component.map_or_else(
            || "the release".to_owned(),
            |component| component.to_string(),
        );
        let reason = &fault.reason;
        let report = self.world.report;
        report.warn(&what, &format!("failed: {reason}; rolling back"));
        let mut told = vec![format!("release {} failed", self.record.number)];
        told.push(format!("  what        {what}"));
        told.push(format!("  why         {reason}"));
        told.extend(fault.evidence.iter().map(|line| format!("  {line}")));
        let mut by_hand = Vec::new();
        let mut superseded = false;
        let steps = plan.steps.iter().rev();
        for step in steps.filter(|step| changed.contains(&step.component)) {
            let outcome = match self.roll_back(step).await {
                Ok(RollbackOutcome::Done) => {
                    told.push(format!(
                        "  rolled back {} to {}",
                        step.component,
                        goal(step)
                    ));
                    Outcome::RolledBack
                }
                Ok(RollbackOutcome::Superseded { by }) => {
                    superseded = true;
                    told.push(format!(
                        "  left alone  {}: superseded by {by}",
                        step.component
                    ));
                    Outcome::Superseded
                }
                Err(error) => {
                    told.push(format!("  ROLLBACK FAILED  {}: {error:#}", step.component));
                    if failure::is(&error, Kind::Expired) {
                        report.block(&told.join("\n"));
                        return End {
                            state: ReleaseState::InProgress,
                            result: Err(self.expired(&format!("{error:#}"))),
                        };
                    }
                    by_hand.push(self.by_hand(step));
                    Outcome::RollbackFailed
                }
            };
            if let Err(error) = self.set_outcome(step.component, outcome).await {
                // The closing of the record writes it once more: the rest goes back first.
                report.warn("release", &format!("{error:#}"));
            }
        }
        if changed.is_empty() {
            told.push("  rolled back nothing: it had changed nothing that runs".to_owned());
        }
        report.block(&told.join("\n"));
        let (state, kind, hint) = if !by_hand.is_empty() {
            (
                ReleaseState::RollbackFailed,
                Kind::RollbackFailed,
                by_hand.join("\n"),
            )
        } else if superseded {
            let hint = "what somebody else deployed was left alone; see `cargo xtask releases`";
            (ReleaseState::Superseded, Kind::Superseded, hint.to_owned())
        } else {
            let hint = "everything is back where it was; mend the cause and deploy again";
            (ReleaseState::RolledBack, Kind::RolledBack, hint.to_owned())
        };
        let message = format!("release {} failed: {what}: {reason}", self.record.number);
        End {
            state,
            result: Err(Failure::new(kind, message).hint(hint).into()),
        }
    }

    async fn roll_back(&mut self, step: &Step) -> Result<RollbackOutcome> {
        match self.guard().await {
            Err(ReleaseError::Superseded { by, .. }) => {
                return Ok(RollbackOutcome::Superseded { by });
            }
            Err(ReleaseError::Expired { how }) => {
                return Err(Failure::new(Kind::Expired, how).into());
            }
            Err(
                ReleaseError::Failed(ComponentFailure { reason, .. })
                | ReleaseError::MovedOn { how: reason },
            ) => {
                anyhow::bail!(reason);
            }
            Ok(()) => {}
        }
        if step.component.is_service() {
            self.take_back_service(step).await
        } else {
            self.take_back_function(step).await
        }
    }

    fn by_hand(&self, step: &Step) -> String {
        let outputs = self.world.outputs;
        if !step.component.is_service() {
            return format!(
                "aws lambda update-alias --function-name {} --name {} --function-version {}",
                outputs.function.name, outputs.function.alias, step.parent
            );
        }
        let to = if step.parent_desired == 0 {
            "--desired-count 0".to_owned()
        } else {
            format!("--task-definition {}", step.parent)
        };
        let service = &outputs.service(step.component).ecs_service;
        let cluster = &outputs.cluster;
        format!("aws ecs update-service --cluster {cluster} --service {service} {to}")
    }
}

/// Where rolling back goes to, for people.
fn goal(step: &Step) -> &str {
    if step.component.is_service() && step.parent_desired == 0 {
        "none desired"
    } else {
        &step.parent
    }
}
