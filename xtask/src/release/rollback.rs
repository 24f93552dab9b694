//! The rollback of a release: everything that it changed, in reverse order.

use anyhow::Result;

use super::{ComponentFailure, End, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::plan::Step;
use crate::decide::release::record::ReleaseState;
use crate::decide::release::rollout::Outcome;
use crate::failure::{self, Failure, Kind};
use crate::report::RollbackEvent;

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
        let ComponentFailure {
            component, error, ..
        } = failure;
        let reason = format!("{error:#}");
        let report = self.context.report;
        let number = self.record.number;
        report.emit(RollbackEvent::ReleaseFailed {
            number,
            component: *component,
            reason: reason.clone(),
            tasks: failure.evidence.tasks.clone(),
            notes: failure.evidence.notes.clone(),
        });
        let mut by_hand = Vec::new();
        let mut superseded = false;
        for step in changed.iter().rev() {
            let component = step.component();
            let outcome = match self.roll_back_step(step).await {
                Ok(RollbackOutcome::Done) => {
                    let to = target(step).to_owned();
                    report.emit(RollbackEvent::RolledBack { component, to });
                    Outcome::RolledBack
                }
                Ok(RollbackOutcome::Superseded { by }) => {
                    superseded = true;
                    report.emit(RollbackEvent::LeftAlone { component, by });
                    Outcome::Superseded
                }
                Err(error) => {
                    let command = self.by_hand(step);
                    report.emit(RollbackEvent::RollbackFailed {
                        component,
                        error: format!("{error:#}"),
                        by_hand: command.clone(),
                    });
                    if failure::is(&error, Kind::Expired) {
                        return End {
                            state: ReleaseState::InProgress,
                            result: Err(self.expired(&format!("{error:#}"))),
                        };
                    }
                    by_hand.push(command);
                    Outcome::RollbackFailed
                }
            };
            if let Err(error) = self.set_outcome(component, outcome).await {
                // The closing of the record writes it once more: the rest goes back first.
                self.ignore(format!("{error:#}"));
            }
        }
        if changed.is_empty() {
            report.emit(RollbackEvent::NothingRolledBack { number });
        }
        let what = component.map_or("the release", Component::name);
        // "NAME exited with 78" needs no subject before it.
        let about = if reason.starts_with(&format!("{what} ")) {
            reason.clone()
        } else {
            format!("{what}: {reason}")
        };
        let message = format!("release {number} failed: {about}");
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
            Err(ReleaseError::Failed(failure)) => return Err(failure.error),
            Err(ReleaseError::MovedOn { how }) => anyhow::bail!(how),
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
