//! AWS Signature Version 4 between services
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>):
//! the caller proves that it has a key, and that what it signed was not changed on the way. It
//! does not prevent a replay within the five minutes in which a signature is valid.

mod authorization;
mod canonical_request;
mod error;
mod guard;
pub(crate) mod keys;
mod sign;
mod verify;

pub use authorization::Authorization;
pub use error::{SignatureError, SignatureSetupError, SigningError};
pub(crate) use guard::SignatureGuard;
pub use sign::{SignedFor, Signer};
pub use verify::{SignatureClaim, Verifier};
