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
                // An upload may take long, and what runs is not changed by it.
                let published = self.answered(async || {
                    self.ensure_lock_held().await?;
                    let published = functions.publish_version(facts, zip.clone(), &artifact.key);
                    published.await.map_err(ReleaseError::from)
                });
                let published = published.await?;
                FunctionRunning {
                    version: published.version,
                    code_sha256: published.code_sha256,
                }
            }
        };
        let version = brought.version.clone();
        let (context, outputs) = (self.context, self.outputs);
        self.answered(async || answers_its_checks(&context, outputs, function, &version).await)
            .await
            .map_err(|error| match error {
                ReleaseError::Failed(failure) => ReleaseError::Failed(ComponentFailure {
                    component: Some(function.into()),
                    error: anyhow!("version {version} {:#}", failure.error),
                    evidence: Evidence::of_note(format!(
                        "alias       stays on version {}",
                        step.rollback_version
                    )),
                }),
                error => error,
            })?;
        let alias = self.answered(async || functions.get_alias(facts).await);
        let named = alias.await?.version;
        if named != step.rollback_version && !self.inherits_version(function, &named) {
            return Err(ReleaseError::Superseded {
                component: Some(function.into()),
                by: format!("the alias names version {named} now"),
            });
        }
        // Written down before it is moved: where the answer is lost, the alias is moved.
        if let Some(entry) = self.record.entries.functions.get_mut(&function) {
            entry.after = Some(brought);
        }
        self.save().await?;
        self.move_alias(function, &named, &version).await?;
        self.context.report.emit(ReleaseEvent::RolledOut {
            component: function.into(),
            revision: version.to_string(),
            previous: step.rollback_version.to_string(),
        });
        Ok(())
    }

    /// Moves the alias, unless somebody else has moved it meanwhile. Where the answer was lost, it
    /// is moved already.
    async fn move_alias(
        &self,
        function: Function,
        from: &FunctionVersion,
        to: &FunctionVersion,
    ) -> Result<(), ReleaseError> {
        let functions = self.context.functions;
        let facts = self.outputs.function(function);
        self.answered(async || {
            let alias = functions.get_alias(facts).await?;
            if alias.version == *to {
                return Ok(());
            }
            if alias.version != *from {
                return Err(ReleaseError::Superseded {
                    component: Some(function.into()),
                    by: format!("the alias names version {} now", alias.version),
                });
            }
            let moved = functions.update_alias(facts, to, &alias.revision_id);
            self.change_once(moved).await
        })
        .await
    }

    pub(super) async fn roll_back_function(
        &mut self,
        step: &FunctionStep,
    ) -> Result<RollbackOutcome, ReleaseError> {
        let functions = self.context.functions;
        let facts = self.outputs.function(step.function);
        let alias = self.answered(async || functions.get_alias(facts).await);
        let named = alias.await?.version;
        if named == step.rollback_version {
            return Ok(RollbackOutcome::Done);
        }
        let entry = self.record.entries.functions.get(&step.function);
        let ours = entry.and_then(|entry| entry.after.as_ref());
        if ours.is_none_or(|ours| ours.version != named) {
            let by = format!("version {named}, which the alias names now");
            return Ok(RollbackOutcome::Superseded { by });
        }
        self.move_alias(step.function, &named, &step.rollback_version)
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
