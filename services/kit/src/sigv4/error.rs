//! Errors of verifying, of setting up signatures, and of signing.

use aws_credential_types::provider::error::CredentialsError;

/// Why a request is refused. Its text may go to the caller: it describes the public algorithm and
/// what was sent, never what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the request is not signed")]
    Missing,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the signature's time is not within five minutes of now")]
    Expired,
    #[error("the request is signed with a key that is not known")]
    UnknownKey,
    #[error("the signature is not of this request")]
    Mismatch,
}

impl SignatureError {
    /// As `reason` of the answer, `signature` of the access line and `outcome` of the metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::Expired => "expired",
            Self::UnknownKey => "unknown_key",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why a service that has to sign or to verify cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SignatureSetupError {
    #[error("signatures are required, but there are no keys for them")]
    NoKeys,
    #[error("signatures are required, but AWS_REGION, which they are scoped to, is not set")]
    NoRegion,
}

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the request cannot be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there are no credentials to sign with")]
    Credentials(#[source] CredentialsError),
}
