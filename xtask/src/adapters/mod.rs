//! The adapters, one file for each outside system. They do I/O and make no decisions.

pub mod aws;
pub mod balancer;
pub mod bench;
pub mod builder;
pub mod clock;
pub mod cluster;
pub mod docker;
pub mod emulator;
pub mod environments;
#[cfg(test)]
mod fake_aws;
pub mod functions;
pub mod host;
pub mod infra;
pub mod interrupt;
pub mod ledger;
pub mod logs;
pub mod probe;
pub mod process;
pub mod python_tools;
pub mod registry;
pub mod rehearsal;
pub mod secrets;
pub mod source;
pub mod toolchain;
pub mod transport;
pub mod virtual_environment;
pub mod workflows;
