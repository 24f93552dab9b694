//! Reads secrets from Secrets Manager, and decrypts ciphertext with KMS. Each client is made on
//! first use.

use std::sync::OnceLock;

use aws_sdk_kms::primitives::Blob;
use aws_smithy_types::base64;
use aws_smithy_types::retry::RetryConfig;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use secrecy::{ExposeSecret as _, SecretString};

use super::document::{API_KEY, DATABASE_URL, SecretFields};
use super::error::SecretsError;
use super::loaded::{DecryptedSecrets, SecretValues};
use crate::settings::base::CIPHERTEXT;
use crate::settings::{Base, Signatures};
use crate::{AwsSdk, ServiceIdentity};

pub(crate) struct SecretSource {
    service: ServiceIdentity,
    arn: Option<String>,
    /// What ECS injected when the task started. Values of the secret are newer and override it.
    injected: SecretValues,
    signatures: Signatures,
    aws: AwsSdk,
    secrets_manager: OnceLock<aws_sdk_secretsmanager::Client>,
    kms: OnceLock<aws_sdk_kms::Client>,
}

impl SecretSource {
    pub(crate) fn new(settings: &Base, service: ServiceIdentity, aws: &AwsSdk) -> Self {
        Self {
            service,
            arn: settings.secret_arn.clone(),
            injected: SecretValues {
                database_url: settings.database_url.clone(),
                api_key: settings.api_key.clone(),
            },
            signatures: settings.signatures,
            aws: aws.clone(),
            secrets_manager: OnceLock::new(),
            kms: OnceLock::new(),
        }
    }

    /// Loads and decrypts all values, or fails: a partial version is never used.
    pub(super) async fn load(&self) -> Result<DecryptedSecrets, SecretsError> {
        let mut version_id = None;
        let mut fields = SecretFields::default();
        if let Some(arn) = &self.arn {
            let version = self.read(arn).await?;
            let keys = self.signatures == Signatures::ByPairs;
            fields = SecretFields::parse(&version.text, keys).map_err(|faults| {
                SecretsError::Invalid {
                    arn: arn.clone(),
                    faults,
                }
            })?;
            version_id = Some(version.id);
        }
        fields.or(DATABASE_URL, self.injected.database_url.as_ref());
        fields.or(API_KEY, self.injected.api_key.as_ref());
        self.decrypt(&mut fields).await?;
        let keys = fields.take_keys();
        Ok(DecryptedSecrets {
            version_id,
            values: SecretValues {
                database_url: fields.take(DATABASE_URL),
                api_key: fields.take(API_KEY),
            },
            keys: keys.filter(|_| self.signatures == Signatures::ByPairs),
        })
    }

    async fn read(&self, arn: &str) -> Result<SecretDocument, SecretsError> {
        let client = self.secrets_manager.get_or_init(|| {
            let config = aws_sdk_secretsmanager::config::Builder::from(self.aws.config())
                .retry_config(RetryConfig::disabled())
                .build();
            aws_sdk_secretsmanager::Client::from_conf(config)
        });
        let answer = client.get_secret_value().secret_id(arn).send().await;
        let answer = answer.map_err(|error| SecretsError::Read {
            arn: arn.to_owned(),
            source: error.into(),
        })?;
        match (answer.version_id, answer.secret_string) {
            (Some(id), Some(text)) => Ok(SecretDocument {
                id,
                text: Zeroizing::new(text),
            }),
            _ => Err(SecretsError::Invalid {
                arn: arn.to_owned(),
                faults: vec!["it has no SecretString".to_owned()],
            }),
        }
    }

    async fn decrypt(&self, fields: &mut SecretFields) -> Result<(), SecretsError> {
        let mut faults = Vec::new();
        for (name, value) in fields.iter_mut() {
            let Some(ciphertext) = value.expose_secret().strip_prefix(CIPHERTEXT) else {
                continue;
            };
            match self.plaintext(ciphertext).await {
                Ok(plaintext) => *value = plaintext,
                Err(error) => faults.push(format!("{name}: {error:#}")),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let service = self.service.name;
        Err(SecretsError::Decrypt { service, faults })
    }

    async fn plaintext(&self, ciphertext: &str) -> anyhow::Result<SecretString> {
        let ciphertext = base64::decode(ciphertext.trim())
            .map_err(|_| anyhow::anyhow!("not base64 after {CIPHERTEXT}"))?;
        let client = self.kms.get_or_init(|| {
            let config = aws_sdk_kms::config::Builder::from(self.aws.config())
                .retry_config(RetryConfig::disabled())
                .build();
            aws_sdk_kms::Client::from_conf(config)
        });
        let answer = client
            .decrypt()
            .ciphertext_blob(Blob::new(ciphertext))
            .encryption_context("service", self.service.name)
            .send()
            .await?;
        let plaintext = answer.plaintext.map(Blob::into_inner).unwrap_or_default();
        let text = String::from_utf8(plaintext).map_err(|error| {
            error.into_bytes().zeroize();
            anyhow::anyhow!("the plaintext is not text")
        })?;
        Ok(Zeroizing::new(text).as_str().into())
    }
}

struct SecretDocument {
    id: String,
    text: Zeroizing<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::HttpClient;
    use kit_testing::secrets_manager::{SecretsManagerStub, ciphertext};

    const SERVICE: ServiceIdentity = ServiceIdentity {
        name: "tested",
        version: "1",
    };
    const ARN: &str = "arn:aws:secretsmanager:eu-central-1:1:secret:x";

    fn source(
        manager: &SecretsManagerStub,
        arn: Option<&str>,
        injected: SecretValues,
    ) -> SecretSource {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new("eu-central-1"))
            .endpoint_url(manager.server.url(""))
            .credentials_provider(
                aws_credential_types::provider::SharedCredentialsProvider::new(
                    aws_credential_types::Credentials::for_tests(),
                ),
            )
            .http_client(crate::outbound::aws::sdk_http_client(HttpClient::new(
                &http::Uri::default(),
                None,
                &crate::TrustRoots::default(),
            )))
            .build();
        SecretSource {
            service: SERVICE,
            arn: arn.map(str::to_owned),
            injected,
            signatures: Signatures::ByPairs,
            aws: AwsSdk::with(config),
            secrets_manager: OnceLock::new(),
            kms: OnceLock::new(),
        }
    }

    fn shown(value: Option<&SecretString>) -> &str {
        value.unwrap().expose_secret()
    }

    #[tokio::test]
    async fn values_are_those_of_the_secret_then_those_of_the_environment_all_decrypted() {
        let manager = SecretsManagerStub::start().await;
        let id = ciphertext("tested", "AKXT");
        let document = serde_json::json!({
            "sigv4_access_key_id": id,
            "sigv4_secret_access_key": "the key",
            "api_key": ciphertext("tested", "newer"),
        });
        manager.put(ARN, &document.to_string());
        let injected = SecretValues {
            database_url: Some(ciphertext("tested", "postgres://").into()),
            api_key: Some("older".into()),
        };
        let loaded = source(&manager, Some(ARN), injected).load().await.unwrap();
        assert_eq!(loaded.version_id.as_deref(), Some("version-1"));
        assert_eq!(shown(loaded.values.database_url.as_ref()), "postgres://");
        assert_eq!(shown(loaded.values.api_key.as_ref()), "newer");
        let current = loaded.keys.unwrap().current;
        assert_eq!(current.access_key_id, "AKXT");
        assert_eq!(current.secret_access_key.expose_secret(), "the key");
        let contexts = manager.requests_of("Decrypt");
        let context = serde_json::json!({ "service": "tested" });
        assert!(
            contexts.len() == 3 && contexts.iter().all(|it| it["EncryptionContext"] == context)
        );
    }

    #[tokio::test]
    async fn without_a_secret_no_call_is_made() {
        let manager = SecretsManagerStub::start().await;
        let source = source(&manager, None, SecretValues::default());
        let loaded = source.load().await.unwrap();
        assert!(loaded.version_id.is_none() && loaded.keys.is_none());
        assert!(source.secrets_manager.get().is_none() && source.kms.get().is_none());
        assert!(manager.server.calls().is_empty());
    }
}
