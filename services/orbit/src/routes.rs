//! The routes of orbit, one file each.

pub(crate) mod dispatch;
