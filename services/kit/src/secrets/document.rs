//! Parses the JSON object of strings that a secret is. Errors name fields and positions, never
//! values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::value::RawValue;

use crate::{KeyPair, KeyPairs};

pub(super) const DATABASE_URL: &str = "database_url";
pub(super) const API_KEY: &str = "api_key";

const CURRENT: [&str; 2] = ["sigv4_access_key_id", "sigv4_secret_access_key"];
const PREVIOUS: [&str; 2] = [
    "sigv4_previous_access_key_id",
    "sigv4_previous_secret_access_key",
];

/// The known fields by name. Others are ignored, so that a secret may also serve a newer version
/// of the service.
#[derive(Debug, Default)]
pub(super) struct SecretFields(BTreeMap<&'static str, SecretString>);

impl SecretFields {
    /// Returns all faults at once. `keys`: whether a key pair is required.
    pub(super) fn parse(text: &str, keys: bool) -> Result<Self, Vec<String>> {
        let raw: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                vec![format!(
                    "it is not a JSON object (line {line} column {column})"
                )]
            })?;
        let mut fields = BTreeMap::new();
        let mut faults = Vec::new();
        for name in [DATABASE_URL, API_KEY]
            .into_iter()
            .chain(CURRENT)
            .chain(PREVIOUS)
        {
            let Some(raw) = raw.get(name) else { continue };
            match serde_json::from_str::<SecretText>(raw.get()) {
                Ok(SecretText(value)) if value.expose_secret().is_empty() => {
                    faults.push(format!("{name} is empty"));
                }
                Ok(SecretText(value)) => drop(fields.insert(name, value)),
                Err(_) => faults.push(format!("{name} is not a string")),
            }
        }
        for (one, other) in [CURRENT, PREVIOUS].map(|[id, secret]| (id, secret)) {
            for (there, missing) in [(one, other), (other, one)] {
                if raw.contains_key(there) && !raw.contains_key(missing) {
                    faults.push(format!("it has {there} without {missing}"));
                }
            }
        }
        let [id, secret] = CURRENT;
        let has_pair = raw.contains_key(id) || raw.contains_key(secret);
        if keys && !has_pair {
            faults.push(format!(
                "it lacks {id} and {secret}, and signatures are required"
            ));
        }
        if faults.is_empty() {
            Ok(Self(fields))
        } else {
            Err(faults)
        }
    }

    /// Sets a field that the document does not have.
    pub(super) fn or(&mut self, name: &'static str, value: Option<&SecretString>) {
        if let Some(value) = value {
            self.0.entry(name).or_insert_with(|| value.clone());
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut SecretString)> {
        self.0.iter_mut().map(|(name, value)| (*name, value))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<SecretString> {
        self.0.remove(name)
    }

    pub(super) fn take_keys(&mut self) -> Option<KeyPairs> {
        Some(KeyPairs {
            current: self.take_pair(CURRENT)?,
            previous: self.take_pair(PREVIOUS),
        })
    }

    fn take_pair(&mut self, [id, secret]: [&str; 2]) -> Option<KeyPair> {
        let pair = self.take(id).zip(self.take(secret));
        pair.map(|(id, secret_access_key)| KeyPair {
            access_key_id: id.expose_secret().to_owned(),
            secret_access_key,
        })
    }
}

/// A string that is copied once, into a `SecretString`.
struct SecretText(SecretString);

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SecretText;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(text.into()))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        SecretFields::parse(text, true).unwrap_err()
    }

    #[test]
    fn a_whole_document_is_read_and_unknown_fields_are_passed_over() {
        let text = r#"{"database_url": "postgres://\"q\"", "api_key": "k", "other": [1],
            "sigv4_access_key_id": "new", "sigv4_secret_access_key": "s1",
            "sigv4_previous_access_key_id": "old", "sigv4_previous_secret_access_key": "s2"}"#;
        let mut fields = SecretFields::parse(text, true).unwrap();
        let url = fields.take(DATABASE_URL).unwrap();
        assert_eq!(url.expose_secret(), "postgres://\"q\"");
        let keys = fields.take_keys().unwrap();
        let previous = keys.previous.unwrap();
        assert_eq!(
            (&*keys.current.access_key_id, &*previous.access_key_id),
            ("new", "old")
        );
        assert_eq!(keys.current.secret_access_key.expose_secret(), "s1");
        assert_eq!(previous.secret_access_key.expose_secret(), "s2");
    }

    #[test]
    fn all_faults_are_returned_at_once_without_values() {
        let text = r#"{"database_url": ["very-secret"], "api_key": "",
            "sigv4_secret_access_key": "very-secret", "sigv4_previous_access_key_id": "very-secret"}"#;
        assert_eq!(
            faults(text),
            [
                "database_url is not a string",
                "api_key is empty",
                "it has sigv4_secret_access_key without sigv4_access_key_id",
                "it has sigv4_previous_access_key_id without sigv4_previous_secret_access_key",
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_placed_and_not_quoted() {
        for text in [
            "",
            "very-secret",
            "\"very-secret\"",
            "{\"api_key\": very-secret}",
        ] {
            let faults = faults(text);
            assert!(faults[0].starts_with("it is not a JSON object (line "));
            assert!(faults.len() == 1 && !faults[0].contains("very-secret"));
        }
    }

    #[test]
    fn a_pair_is_needed_where_signatures_are() {
        let fault =
            "it lacks sigv4_access_key_id and sigv4_secret_access_key, and signatures are required";
        assert_eq!(faults("{}"), [fault]);
        assert!(
            SecretFields::parse("{}", false)
                .unwrap()
                .take_keys()
                .is_none()
        );
    }
}
