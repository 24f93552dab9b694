//! The byte order mark that some editors write at the start of UTF-8 files. JSON parsers reject it.

pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text of a file without a byte order mark.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}
