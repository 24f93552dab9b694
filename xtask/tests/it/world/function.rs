//! Lambda: versions of the function, and its alias.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde_json::{Value, json};
use xtask::decide::artifact::types::Key;
use xtask::decide::outputs::FunctionOutputs;
use xtask::decide::release::snapshot::{FunctionState, FunctionVersion};
use xtask::ports::{Functions, PublishedVersion};

use super::Fake;
use super::stores::version_of;

/// What a version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Rightly,
    /// It allows what it must deny.
    YesToAll,
}

#[derive(Clone)]
pub(crate) struct FakeLambda {
    versions: BTreeMap<String, Version>,
    pub(crate) alias: String,
    /// Changes whenever the alias is moved.
    moves: u32,
    /// What versions answer that are published from now on.
    pub(crate) script: Answers,
}

#[derive(Clone)]
struct Version {
    code_sha256: String,
    description: String,
    answers: Answers,
}

impl Default for FakeLambda {
    /// The function as Terraform creates it.
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

impl FakeLambda {
    pub(crate) fn has(&self, version: &FunctionVersion) -> bool {
        self.versions.contains_key(version.as_str())
    }

    /// A change by hand.
    pub(crate) fn move_alias(&mut self, version: &str) {
        version.clone_into(&mut self.alias);
        self.moves += 1;
    }
}

#[async_trait]
impl Functions for Fake {
    async fn get_alias(&self, _: &FunctionOutputs) -> Result<FunctionState> {
        self.call("look governance", |state| {
            let lambda = &state.lambda;
            let version = &lambda.versions[&lambda.alias];
            Ok(FunctionState {
                version: lambda.alias.parse()?,
                code_sha256: version.code_sha256.clone(),
                key: Key::parse(&version.description),
                revision_id: format!("move-{}", lambda.moves),
            })
        })
        .await
    }

    async fn publish_version(
        &self,
        _: &FunctionOutputs,
        zip: Vec<u8>,
        key: &Key,
    ) -> Result<PublishedVersion> {
        let code_sha256 = String::from_utf8(zip)?;
        self.call("publish", |state| {
            let script = state.lambda.script;
            let versions = &mut state.lambda.versions;
            let known = versions
                .iter()
                .find(|(_, version)| version.description == key.0);
            if let Some((version, known)) = known {
                return Ok(PublishedVersion {
                    version: version.parse()?,
                    code_sha256: known.code_sha256.clone(),
                });
            }
            let numbers = versions.keys().map(|it| it.parse::<u32>().unwrap());
            let number = (numbers.max().unwrap_or(0) + 1).to_string();
            let version = Version {
                code_sha256: code_sha256.clone(),
                description: key.0.clone(),
                answers: script,
            };
            versions.insert(number.clone(), version);
            state.changed(format!("publish version {number}"));
            Ok(PublishedVersion {
                version: number.parse()?,
                code_sha256,
            })
        })
        .await
    }

    async fn list_versions_by_function(&self, _: &FunctionOutputs) -> Result<Vec<FunctionVersion>> {
        self.call("versions", |state| {
            let versions = state.lambda.versions.iter();
            let ours = versions.filter(|(_, it)| Key::parse(&it.description).is_some());
            let mut ours: Vec<u32> = ours.map(|(name, _)| name.parse().unwrap()).collect();
            ours.sort_unstable();
            Ok(ours
                .iter()
                .map(|it| it.to_string().parse().unwrap())
                .collect())
        })
        .await
    }

    async fn delete_function(&self, _: &FunctionOutputs, version: &FunctionVersion) -> Result<()> {
        let call = format!("delete version {version}");
        self.call(&call, |state| {
            if state.lambda.alias == version.as_str() {
                bail!("an alias names version {version}");
            }
            state.lambda.versions.remove(version.as_str());
            state.note_removed(self.delivery, version_of(version));
            state.changed(&call);
            Ok(())
        })
        .await
    }

    async fn invoke(
        &self,
        _: &FunctionOutputs,
        version: &FunctionVersion,
        request: &Value,
    ) -> Result<Value> {
        self.call(&format!("ask {version}"), |state| {
            let answers = state
                .lambda
                .versions
                .get(version.as_str())
                .context("no such version")?;
            let permitted = answers.answers == Answers::YesToAll;
            Ok(json!({ "allowed": permitted || request["intent"] == "call_reasoning" }))
        })
        .await
    }

    async fn update_alias(
        &self,
        _: &FunctionOutputs,
        version: &FunctionVersion,
        revision_id: &str,
    ) -> Result<()> {
        self.call(&format!("move alias {version}"), |state| {
            if revision_id != format!("move-{}", state.lambda.moves) {
                bail!("the alias was moved since it was read");
            }
            state
                .lambda
                .versions
                .get(version.as_str())
                .context("no such version")?;
            state.lambda.move_alias(version.as_str());
            state.changed(format!("move alias to {version}"));
            Ok(())
        })
        .await
    }
}
