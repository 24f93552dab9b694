//! JSON objects. For a struct serde also accepts an array of its fields in their order, so `[true]`
//! would count as governance's `{"allowed": true}`.

use serde::Deserialize;
use serde::de::Error as _;

/// Refuses an array, and otherwise parses as `serde_json::from_slice` does.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    match text.trim_ascii_start().first() {
        Some(b'[') => Err(serde_json::Error::custom(
            "expected an object, got an array",
        )),
        _ => serde_json::from_slice(text),
    }
}
