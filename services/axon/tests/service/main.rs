//! Axon at its boundary: its application in process, and the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connections;
mod http;
mod openapi;
mod pooled;
mod process;
mod secrets;
mod signed;
mod telemetry;

#[path = "../../../kit/tests/world/document.rs"]
mod document;
#[path = "../../../kit/tests/world/process.rs"]
mod running;
#[path = "../../../kit/tests/world/secrets_manager.rs"]
mod secrets_manager;
#[path = "../../../kit/tests/world/stand_in.rs"]
mod stand_in;
