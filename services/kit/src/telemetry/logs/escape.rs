//! Text that is harmless where it is shown. JSON escapes the controls below U+0020 only, and a
//! terminal acts on others as well, or shows what comes behind them in another order.

use std::io::Write as _;

/// Escapes them in a line of JSON, where they can only be within strings. Nearly no line has any.
pub(super) fn escape(line: &mut Vec<u8>) {
    const DEL: u8 = 0x7f;
    // The processor compares sixteen bytes at once where the comparison has no early end.
    if line.iter().fold(0, |largest, byte| (*byte).max(largest)) < DEL {
        return;
    }
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    for character in text.chars() {
        if is_harmful(character) {
            drop(write!(line, "\\u{:04x}", u32::from(character)));
        } else {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// DEL and the controls behind ASCII, line and paragraph separators, marks of direction.
fn is_harmful(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
