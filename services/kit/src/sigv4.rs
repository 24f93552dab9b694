//! AWS Signature Version 4 between services
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>):
//! who calls proves that it has a key, and that nothing of what it signed was changed on the way.
//! Nothing in it stops a request from being sent again within the five minutes that it is valid.

mod authorization;
mod canonical_request;
mod error;
pub(crate) mod keys;
mod require;
mod sign;
mod verify;

pub use authorization::Authorization;
pub use error::{SignatureError, SigningError, SigningSetupError};
pub use require::required;
pub use sign::{SignedFor, Signer};
pub use verify::{Claim, Verifier};
