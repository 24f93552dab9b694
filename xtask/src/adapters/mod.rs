//! One file an outside system: each touches the world and decides nothing.

pub mod process;
