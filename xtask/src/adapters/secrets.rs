//! Secrets Manager: whether a secret has a value, which, and giving it one. Values are read for the
//! signing pair alone: a second service gets the pair of the first, and a rotation changes it and
//! has to keep what else is there.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use serde_json::Value;

use super::aws::{explain, is_code};
use crate::failure::Failure;
use crate::ports::{SecretVersion, Secrets};

/// The label of a version that is not current yet. It stays on one version of a secret.
const STAGED: &str = "XTASKSTAGED";
/// The version to move `AWSCURRENT` from does not have it, or is not there any more.
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
impl Secrets for SecretsManager {
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
                "aws secretsmanager list-secret-version-ids --secret-id {arn}    # one that was"
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
            .with_context(|| format!("give the secret {arn} a value"))?;
        Ok(())
    }

    /// Put under a label of its own, the version is seen by nobody. To move `AWSCURRENT` to it
    /// fails where the label is not on the version that it is to be moved from. A put that the
    /// SDK repeats makes one version, as its token stays; a move that it repeats is refused and
    /// thus answered `false` though it was made, which the next look tells.
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
            .with_context(|| format!("give the secret {arn} a new version"))?;
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
