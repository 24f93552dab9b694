//! Decisions about releases: the plan, the progress of a rollout, the ledger and the rotation of
//! keys.

pub mod cause;
pub mod cleanup;
pub mod deployment;
pub mod history;
pub mod hold;
pub mod lock;
pub mod pace;
pub mod plan;
pub mod record;
pub mod rollout;
pub mod rotation;
pub mod snapshot;
