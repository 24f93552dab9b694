//! Why secrets cannot be loaded. Errors name fields and never hold values.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error("the secret {arn} cannot be read")]
    Read {
        arn: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the secret {arn} cannot be used: {}", faults.join("; "))]
    Invalid { arn: String, faults: Vec<String> },
    #[error(
        "values cannot be decrypted under the encryption context {{\"service\": \"{service}\"}}: {}",
        faults.join("; ")
    )]
    Decrypt {
        service: &'static str,
        faults: Vec<String>,
    },
    #[error("{what} cannot be read within {} s", limit.as_secs())]
    Late { what: String, limit: Duration },
}
