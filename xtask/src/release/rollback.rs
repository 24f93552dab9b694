//! The rollback of a release: everything that it changed, in reverse order.

use anyhow::Result;

use super::{ComponentFailure, End, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::cause::Cause;
use crate::decide::release::plan::Step;
use crate::decide::release::record::ReleaseState;
use crate::decide::release::rollout::Outcome;
use crate::failure::{Failure, Kind};
use crate::report::{CauseEvidence, RollbackEvent};

/// How the rollback of one component ended.
pub(super) enum RollbackOutcome {
    Done,
    /// It runs another deployment, which is left alone.
    Superseded {
        by: String,
    },
}

/// What came of the rollback of several components.
#[derive(Default)]
struct RollbackResult {
    /// A command for each component that is not back.
    by_hand: Vec<String>,
    /// A component runs somebody else's deployment.
    superseded: bool,
}

impl Release<'_> {
    pub(super) async fn failed(&mut self, changed: &[&Step], failure: &ComponentFailure) -> End {
        let ComponentFailure {
            component, error, ..
        } = failure;
        let reason = format!("{error:#}");
        let report = self.context.report;
        let number = self.record.number;
        let mut causes = failure.evidence.causes.clone();
        if causes.is_empty() {
            causes.push(Cause::unknown(&reason));
        }
        let failed = RollbackEvent::ReleaseFailed {
            number,
            component: *component,
            reason: reason.clone(),
            causes: causes.into_iter().map(CauseEvidence::from).collect(),
            tasks: failure.evidence.tasks.clone(),
            notes: failure.evidence.notes.clone(),
        };
        self.record.set_cause(&failed.text());
        report.emit(failed);
        let result = match self.roll_back_steps(changed).await {
            Ok(result) => result,
            Err(error) => return self.ended_by(error),
        };
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
        self.conclude(format!("release {number} failed: {about}"), result)
            .await
    }

    /// The end of a release that went back, after one more look at all of it.
    async fn conclude(&mut self, message: String, mut result: RollbackResult) -> End {
        match self.leave_to_others().await {
            Ok(found) => result.superseded |= found,
            // That something is not back says more.
            Err(error) if !result.by_hand.is_empty() => self.ignore(error.text()),
            Err(ReleaseError::Failed(unseen)) => {
                return self.stop_watching(&format!(
                    "{message}; what runs now could not be read: {:#}",
                    unseen.error
                ));
            }
            Err(error) => return self.ended_by(error),
        }
        conclusion(message, &result)
    }

    /// Names each component that is back, or was not touched, and is somebody else's by now.
    /// Returns whether there is one.
    ///
    /// # Errors
    /// Where nothing can be read any more: then nobody knows that everything is back.
    async fn leave_to_others(&mut self) -> Result<bool, ReleaseError> {
        let mut found = false;
        loop {
            match self.ensure_as_recorded().await {
                Ok(()) => return Ok(found),
                Err(ReleaseError::Superseded {
                    component: Some(component),
                    by,
                }) => {
                    self.leave_alone(component, by);
                    found = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn leave_alone(&mut self, component: Component, by: String) {
        let report = self.context.report;
        report.emit(RollbackEvent::LeftAlone { component, by });
        self.record.entries.conclude(component, Outcome::Superseded);
    }

    /// A component is somebody else's by now: it is left as it is, and the others go back.
    pub(super) async fn component_superseded(
        &mut self,
        changed: &[&Step],
        component: Component,
        by: String,
    ) -> End {
        let runs = format!("{component} runs {by}");
        let message = format!("{} was superseded: {runs}", self.record.name());
        let cause = CauseEvidence::from(Cause::superseded(&runs));
        self.record.set_cause(&cause.lines().join("\n"));
        self.leave_alone(component, by);
        let others = changed.iter().filter(|step| step.component() != component);
        let others: Vec<&Step> = others.copied().collect();
        match self.roll_back_steps(&others).await {
            Ok(mut result) => {
                result.superseded = true;
                self.conclude(message, result).await
            }
            Err(error) => self.ended_by(error),
        }
    }

    /// Rolls back in reverse order.
    ///
    /// # Errors
    /// Where nothing can be rolled back any more. What is merely not back is in the result.
    async fn roll_back_steps(&mut self, changed: &[&Step]) -> Result<RollbackResult, ReleaseError> {
        let report = self.context.report;
        let mut result = RollbackResult::default();
        for step in changed.iter().rev() {
            let component = step.component();
            let outcome = match self.roll_back_step(step).await {
                Ok(RollbackOutcome::Done) => {
                    let to = target(step).to_owned();
                    report.emit(RollbackEvent::RolledBack { component, to });
                    Outcome::RolledBack
                }
                Ok(RollbackOutcome::Superseded { by }) => {
                    result.superseded = true;
                    report.emit(RollbackEvent::LeftAlone { component, by });
                    Outcome::Superseded
                }
                // Whoever took over the lock answers for all components.
                Err(error @ ReleaseError::Superseded { .. }) => return Err(error),
                Err(error) => {
                    let by_hand = self.by_hand(step);
                    report.emit(RollbackEvent::RollbackFailed {
                        component,
                        error: error.text(),
                        by_hand: by_hand.clone(),
                    });
                    if matches!(error, ReleaseError::Expired { .. }) {
                        return Err(error);
                    }
                    result.by_hand.push(by_hand);
                    Outcome::RollbackFailed
                }
            };
            match self.set_outcome(component, outcome).await {
                Ok(()) => {}
                Err(error @ ReleaseError::Superseded { .. }) => return Err(error),
                // The closing of the record writes it once more: the rest goes back first.
                Err(error) => self.ignore(error.text()),
            }
        }
        Ok(result)
    }

    async fn roll_back_step(&mut self, step: &Step) -> Result<RollbackOutcome, ReleaseError> {
        self.ensure_lock_not_lost().await?;
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
                    // Without force ECS starts no deployment where it runs that revision already.
                    let revision = &step.rollback_revision;
                    format!("--task-definition {revision} --force-new-deployment")
                };
                let service = &self.outputs.service(step.service).ecs_service;
                let cluster = &self.outputs.cluster;
                format!("aws ecs update-service --cluster {cluster} --service {service} {to}")
            }
        }
    }
}

fn conclusion(message: String, result: &RollbackResult) -> End {
    let RollbackResult {
        by_hand,
        superseded,
    } = result;
    let (state, kind, hint) = if !by_hand.is_empty() {
        let hint = by_hand.join("\n");
        (ReleaseState::RollbackFailed, Kind::RollbackFailed, hint)
    } else if *superseded {
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
