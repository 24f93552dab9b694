//! Axon at its boundary: its application in process, and the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;
mod process;
mod signed;

#[path = "../../../kit/tests/world/process.rs"]
mod running;
#[path = "../../../kit/tests/world/stand_in.rs"]
mod stand_in;
