//! This machine: missing tools, and proxies.

pub mod byte_order_mark;
pub mod proxy;
pub mod readiness;
