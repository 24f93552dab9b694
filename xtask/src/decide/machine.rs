//! This machine: what it lacks, and how it reaches the network.

pub mod byte_order_mark;
pub mod proxy;
pub mod readiness;
