//! Secrets Manager: whether a secret has a value, which, and giving it one. Values are read for the
//! signing pair alone: a second service gets the pair of the first, and a rotation changes it and
//! has to keep what else is there.

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use serde_json::Value;

use super::aws::{explain, is_code};
use crate::world::{SecretVersion, Secrets};

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

    async fn read(&self, arn: &str) -> Result<Option<SecretVersion>> {
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
        let document = serde_json::from_str(text)
            .map_err(|_| anyhow!("the secret {arn} is not a JSON object"))?;
        let (id, created) = value
            .version_id()
            .zip(value.created_date())
            .with_context(|| format!("the version of the secret {arn} has no id or no date"))?;
        Ok(Some(SecretVersion {
            id: id.to_owned(),
            created: Timestamp::from_second(created.secs())?,
            document,
        }))
    }

    async fn put(&self, arn: &str, document: &Value) -> Result<()> {
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
}
