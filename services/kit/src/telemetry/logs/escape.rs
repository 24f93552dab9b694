//! Makes log lines safe to show. JSON escapes only the controls below U+0020; a terminal also
//! acts on others, and shows text after some of them in another order.

use std::io::Write as _;

/// Escapes these characters in a line of JSON, where they can only be within strings. Few lines
/// have any.
pub(super) fn escape(line: &mut Vec<u8>) {
    const DEL: u8 = 0x7f;
    // Without an early exit the compiler vectorizes the comparison.
    if line.iter().fold(0, |largest, byte| (*byte).max(largest)) < DEL {
        return;
    }
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    for character in text.chars() {
        if is_unsafe(character) {
            drop(write!(line, "\\u{:04x}", u32::from(character)));
        } else {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// DEL and the C1 controls, line and paragraph separators, and direction marks.
fn is_unsafe(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
