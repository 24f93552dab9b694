//! AWS Signature Version 4 between services: who calls proves that it has a key, and that nothing
//! was changed on the way.

mod sign;

pub use sign::{Signer, SigningError};

/// The service's name in the scope of a signature that our services verify themselves.
pub(crate) const SERVICE: &str = "axon";
