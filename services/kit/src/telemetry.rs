//! What leaves the process about its requests: log lines, metrics as log lines, and spans.

pub(crate) mod access;
pub(crate) mod emf;
pub(crate) mod error_chain;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod otlp;
