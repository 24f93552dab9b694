//! The governance function: its versions and its alias.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LastUpdateStatus;
use serde_json::Value;
use tokio::time::Instant;

use super::aws::explain;
use crate::decide::image::Artefact;
use crate::decide::rollout::FunctionState;
use crate::decide::site::Site;
use crate::world::Functions;

const UPDATE_LIMIT: Duration = Duration::from_mins(2);
const UPDATE_INTERVAL: Duration = Duration::from_millis(300);

pub struct Lambda<'a> {
    client: Client,
    site: &'a Site,
}

impl<'a> Lambda<'a> {
    pub fn new(config: &aws_config::SdkConfig, site: &'a Site) -> Self {
        Self {
            client: Client::new(config),
            site,
        }
    }

    fn name(&self) -> &str {
        &self.site.function.name
    }

    /// A version of ours that has this key, made by an earlier release or a run that was stopped.
    async fn version_of(&self, artefact: &Artefact) -> Result<Option<String>> {
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
            if version.description() == Some(&artefact.key.0) {
                return Ok(version.version().map(str::to_owned));
            }
        }
        Ok(None)
    }

    /// Publishing while an update is under way is refused.
    async fn wait_for_update(&self) -> Result<String> {
        let started = Instant::now();
        loop {
            let state = self
                .client
                .get_function_configuration()
                .function_name(self.name())
                .send()
                .await
                .map_err(explain)
                .context("look at the function's update")?;
            match state.last_update_status() {
                Some(LastUpdateStatus::Failed) => bail!(
                    "the update of the function failed: {}",
                    state
                        .last_update_status_reason()
                        .unwrap_or("no reason given")
                ),
                Some(LastUpdateStatus::InProgress) if started.elapsed() < UPDATE_LIMIT => {
                    tokio::time::sleep(UPDATE_INTERVAL).await;
                }
                Some(LastUpdateStatus::InProgress) => {
                    bail!("the update of the function did not end within {UPDATE_LIMIT:?}")
                }
                _ => return Ok(state.code_sha256().unwrap_or_default().to_owned()),
            }
        }
    }
}

#[async_trait]
impl Functions for Lambda<'_> {
    async fn look(&self) -> Result<FunctionState> {
        let alias_name = &self.site.function.alias;
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

    async fn publish(&self, zip: Vec<u8>, artefact: &Artefact) -> Result<String> {
        if let Some(version) = self.version_of(artefact).await? {
            return Ok(version);
        }
        self.wait_for_update().await?;
        self.client
            .update_function_code()
            .function_name(self.name())
            .zip_file(Blob::new(zip))
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("update the code of {}", self.name()))?;
        let code_sha256 = self.wait_for_update().await?;
        let published = self
            .client
            .publish_version()
            .function_name(self.name())
            .code_sha256(code_sha256)
            .description(&artefact.key.0)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("publish a version of {}", self.name()))?;
        published
            .version()
            .map(str::to_owned)
            .context("Lambda published a version without a name")
    }

    async fn ask(&self, version: &str, request: &Value) -> Result<Value> {
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

    async fn move_alias(&self, version: &str, revision_id: &str) -> Result<()> {
        let alias = &self.site.function.alias;
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
