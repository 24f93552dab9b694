//! Functions in Lambda: their versions and their aliases.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionConfiguration, LastUpdateStatus, State};
use aws_sdk_lambda::{Client, Config};
use aws_smithy_types::base64;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::aws::{explain, is_code, limits};
use crate::decide::artifact::types::Key;
use crate::decide::outputs::FunctionOutputs;
use crate::decide::release::snapshot::{FunctionState, FunctionVersion};
use crate::failure::Failure;
use crate::ports::{Functions, PublishedVersion};

const UPDATE_LIMIT: Duration = Duration::from_mins(2);
const UPDATE_INTERVAL: Duration = Duration::from_millis(300);
/// Longer, for an upload of some megabytes over a slow connection.
const UPLOAD_LIMITS: (Duration, Duration) = (Duration::from_mins(3), Duration::from_mins(7));

pub struct Lambda(Client);

impl Lambda {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self(Client::new(config))
    }

    async fn versions(&self, name: &str) -> Result<Vec<FunctionConfiguration>> {
        let mut pages = self
            .0
            .list_versions_by_function()
            .function_name(name)
            .into_paginator()
            .items()
            .send();
        let mut versions = Vec::new();
        while let Some(version) = pages.next().await {
            let version = version.map_err(explain);
            versions.push(version.context("list the function's versions")?);
        }
        Ok(versions)
    }

    /// A version with this key and this code, published by an earlier release or an interrupted
    /// run. The description alone does not identify it, since anyone can set it.
    async fn version_of(
        &self,
        name: &str,
        key: &Key,
        code_sha256: &str,
    ) -> Result<Option<FunctionVersion>> {
        let ours = (Some(&*key.0), Some(code_sha256));
        let versions = self.versions(name).await?;
        let mut versions = versions.iter();
        let found = versions.find(|it| (it.description(), it.code_sha256()) == ours);
        let number = found.map(|it| it.version().unwrap_or_default().parse());
        Ok(number.transpose()?)
    }

    /// Waits until no update of the function, or of a version, is in progress. Lambda rejects
    /// updates, publishing and invocations until then.
    async fn at_rest(
        &self,
        name: &str,
        version: Option<&FunctionVersion>,
    ) -> Result<GetFunctionConfigurationOutput> {
        let started = Instant::now();
        loop {
            let found = self
                .0
                .get_function_configuration()
                .function_name(name)
                .set_qualifier(version.map(ToString::to_string))
                .send()
                .await
                .map_err(explain)
                .context("describe the update of the function")?;
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

    async fn update(&self, name: &str, zip: Vec<u8>, code_sha256: &str) -> Result<()> {
        let slow = Config::builder().timeout_config(limits(UPLOAD_LIMITS));
        let updated = self
            .0
            .update_function_code()
            .function_name(name)
            .zip_file(Blob::new(zip))
            .customize()
            .config_override(slow)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("update the code of {name}"))?;
        ensure!(
            updated.code_sha256() == Some(code_sha256),
            "Lambda stored other code than was sent: {}, expected {code_sha256}",
            updated.code_sha256().unwrap_or("none")
        );
        let updated = self.at_rest(name, None).await?;
        let reason = updated.last_update_status_reason();
        ensure!(
            updated.last_update_status() != Some(&LastUpdateStatus::Failed),
            "the update of the function failed: {}",
            reason.unwrap_or("no reason given")
        );
        Ok(())
    }

    /// Publishes the code that was uploaded. Lambda rejects this if the code was replaced
    /// meanwhile.
    async fn publish_code(
        &self,
        name: &str,
        key: &Key,
        code_sha256: &str,
    ) -> Result<FunctionVersion> {
        let published = self
            .0
            .publish_version()
            .function_name(name)
            .code_sha256(code_sha256)
            .description(&key.0)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("publish a version of {name}"))?;
        let version = published
            .version()
            .context("Lambda published a version without a name")?;
        // For a version with the same code Lambda returns the existing one.
        if published.description() != Some(&*key.0) {
            return Err(Failure::not_ready(format!(
                "version {version} of {name} has this very code and another description"
            ))
            .hint(format!(
                "aws lambda delete-function --function-name {name} --qualifier {version}    # this one \
                 version, where no alias names it"
            ))
            .into());
        }
        Ok(version.parse()?)
    }

    /// Waits until a version can be invoked.
    async fn active(&self, name: &str, version: FunctionVersion) -> Result<FunctionVersion> {
        let found = self.at_rest(name, Some(&version)).await?;
        ensure!(
            found.state() != Some(&State::Failed),
            "version {version} of {name} failed: {}",
            found.state_reason().unwrap_or("no reason given")
        );
        Ok(version)
    }
}

#[async_trait]
impl Functions for Lambda {
    async fn get_alias(&self, function: &FunctionOutputs) -> Result<FunctionState> {
        let FunctionOutputs { name, alias, .. } = function;
        let found = self
            .0
            .get_alias()
            .function_name(name)
            .name(alias)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("read the alias {alias} of {name}"))?;
        let version = found.function_version().unwrap_or_default();
        let version: FunctionVersion = version
            .parse()
            .with_context(|| format!("read the alias {alias} of {name}"))?;
        let state = self
            .0
            .get_function_configuration()
            .function_name(name)
            .qualifier(version.as_str())
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("describe version {version} of {name}"))?;
        Ok(FunctionState {
            version,
            code_sha256: state.code_sha256().unwrap_or_default().to_owned(),
            key: state.description().and_then(Key::parse),
            revision_id: found.revision_id().unwrap_or_default().to_owned(),
        })
    }

    async fn publish_version(
        &self,
        function: &FunctionOutputs,
        zip: Vec<u8>,
        key: &Key,
    ) -> Result<PublishedVersion> {
        let name = &function.name;
        let code_sha256 = base64::encode(Sha256::digest(&zip));
        let known = self.version_of(name, key, &code_sha256).await?;
        let version = if let Some(version) = known {
            version
        } else {
            self.at_rest(name, None).await?;
            self.update(name, zip, &code_sha256).await?;
            self.publish_code(name, key, &code_sha256).await?
        };
        Ok(PublishedVersion {
            version: self.active(name, version).await?,
            code_sha256,
        })
    }

    async fn list_versions_by_function(
        &self,
        function: &FunctionOutputs,
    ) -> Result<Vec<FunctionVersion>> {
        let found = self.versions(&function.name).await?;
        let ours = found
            .iter()
            .filter(|it| it.description().and_then(Key::parse).is_some());
        let names = ours.filter_map(|it| it.version()?.parse().ok());
        Ok(names.collect())
    }

    /// With a qualifier it is that version alone.
    async fn delete_function(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
    ) -> Result<()> {
        let name = &function.name;
        let deleted = self
            .0
            .delete_function()
            .function_name(name)
            .qualifier(version.as_str())
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, "ResourceNotFoundException") => Ok(()),
            Err(error) => {
                Err(explain(error)).with_context(|| format!("delete version {version} of {name}"))
            }
        }
    }

    async fn invoke(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        request: &Value,
    ) -> Result<Value> {
        let name = &function.name;
        let answer = self
            .0
            .invoke()
            .function_name(name)
            .qualifier(version.as_str())
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
        serde_json::from_str(&text).with_context(|| format!("returned invalid JSON: {text}"))
    }

    async fn update_alias(
        &self,
        function: &FunctionOutputs,
        version: &FunctionVersion,
        revision_id: &str,
    ) -> Result<()> {
        let FunctionOutputs { name, alias, .. } = function;
        self.0
            .update_alias()
            .function_name(name)
            .name(alias)
            .function_version(version.as_str())
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
