//! The rotation of the signing pair: where it stands, as the two secrets tell, and what each step
//! makes of them. Axon verifies by either of its pairs and orbit signs with its own, so at each
//! moment orbit's is one of axon's.

use serde_json::{Value, json};

const CURRENT: [&str; 2] = ["sigv4_access_key_id", "sigv4_secret_access_key"];
const PREVIOUS: [&str; 2] = [
    "sigv4_previous_access_key_id",
    "sigv4_previous_secret_access_key",
];

/// A key pair of AWS Signature Version 4. It has no `Debug`: it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningPair {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl SigningPair {
    /// The one that a document's service signs with, or verifies by first.
    pub fn current(document: &Value) -> Option<Self> {
        pair(document, CURRENT)
    }

    pub fn put_into(&self, document: &mut Value) {
        put(document, CURRENT, self);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Both have one pair, and axon has no other.
    Settled,
    /// Axon has a new pair beside the one that orbit signs with.
    Offered,
    /// Orbit has the new pair; axon knows the old one still.
    Switched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoStage {
    #[error("the secret of {0} has no signing pair")]
    NoPair(&'static str),
    #[error("orbit signs with a key that axon does not have")]
    Disagreement,
}

pub fn stage(axon: &Value, orbit: &Value) -> Result<Stage, NoStage> {
    let verifies = pair(axon, CURRENT).ok_or(NoStage::NoPair("axon"))?;
    let signs = pair(orbit, CURRENT).ok_or(NoStage::NoPair("orbit"))?;
    match pair(axon, PREVIOUS) {
        None if verifies == signs => Ok(Stage::Settled),
        Some(_) if verifies == signs => Ok(Stage::Switched),
        Some(previous) if previous == signs => Ok(Stage::Offered),
        _ => Err(NoStage::Disagreement),
    }
}

/// Axon's document with a new pair; the one before is kept beside it.
pub fn offered(axon: &Value, new: &SigningPair) -> Value {
    let mut document = axon.clone();
    if let Some(current) = pair(axon, CURRENT) {
        put(&mut document, PREVIOUS, &current);
    }
    put(&mut document, CURRENT, new);
    document
}

/// Orbit's document with axon's current pair.
pub fn switched(orbit: &Value, axon: &Value) -> Value {
    let mut document = orbit.clone();
    if let Some(current) = pair(axon, CURRENT) {
        put(&mut document, CURRENT, &current);
    }
    document
}

/// Axon's document without the pair before.
pub fn retired(axon: &Value) -> Value {
    let mut document = axon.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, _| !PREVIOUS.contains(&&**name));
    }
    document
}

fn pair(document: &Value, names: [&str; 2]) -> Option<SigningPair> {
    let [id, secret] = names.map(|name| document.get(name)?.as_str().map(str::to_owned));
    Some(SigningPair {
        access_key_id: id?,
        secret_access_key: secret?,
    })
}

fn put(document: &mut Value, [id, secret]: [&str; 2], pair: &SigningPair) {
    document[id] = json!(pair.access_key_id);
    document[secret] = json!(pair.secret_access_key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_pair(id: &str) -> SigningPair {
        SigningPair {
            access_key_id: id.to_owned(),
            secret_access_key: format!("secret of {id}"),
        }
    }

    fn document(id: &str) -> Value {
        let mut document = json!({ "api_key": "stays" });
        new_pair(id).put_into(&mut document);
        document
    }

    #[test]
    fn each_step_leads_to_the_next_and_the_last_to_the_first() {
        let (axon, orbit) = (document("one"), document("one"));
        assert_eq!(stage(&axon, &orbit), Ok(Stage::Settled));
        let axon = offered(&axon, &new_pair("two"));
        assert_eq!(stage(&axon, &orbit), Ok(Stage::Offered));
        let orbit = switched(&orbit, &axon);
        assert_eq!(stage(&axon, &orbit), Ok(Stage::Switched));
        let axon = retired(&axon);
        assert_eq!(stage(&axon, &orbit), Ok(Stage::Settled));
        assert_eq!((&axon, &orbit), (&document("two"), &document("two")));
    }

    #[test]
    fn what_cannot_be_rotated_is_named() {
        let axon = document("one");
        let fault = |axon: &Value, orbit: &Value| stage(axon, orbit).unwrap_err().to_string();
        let disagreement = "orbit signs with a key that axon does not have";
        assert_eq!(fault(&axon, &document("two")), disagreement);
        let no_pair = "the secret of orbit has no signing pair";
        assert_eq!(fault(&axon, &json!({})), no_pair);
        let same_id = json!({
            "sigv4_access_key_id": "one",
            "sigv4_secret_access_key": "another secret",
        });
        assert_eq!(fault(&axon, &same_id), disagreement);
    }
}
