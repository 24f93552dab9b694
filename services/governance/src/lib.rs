//! Decides by the Cedar policies of `policies/`, which are compiled in, whether a service may
//! dispatch an intent. Nothing here reads a clock, the environment or a file.

pub mod decision;
pub mod log;
pub mod policies;
pub mod question;
