//! Bounds on calls and on the text that is taken over from their answers.

use std::time::Duration;

use service_kit::settings::Base;

/// The longest time limit of one attempt: more than a cold start of the governance function takes.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// An attempt may take this part of the deadline. Three attempts and their pauses then fit into it,
/// so the answer can say which call failed.
const ATTEMPTS_IN_DEADLINE: u32 = 4;

/// The most that is taken over of a text that a server answered.
const TEXT_BYTES_MAX: usize = 256;

pub(super) fn attempt_timeout(base: &Base) -> Duration {
    let deadline = Duration::from_millis(base.deadline_ms);
    ATTEMPT_TIMEOUT_MAX.min(deadline / ATTEMPTS_IN_DEADLINE)
}

/// The text up to 256 bytes, with controls escaped: it goes to callers, logs and terminals.
pub(super) fn sanitized(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        if kept.len() >= TEXT_BYTES_MAX {
            kept.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => kept.push(character),
            _ => kept.extend(character.escape_debug()),
        }
    }
    kept
}
