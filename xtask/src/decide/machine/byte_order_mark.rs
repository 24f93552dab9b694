//! The byte order mark, with which some editors and shells begin a file in UTF-8. JSON does not
//! have one.

pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text of a file that a person may have written.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}
