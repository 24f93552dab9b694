//! AWS Signature Version 4 between services
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>):
//! who calls proves that it has a key, and that nothing of what it signed was changed on the way.
//! Nothing in it stops a request from being sent again within the five minutes that it is valid.

mod canonical;
mod parse;
mod require;
mod sign;
mod verify;

pub use parse::Authorization;
pub use require::{NotReady, required};
pub use sign::{SignedFor, Signer, SigningError};
pub use verify::{Claim, Refusal, Verifier};

/// The only algorithm, and the end of every scope.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATION: &str = "aws4_request";
