//! Orbit at its boundary: its application in process with stubs over HTTP, and the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dispatch;
mod function;
mod openapi;
mod process;
mod resilience;
mod settings;
mod shutdown;
mod suites;
