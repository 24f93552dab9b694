//! The function's part of a release: publish, ask, move the alias; and back.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::back::Return;
use super::{Fault, Release, Trouble};
use crate::catalog::Thing;
use crate::decide::plan::{Change, Step};
use crate::decide::release::Running;

impl Release<'_> {
    /// The new version is asked before the alias names it, so that no dispatch meets a version
    /// that does not answer.
    pub(super) async fn change_function(&mut self, step: &Step) -> Result<(), Trouble> {
        let functions = self.world.functions;
        let version = match &step.change {
            Change::Publish(artefact) => {
                self.world
                    .report
                    .live(step.thing.name(), "publishing a version");
                let zip = self.world.builder.bytes(artefact).await?;
                functions.publish(zip, artefact).await?
            }
            Change::Version(version) => version.clone(),
            Change::Keep | Change::Follow | Change::Register { .. } | Change::Revision(_) => {
                return Ok(());
            }
        };
        self.ask(&version)
            .await
            .map_err(|error| match Trouble::from(error) {
                Trouble::Failed(fault) => Trouble::Failed(Fault {
                    thing: Some(step.thing),
                    reason: format!("version {version} {}", fault.reason),
                    evidence: vec![format!("alias       stays on version {}", step.parent)],
                }),
                trouble => trouble,
            })?;
        let alias = functions.look().await?;
        if alias.version != step.parent {
            let by = format!("the alias names version {} now", alias.version);
            return Err(Trouble::Usurped {
                thing: Some(step.thing),
                by,
            });
        }
        // Written down before it is moved: an answer that is lost leaves the alias moved.
        self.write_version(&version, String::new()).await?;
        functions.move_alias(&version, &alias.revision_id).await?;
        let now = functions.look().await?;
        self.write_version(&now.version, now.code_sha256).await?;
        let text = format!("landed on version {version} (was {})", step.parent);
        self.world.report.line(step.thing.name(), &text);
        Ok(())
    }

    async fn write_version(&mut self, version: &str, content: String) -> Result<()> {
        if let Some(entry) = self.record.things.get_mut(&Thing::Governance) {
            entry.after = Some(Running {
                revision: version.to_owned(),
                content,
                image: None,
            });
        }
        self.save().await
    }

    pub(super) async fn take_back_function(&mut self, step: &Step) -> Result<Return> {
        let alias = self.world.functions.look().await?;
        if alias.version == step.parent {
            return Ok(Return::Done);
        }
        let ours = self
            .record
            .things
            .get(&step.thing)
            .and_then(|entry| entry.after.as_ref());
        if ours.is_none_or(|ours| ours.revision != alias.version) {
            let by = format!("version {}, which the alias names now", alias.version);
            return Ok(Return::Usurped { by });
        }
        let functions = self.world.functions;
        functions
            .move_alias(&step.parent, &alias.revision_id)
            .await?;
        Ok(Return::Done)
    }

    /// One request that must be permitted and one that must be denied.
    async fn ask(&self, version: &str) -> Result<()> {
        for (intent, expected) in [("call_reasoning", true), ("shutdown", false)] {
            let request = json!({ "service": "orbit", "intent": intent });
            let answer = self.world.functions.ask(version, &request).await?;
            if answer.get("allowed").and_then(Value::as_bool) != Some(expected) {
                bail!("answered {answer} to {request}, expected \"allowed\": {expected}");
            }
        }
        Ok(())
    }
}
