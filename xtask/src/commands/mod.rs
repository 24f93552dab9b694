//! One file for each command, with its steps in order.

pub mod bench;
pub mod build;
pub mod cleanup;
pub mod completions;
pub mod coverage;
pub mod deploy;
pub mod doctor;
pub mod hold;
pub mod lint;
pub mod local;
pub mod logs;
pub mod new;
pub mod plan;
pub mod releases;
pub mod render;
pub mod rollback;
pub mod secrets;
pub mod status;
pub mod test;
pub mod verify;
