//! An error with its causes, as a field of a log line.

use std::error::Error;

/// The length is bounded because some errors repeat what a server answered.
const BYTES_MAX: usize = 1024;

/// The error and its sources, divided by `: `, cut off at 1 KiB.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    if text.len() > BYTES_MAX {
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        text.push('…');
    }
    text
}
