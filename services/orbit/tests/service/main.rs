//! Orbit at its boundary: its application in process with stand-ins over HTTP, and the real
//! program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dispatch;
mod function;
mod openapi;
mod process;
mod resilience;
mod settings;
mod shutdown;

#[path = "../../../kit/tests/world/authority.rs"]
mod authority;
#[path = "../../../kit/tests/world/document.rs"]
mod document;
#[path = "../../../kit/tests/world/process.rs"]
mod running;
#[path = "../../../kit/tests/world/stand_in.rs"]
mod stand_in;
