//! Decisions about releases: what one would change, how a rollout went, what the ledger allows.

pub mod history;
pub mod plan;
pub mod record;
pub mod rollout;
pub mod rotation;
pub mod snapshot;
