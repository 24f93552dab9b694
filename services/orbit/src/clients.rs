//! Whom orbit calls, one file each.

pub(crate) mod axon;
pub(crate) mod governance;
mod outcomes;

use std::time::Duration;

use service_kit::settings::Base;

/// What one attempt may take where the deadline leaves room for it: longer than a cold start of
/// the governance function.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// So all three attempts fit, and their pauses: who waits is told who did not answer.
const ATTEMPTS_IN_DEADLINE: u32 = 4;

/// What somebody else says, in a log or an answer of ours.
const WORDS_BYTES_MAX: usize = 256;

/// As much of it as does no harm, and nothing that does something to a terminal.
fn bounded(words: &str) -> String {
    let mut kept = String::new();
    for character in words.chars() {
        if kept.len() >= WORDS_BYTES_MAX {
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

fn attempt_timeout(base: &Base) -> Duration {
    let deadline = Duration::from_millis(base.deadline_ms);
    ATTEMPT_TIMEOUT_MAX.min(deadline / ATTEMPTS_IN_DEADLINE)
}
