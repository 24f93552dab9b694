//! What axon answers, one file a route.

pub(crate) mod reason;
