//! Whom orbit calls, one file each.

pub(crate) mod axon;
pub(crate) mod governance;
