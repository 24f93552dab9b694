//! One version of the secrets, complete and decrypted.

use secrecy::SecretString;

use crate::KeyPairs;

/// One version of all secrets, complete and decrypted.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(super) version_id: Option<String>,
    pub(super) values: Values,
    /// Where signatures are required.
    pub(super) keys: Option<KeyPairs>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(super) database_url: Option<SecretString>,
    pub(super) api_key: Option<SecretString>,
}
