//! The governance function: its versions and its alias.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{LastUpdateStatus, State};
use aws_sdk_lambda::{Client, Config};
use aws_smithy_types::base64;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::aws::{explain, limits};
use crate::decide::artifact::image::Artifact;
use crate::decide::outputs::Outputs;
use crate::decide::release::rollout::FunctionState;
use crate::failure::Failure;
use crate::world::Functions;

const UPDATE_LIMIT: Duration = Duration::from_mins(2);
const UPDATE_INTERVAL: Duration = Duration::from_millis(300);
/// Some megabytes of code, over a slow line.
const UPLOAD_LIMITS: (Duration, Duration) = (Duration::from_mins(3), Duration::from_mins(7));

pub struct Lambda<'a> {
    client: Client,
    outputs: &'a Outputs,
}

impl<'a> Lambda<'a> {
    pub fn new(config: &aws_config::SdkConfig, outputs: &'a Outputs) -> Self {
        Self {
            client: Client::new(config),
            outputs,
        }
    }

    fn name(&self) -> &str {
        &self.outputs.function.name
    }

    /// A version that has this key and this code, made by an earlier release or a run that was
    /// stopped. A description alone is only what somebody wrote.
    async fn version_of(&self, key: &str, code_sha256: &str) -> Result<Option<String>> {
        let mut pages = self
            .client
            .list_versions_by_function()
            .function_name(self.name())
            .into_paginator()
            .items()
            .send();
        while let Some(version) = pages.next().await {
            let version = version
                .map_err(explain)
                .context("list the function's versions")?;
            let ours = (Some(key), Some(code_sha256));
            if (version.description(), version.code_sha256()) == ours {
                return Ok(version.version().map(str::to_owned));
            }
        }
        Ok(None)
    }

    /// The function, or a version of it, once nothing is under way in it: until then it is neither
    /// updated nor published nor asked.
    async fn at_rest(&self, version: Option<&str>) -> Result<GetFunctionConfigurationOutput> {
        let started = Instant::now();
        loop {
            let found = self
                .client
                .get_function_configuration()
                .function_name(self.name())
                .set_qualifier(version.map(str::to_owned))
                .send()
                .await
                .map_err(explain)
                .context("look at the function's update")?;
            let is_moving = found.state() == Some(&State::Pending)
                || found.last_update_status() == Some(&LastUpdateStatus::InProgress);
            if !is_moving {
                return Ok(found);
            }
            if started.elapsed() > UPDATE_LIMIT {
                bail!("the update of the function did not end within {UPDATE_LIMIT:?}");
            }
            tokio::time::sleep(UPDATE_INTERVAL).await;
        }
    }

    async fn update(&self, zip: Vec<u8>, code_sha256: &str) -> Result<()> {
        let slow = Config::builder().timeout_config(limits(UPLOAD_LIMITS));
        let updated = self
            .client
            .update_function_code()
            .function_name(self.name())
            .zip_file(Blob::new(zip))
            .customize()
            .config_override(slow)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("update the code of {}", self.name()))?;
        ensure!(
            updated.code_sha256() == Some(code_sha256),
            "Lambda got other code than was sent: {} and not {code_sha256}",
            updated.code_sha256().unwrap_or("none")
        );
        let updated = self.at_rest(None).await?;
        let reason = updated.last_update_status_reason();
        ensure!(
            updated.last_update_status() != Some(&LastUpdateStatus::Failed),
            "the update of the function failed: {}",
            reason.unwrap_or("no reason given")
        );
        Ok(())
    }

    /// Publishes the code that was sent: Lambda refuses where somebody has put other code there
    /// since.
    async fn publish_code(&self, key: &str, code_sha256: &str) -> Result<String> {
        let published = self
            .client
            .publish_version()
            .function_name(self.name())
            .code_sha256(code_sha256)
            .description(key)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("publish a version of {}", self.name()))?;
        let version = published
            .version()
            .context("Lambda published a version without a name")?;
        // Where it has a version of this code already, it answers that one as it is.
        if published.description() != Some(key) {
            return Err(Failure::not_ready(format!(
                "version {version} of {} has this very code and another description",
                self.name()
            ))
            .hint(format!(
                "aws lambda delete-function --function-name {} --qualifier {version}    # this one \
                 version, where no alias names it",
                self.name()
            ))
            .into());
        }
        Ok(version.to_owned())
    }

    /// A version is asked only when it can answer.
    async fn active(&self, version: String) -> Result<String> {
        let found = self.at_rest(Some(&version)).await?;
        ensure!(
            found.state() != Some(&State::Failed),
            "version {version} of {} failed: {}",
            self.name(),
            found.state_reason().unwrap_or("no reason given")
        );
        Ok(version)
    }
}

#[async_trait]
impl Functions for Lambda<'_> {
    async fn get_alias(&self) -> Result<FunctionState> {
        let alias_name = &self.outputs.function.alias;
        let alias = self
            .client
            .get_alias()
            .function_name(self.name())
            .name(alias_name)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("read the alias {alias_name} of {}", self.name()))?;
        let version = alias.function_version().unwrap_or_default().to_owned();
        let state = self
            .client
            .get_function_configuration()
            .function_name(self.name())
            .qualifier(&version)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe version {version} of {}", self.name()))?;
        Ok(FunctionState {
            version,
            code_sha256: state.code_sha256().unwrap_or_default().to_owned(),
            description: state.description().unwrap_or_default().to_owned(),
            revision_id: alias.revision_id().unwrap_or_default().to_owned(),
        })
    }

    async fn publish_version(&self, zip: Vec<u8>, artifact: &Artifact) -> Result<String> {
        let key = &artifact.key.0;
        let code_sha256 = base64::encode(Sha256::digest(&zip));
        if let Some(version) = self.version_of(key, &code_sha256).await? {
            return self.active(version).await;
        }
        self.at_rest(None).await?;
        self.update(zip, &code_sha256).await?;
        let version = self.publish_code(key, &code_sha256).await?;
        self.active(version).await
    }

    async fn invoke(&self, version: &str, request: &Value) -> Result<Value> {
        let answer = self
            .client
            .invoke()
            .function_name(self.name())
            .qualifier(version)
            .payload(Blob::new(request.to_string()))
            .send()
            .await
            .map_err(explain)
            .context("could not be asked")?;
        let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
        let text = String::from_utf8_lossy(payload);
        if let Some(error) = answer.function_error() {
            bail!("failed ({error}) on {request}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("answered what is not JSON: {text}"))
    }

    async fn update_alias(&self, version: &str, revision_id: &str) -> Result<()> {
        let alias = &self.outputs.function.alias;
        self.client
            .update_alias()
            .function_name(self.name())
            .name(alias)
            .function_version(version)
            .revision_id(revision_id)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("move the alias {alias} to version {version}"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
