//! Secrets Manager: checks, reads and writes secrets. Values are read only for the signing pair,
//! which both services share and a rotation replaces while it keeps the other fields.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use serde_json::Value;

use super::aws::{explain, is_code};
use crate::failure::Failure;
use crate::ports::{SecretStore, SecretVersion};

/// The staging label of a version that is not current yet. One version of a secret has it.
const STAGED: &str = "XTASKSTAGED";
/// The version that `AWSCURRENT` is moved from does not have the label, or does not exist.
const MOVED_ON: [&str; 2] = ["InvalidParameterException", "ResourceNotFoundException"];

pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            client: Client::new(config),
        }
    }
}

#[async_trait]
impl SecretStore for SecretsManager {
    async fn has_value(&self, arn: &str) -> Result<bool> {
        let described = self.client.describe_secret().secret_id(arn).send().await;
        let described = described
            .map_err(explain)
            .with_context(|| format!("describe the secret {arn}"))?;
        let stages = described.version_ids_to_stages();
        Ok(stages.is_some_and(|versions| {
            versions
                .values()
                .flatten()
                .any(|stage| stage == "AWSCURRENT")
        }))
    }

    async fn get_secret_value(&self, arn: &str) -> Result<Option<SecretVersion>> {
        let value = match self.client.get_secret_value().secret_id(arn).send().await {
            Ok(value) => value,
            // A secret without any version.
            Err(error) if is_code(&error, "ResourceNotFoundException") => return Ok(None),
            Err(error) => {
                return Err(explain(error)).with_context(|| format!("read the secret {arn}"));
            }
        };
        let Some(text) = value.secret_string() else {
            return Ok(None);
        };
        let document = serde_json::from_str(text).ok().filter(Value::is_object);
        let document = document.ok_or_else(|| {
            Failure::not_ready(format!("the secret {arn} is not a JSON object")).hint(format!(
                "aws secretsmanager list-secret-version-ids --secret-id {arn}    # earlier versions"
            ))
        })?;
        let (id, created) = value
            .version_id()
            .zip(value.created_date())
            .with_context(|| format!("the version of the secret {arn} has no id or no date"))?;
        Ok(Some(SecretVersion {
            id: id.to_owned(),
            created: Timestamp::from_millisecond(created.to_millis()?)?,
            document,
        }))
    }

    async fn put_secret_value(&self, arn: &str, document: &Value) -> Result<()> {
        self.client
            .put_secret_value()
            .secret_id(arn)
            .secret_string(document.to_string())
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("set the value of the secret {arn}"))?;
        Ok(())
    }

    /// Adds the version under its own staging label, so that no task reads it, and then moves
    /// `AWSCURRENT`. The move fails if the label is not on the expected version. A retry of the put
    /// creates no second version, since it has the same token. A retry of a successful move is
    /// rejected and returns `false`; the next observation shows the new version.
    async fn replace(&self, arn: &str, version: &str, document: &Value) -> Result<bool> {
        let staged = self
            .client
            .put_secret_value()
            .secret_id(arn)
            .secret_string(document.to_string())
            .version_stages(STAGED)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("add a version to the secret {arn}"))?;
        let new = staged.version_id();
        let new = new.with_context(|| format!("the new version of the secret {arn} has no id"))?;
        let moved = self
            .client
            .update_secret_version_stage()
            .secret_id(arn)
            .version_stage("AWSCURRENT")
            .remove_from_version_id(version)
            .move_to_version_id(new)
            .send()
            .await;
        match moved {
            Ok(_) => Ok(true),
            Err(error) if MOVED_ON.iter().any(|code| is_code(&error, code)) => Ok(false),
            Err(error) => Err(explain(error))
                .with_context(|| format!("make the new version of the secret {arn} current")),
        }
    }
}
