//! May this service dispatch this intent? Answered by the Cedar policies of `policies/`, which are
//! compiled in. Nothing here reads a clock, the environment or a file.

pub mod decision;
pub mod log;
pub mod policies;
pub mod question;
