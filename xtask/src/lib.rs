//! The one driver of this repository.
//!
//! Which module may know which: `main -> commands -> planning -> release -> {decide, ports,
//! report}` and `adapters -> {ports, decide, report}`. `decide` is pure; only `report` prints; only `main`
//! names adapters, reads the environment and exits. README.md has the whole map.

pub mod adapters;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod decide;
pub mod failure;
pub mod planning;
pub mod ports;
pub mod random;
pub mod release;
pub mod report;
