//! One version of the secrets, complete and decrypted.

use secrecy::SecretString;

use crate::KeyPairs;

/// `version_id` is that of Secrets Manager; `None` where there is no secret.
#[derive(Debug)]
pub(crate) struct DecryptedSecrets {
    pub(super) version_id: Option<String>,
    pub(super) values: SecretValues,
    /// `Some` where signatures by key pairs are required.
    pub(super) keys: Option<KeyPairs>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SecretValues {
    pub(super) database_url: Option<SecretString>,
    pub(super) api_key: Option<SecretString>,
}
