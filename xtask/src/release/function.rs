//! A function's part of a release: publish, call, move the alias; and back.

use anyhow::{Result, anyhow, bail};

use super::evidence::Evidence;
use super::rollback::RollbackOutcome;
use super::{ComponentFailure, Release, ReleaseError};
use crate::catalog::Function;
use crate::decide::outputs::Outputs;
use crate::decide::release::plan::{FunctionAction, FunctionStep};
use crate::decide::release::snapshot::{FunctionRunning, FunctionVersion};
use crate::ports::Context;
use crate::report::ReleaseEvent;

impl Release<'_> {
    /// The new version is called before the alias names it, so that no dispatch meets a version
    /// that does not answer.
    pub(super) async fn change_function(
        &mut self,
        step: &FunctionStep,
    ) -> Result<(), ReleaseError> {
        let Context { functions, .. } = self.context;
        let function = step.function;
        let facts = self.outputs.function(function);
        let brought = match &step.action {
            FunctionAction::Keep => return Ok(()),
            FunctionAction::MoveAlias(running) => running.clone(),
            FunctionAction::Publish(artifact) => {
                let Context {
                    builder, report, ..
                } = self.context;
                report.emit(ReleaseEvent::Publishing {
                    component: function.into(),
                });
                let zip = builder.bytes(artifact).await?;
                let published = functions.publish_version(facts, zip, &artifact.key);
                let published = published.await?;
                FunctionRunning {
                    version: published.version,
                    code_sha256: published.code_sha256,
                }
            }
        };
        let version = brought.version.clone();
        answers_its_checks(&self.context, self.outputs, function, &version)
            .await
            .map_err(|error| match ReleaseError::from(error) {
                ReleaseError::Failed(failure) => ReleaseError::Failed(ComponentFailure {
                    component: Some(function.into()),
                    error: anyhow!("version {version} {:#}", failure.error),
                    evidence: Evidence::note(format!(
                        "alias       stays on version {}",
                        step.rollback_version
                    )),
                }),
                error => error,
            })?;
        let alias = functions.get_alias(facts).await?;
        if alias.version != step.rollback_version {
            return Err(ReleaseError::Superseded {
                component: Some(function.into()),
                by: format!("the alias names version {} now", alias.version),
            });
        }
        // Written down before it is moved: where the answer is lost, the alias is moved.
        if let Some(entry) = self.record.entries.functions.get_mut(&function) {
            entry.after = Some(brought);
        }
        self.save().await?;
        let moved = functions.update_alias(facts, &version, &alias.revision_id);
        moved.await?;
        self.context.report.emit(ReleaseEvent::RolledOut {
            component: function.into(),
            revision: version.to_string(),
            previous: step.rollback_version.to_string(),
        });
        Ok(())
    }

    pub(super) async fn roll_back_function(
        &mut self,
        step: &FunctionStep,
    ) -> Result<RollbackOutcome> {
        let functions = self.context.functions;
        let facts = self.outputs.function(step.function);
        let alias = functions.get_alias(facts).await?;
        if alias.version == step.rollback_version {
            return Ok(RollbackOutcome::Done);
        }
        let entry = self.record.entries.functions.get(&step.function);
        let ours = entry.and_then(|entry| entry.after.as_ref());
        if ours.is_none_or(|ours| ours.version != alias.version) {
            let by = format!("version {}, which the alias names now", alias.version);
            return Ok(RollbackOutcome::Superseded { by });
        }
        functions
            .update_alias(facts, &step.rollback_version, &alias.revision_id)
            .await?;
        Ok(RollbackOutcome::Done)
    }
}

/// Calls a version with what the catalog says that it must answer.
pub async fn answers_its_checks(
    context: &Context<'_>,
    outputs: &Outputs,
    function: Function,
    version: &FunctionVersion,
) -> Result<()> {
    let facts = outputs.function(function);
    let entry = context.catalog.function(function);
    for check in entry.map_or(&[][..], |entry| &entry.checks) {
        let functions = context.functions;
        let answer = functions.invoke(facts, version, &check.request).await?;
        if !check.is_met(&answer) {
            let (request, expected) = (&check.request, &check.response);
            bail!("answered {answer} to {request}, expected {expected}");
        }
    }
    Ok(())
}
