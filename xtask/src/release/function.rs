//! The function's part of a release: publish, ask, move the alias; and back.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::back::RollbackOutcome;
use super::{ComponentFailure, Release, ReleaseError};
use crate::catalog::Component;
use crate::decide::release::plan::{Change, Step};
use crate::decide::release::record::Running;

impl Release<'_> {
    /// The new version is asked before the alias names it, so that no dispatch meets a version
    /// that does not answer.
    pub(super) async fn change_function(&mut self, step: &Step) -> Result<(), ReleaseError> {
        let functions = self.world.functions;
        let version = match &step.change {
            Change::Publish(artifact) => {
                self.world
                    .report
                    .live(step.component.name(), "publishing a version");
                let zip = self.world.builder.bytes(artifact).await?;
                functions.publish_version(zip, artifact).await?
            }
            Change::Version(version) => version.clone(),
            Change::Keep | Change::Follow | Change::Register { .. } | Change::Revision(_) => {
                return Ok(());
            }
        };
        self.ask(&version)
            .await
            .map_err(|error| match ReleaseError::from(error) {
                ReleaseError::Failed(fault) => ReleaseError::Failed(ComponentFailure {
                    component: Some(step.component),
                    reason: format!("version {version} {}", fault.reason),
                    evidence: vec![format!("alias       stays on version {}", step.parent)],
                }),
                error => error,
            })?;
        let alias = functions.get_alias().await?;
        if alias.version != step.parent {
            let by = format!("the alias names version {} now", alias.version);
            return Err(ReleaseError::Superseded {
                component: Some(step.component),
                by,
            });
        }
        // Written down before it is moved: an answer that is lost leaves the alias moved.
        self.write_version(&version, String::new()).await?;
        functions.update_alias(&version, &alias.revision_id).await?;
        let now = functions.get_alias().await?;
        self.write_version(&now.version, now.code_sha256).await?;
        let text = format!("rolled out version {version} (was {})", step.parent);
        self.world.report.line(step.component.name(), &text);
        Ok(())
    }

    async fn write_version(&mut self, version: &str, content: String) -> Result<()> {
        if let Some(entry) = self.record.components.get_mut(&Component::Governance) {
            entry.after = Some(Running {
                revision: version.to_owned(),
                content,
                image: None,
            });
        }
        self.save().await
    }

    pub(super) async fn take_back_function(&mut self, step: &Step) -> Result<RollbackOutcome> {
        let alias = self.world.functions.get_alias().await?;
        if alias.version == step.parent {
            return Ok(RollbackOutcome::Done);
        }
        let ours = self
            .record
            .components
            .get(&step.component)
            .and_then(|entry| entry.after.as_ref());
        if ours.is_none_or(|ours| ours.revision != alias.version) {
            let by = format!("version {}, which the alias names now", alias.version);
            return Ok(RollbackOutcome::Superseded { by });
        }
        let functions = self.world.functions;
        functions
            .update_alias(&step.parent, &alias.revision_id)
            .await?;
        Ok(RollbackOutcome::Done)
    }

    /// One request that must be permitted and one that must be denied.
    async fn ask(&self, version: &str) -> Result<()> {
        for (intent, expected) in [("call_reasoning", true), ("shutdown", false)] {
            let request = json!({ "service": "orbit", "intent": intent });
            let answer = self.world.functions.invoke(version, &request).await?;
            if answer.get("allowed").and_then(Value::as_bool) != Some(expected) {
                bail!("answered {answer} to {request}, expected \"allowed\": {expected}");
            }
        }
        Ok(())
    }
}
