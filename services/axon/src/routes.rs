//! The routes of axon, one file each.

pub(crate) mod reason;
