//! JSON that has to be an object: serde takes an array, too, for the fields of a struct in their
//! order, so `[true]` would be a yes of governance.

use serde::Deserialize;
use serde::de::Error as _;

pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    match text.trim_ascii_start().first() {
        Some(b'[') => Err(serde_json::Error::custom(
            "an array, where there has to be an object",
        )),
        _ => serde_json::from_slice(text),
    }
}
