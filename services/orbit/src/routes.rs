//! What orbit answers, one file a route.

pub(crate) mod dispatch;
