//! Lambda: versions of the function, and its alias.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde_json::{Value, json};
use xtask::decide::artifact::image::Artifact;
use xtask::decide::release::rollout::FunctionState;
use xtask::world::Functions;

use super::Fake;

/// How a version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Rightly,
    /// It permits what it must deny.
    YesToAll,
}

pub(crate) struct Lambda {
    versions: BTreeMap<String, Version>,
    pub(crate) alias: String,
    /// Changes whenever the alias is moved.
    moves: u32,
    /// For versions that are published from now on.
    pub(crate) script: Answers,
}

struct Version {
    code_sha256: String,
    description: String,
    answers: Answers,
}

impl Default for Lambda {
    /// The shell that Terraform creates.
    fn default() -> Self {
        let shell = Version {
            code_sha256: "c2hlbGw=".to_owned(),
            description: String::new(),
            answers: Answers::Rightly,
        };
        Self {
            versions: [("1".to_owned(), shell)].into(),
            alias: "1".to_owned(),
            moves: 1,
            script: Answers::Rightly,
        }
    }
}

impl Lambda {
    /// What somebody else does by hand.
    pub(crate) fn move_alias(&mut self, version: &str) {
        version.clone_into(&mut self.alias);
        self.moves += 1;
    }
}

#[async_trait]
impl Functions for Fake {
    async fn get_alias(&self) -> Result<FunctionState> {
        self.call("look governance", |state| {
            let lambda = &state.lambda;
            let version = &lambda.versions[&lambda.alias];
            Ok(FunctionState {
                version: lambda.alias.clone(),
                code_sha256: version.code_sha256.clone(),
                description: version.description.clone(),
                revision_id: format!("move-{}", lambda.moves),
            })
        })
        .await
    }

    async fn publish_version(&self, zip: Vec<u8>, artifact: &Artifact) -> Result<String> {
        self.call("publish", |state| {
            let script = state.lambda.script;
            let versions = &mut state.lambda.versions;
            let known = versions
                .iter()
                .find(|(_, version)| version.description == artifact.key.0);
            if let Some((version, _)) = known {
                return Ok(version.clone());
            }
            let number = (versions.len() + 1).to_string();
            let version = Version {
                code_sha256: String::from_utf8(zip)?,
                description: artifact.key.0.clone(),
                answers: script,
            };
            versions.insert(number.clone(), version);
            state.changed(format!("publish version {number}"));
            Ok(number)
        })
        .await
    }

    async fn invoke(&self, version: &str, request: &Value) -> Result<Value> {
        self.call(&format!("ask {version}"), |state| {
            let answers = state
                .lambda
                .versions
                .get(version)
                .context("no such version")?;
            let permitted = answers.answers == Answers::YesToAll;
            Ok(json!({ "allowed": permitted || request["intent"] == "call_reasoning" }))
        })
        .await
    }

    async fn update_alias(&self, version: &str, revision_id: &str) -> Result<()> {
        self.call(&format!("move alias {version}"), |state| {
            if revision_id != format!("move-{}", state.lambda.moves) {
                bail!("the alias was moved since it was read");
            }
            state
                .lambda
                .versions
                .get(version)
                .context("no such version")?;
            state.lambda.move_alias(version);
            state.changed(format!("move alias to {version}"));
            Ok(())
        })
        .await
    }
}
