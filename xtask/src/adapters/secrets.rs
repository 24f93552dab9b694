//! Secrets Manager: whether a secret has a value, and giving it one. Only the signing pair is ever
//! read, so that a second service can get the pair of the first.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use serde_json::Value;

use super::aws::{explain, is_code};
use crate::world::{Secrets, SigningPair};

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

    async fn signing_pair(&self, arn: &str) -> Result<Option<SigningPair>> {
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
        let document: Value = serde_json::from_str(text)
            .map_err(|_| anyhow::anyhow!("the secret {arn} is not a JSON object"))?;
        let field = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let pair = field("sigv4_access_key_id").zip(field("sigv4_secret_access_key"));
        Ok(pair.map(|(access_key_id, secret_access_key)| SigningPair {
            access_key_id,
            secret_access_key,
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
