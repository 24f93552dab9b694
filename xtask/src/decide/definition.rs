//! A task definition as a JSON value, all the way from its template to ECS.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A template with every placeholder filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition(pub Value);

impl Definition {
    pub fn family(&self) -> &str {
        self.0
            .get("family")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The image of the first container: a definition of ours has one.
    pub fn image(&self) -> Option<&str> {
        self.0.pointer("/containerDefinitions/0/image")?.as_str()
    }

    /// SHA-256 (hex) of the definition: objects are written with their keys in order, so two
    /// definitions with the same meaning have the same hash.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.0.to_string()))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
}
