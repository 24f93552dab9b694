//! Clients of what orbit calls, one file each.

pub(crate) mod axon;
pub(crate) mod governance;
mod limits;
mod outcomes;
