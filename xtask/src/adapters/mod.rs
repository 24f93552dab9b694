//! One file an outside system: each touches the world and decides nothing.

pub mod aws;
pub mod balancer;
pub mod builder;
pub mod clock;
pub mod cluster;
pub mod docker;
pub mod emulator;
pub mod environments;
pub mod functions;
pub mod host;
pub mod infra;
pub mod interrupt;
pub mod ledger;
mod load;
pub mod logs;
pub mod probe;
pub mod process;
pub mod python_tools;
pub mod registry;
pub mod secrets;
pub mod source;
#[cfg(test)]
mod stand_in;
pub mod stopwatch;
pub mod toolchain;
pub mod transport;
pub mod virtual_environment;
pub mod workflows;
