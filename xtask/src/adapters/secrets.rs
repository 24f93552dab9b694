//! Secrets Manager: whether a secret has a value, and giving it one. No value is ever read here.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use serde_json::Value;

use super::aws::explain;
use crate::world::Secrets;

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
