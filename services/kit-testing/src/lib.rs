//! What the tests of the services share: the programs as processes, stubs of what they call, and
//! the check of answers against `openapi.json`. It panics where a test cannot go on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod api_document;
pub mod authority;
pub mod process;
pub mod secrets_manager;
pub mod settings_files;
pub mod stub;
pub mod suites;
