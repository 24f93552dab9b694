//! Axon at its boundary: its application in process, and the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connections;
mod http;
mod openapi;
mod process;
mod secrets;
mod signed;
mod suites;
mod telemetry;
