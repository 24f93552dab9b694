//! The rotation of the signing key pair: the next step, and the contents of both secrets after it.
//! Axon accepts a current and a previous pair, orbit signs with its own. At every point the pair of
//! orbit is one of the pairs of axon.

use serde_json::{Value, json};

use crate::catalog::Service;
use crate::decide::acceptance::{AXON, ORBIT};

const CURRENT: [&str; 2] = ["sigv4_access_key_id", "sigv4_secret_access_key"];
const PREVIOUS: [&str; 2] = [
    "sigv4_previous_access_key_id",
    "sigv4_previous_secret_access_key",
];

/// A key pair of AWS Signature Version 4. Without `Debug`, so that it cannot be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningPair {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl SigningPair {
    /// The current pair of a secret.
    pub fn current(document: &Value) -> Option<Self> {
        pair(document, CURRENT)
    }

    /// Whether a value is encrypted by KMS. The ciphertext differs in each secret.
    fn is_ciphertext(&self) -> bool {
        let fields = [&self.access_key_id, &self.secret_access_key];
        fields.iter().any(|field| field.starts_with("kms:"))
    }

    pub fn put_into(&self, document: &mut Value) {
        put(document, CURRENT, self);
    }
}

/// A step of the rotation. Each changes one of the two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationStep {
    /// Both have the same single pair: add a new one to axon.
    Offer,
    /// Axon has a newer pair than orbit, or orbit has none: copy it to orbit.
    Switch,
    /// Both have the new pair, axon the previous one as well: remove that.
    Retire,
    /// Orbit signs with a pair that axon does not have: copy it to axon.
    Repair,
    /// Both have the same single pair, and it is a new one.
    Finish,
}

impl RotationStep {
    /// The service whose tasks must have read their current secret before this step.
    pub fn awaits(self) -> Option<Service> {
        match self {
            Self::Offer | Self::Repair => None,
            Self::Switch | Self::Finish => Some(AXON),
            Self::Retire => Some(ORBIT),
        }
    }
}

/// Secrets that cannot be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("neither the secret of axon nor that of orbit has a signing pair")]
    NoPair,
    #[error("a signing pair in the secret of {0} is encrypted, so it cannot be compared")]
    Ciphertext(Service),
}

/// `outgoing`: the pair to replace, once it is known.
pub fn next_step(
    axon: &Value,
    orbit: &Value,
    outgoing: Option<&SigningPair>,
) -> Result<RotationStep, RotationError> {
    for (service, document) in [(AXON, axon), (ORBIT, orbit)] {
        let pairs = [CURRENT, PREVIOUS].map(|names| pair(document, names));
        if pairs.iter().flatten().any(SigningPair::is_ciphertext) {
            return Err(RotationError::Ciphertext(service));
        }
    }
    let previous = pair(axon, PREVIOUS);
    match (pair(axon, CURRENT), pair(orbit, CURRENT)) {
        (None, None) => Err(RotationError::NoPair),
        (Some(_), None) => Ok(RotationStep::Switch),
        (Some(verifies), Some(signs)) if verifies == signs => Ok(match previous {
            Some(_) => RotationStep::Retire,
            None if outgoing.is_some_and(|outgoing| *outgoing != signs) => RotationStep::Finish,
            None => RotationStep::Offer,
        }),
        (Some(_), signs) if previous == signs => Ok(RotationStep::Switch),
        _ => Ok(RotationStep::Repair),
    }
}

/// The pair that a rotation of these secrets replaces.
pub fn outgoing(axon: &Value, orbit: &Value) -> Option<SigningPair> {
    let signs = pair(orbit, CURRENT);
    let is_switched = signs.is_some() && signs == pair(axon, CURRENT);
    pair(axon, PREVIOUS).filter(|_| is_switched).or(signs)
}

/// The secret of axon with a new pair; the current one becomes the previous one.
pub fn offered(axon: &Value, new: &SigningPair) -> Value {
    let mut document = retired(axon);
    if let Some(current) = pair(axon, CURRENT) {
        put(&mut document, PREVIOUS, &current);
    }
    put(&mut document, CURRENT, new);
    document
}

/// The secret of orbit with the current pair of axon.
pub fn switched(orbit: &Value, axon: &Value) -> Value {
    let mut document = orbit.clone();
    if let Some(current) = pair(axon, CURRENT) {
        put(&mut document, CURRENT, &current);
    }
    document
}

/// The secret of axon without the previous pair.
pub fn retired(axon: &Value) -> Value {
    let mut document = axon.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, _| !PREVIOUS.contains(&&**name));
    }
    document
}

/// The secret of axon with the pair of orbit. Its own becomes the previous one, since tasks of
/// orbit that have not reloaded their secret may sign with it.
pub fn repaired(axon: &Value, orbit: &Value) -> Value {
    match pair(orbit, CURRENT) {
        Some(signs) => offered(axon, &signs),
        None => axon.clone(),
    }
}

/// A complete pair; services reject an incomplete or empty one.
fn pair(document: &Value, names: [&str; 2]) -> Option<SigningPair> {
    let text = |name| {
        let text = document.get(name)?.as_str()?;
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let [id, secret] = names.map(text);
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

    /// A secret with a current and a previous pair.
    fn document(pairs: &[&str]) -> Value {
        let mut document = json!({ "api_key": "stays" });
        for (names, id) in [CURRENT, PREVIOUS].into_iter().zip(pairs) {
            put(&mut document, names, &new_pair(id));
        }
        document
    }

    /// Runs all steps and checks after each that axon accepts the pair of orbit.
    fn steps(mut axon: Value, mut orbit: Value) -> (Vec<RotationStep>, Value, Value) {
        let mut steps = Vec::new();
        let mut replaced = None;
        loop {
            let step = next_step(&axon, &orbit, replaced.as_ref()).unwrap();
            replaced = replaced.or_else(|| outgoing(&axon, &orbit));
            steps.push(step);
            match step {
                RotationStep::Offer => axon = offered(&axon, &new_pair("new")),
                RotationStep::Switch => orbit = switched(&orbit, &axon),
                RotationStep::Retire => axon = retired(&axon),
                RotationStep::Repair => axon = repaired(&axon, &orbit),
                RotationStep::Finish => return (steps, axon, orbit),
            }
            let signs = pair(&orbit, CURRENT);
            let known = [CURRENT, PREVIOUS].map(|names| pair(&axon, names));
            assert!(signs.is_none() || known.contains(&signs), "after {step:?}");
            assert!(steps.len() < 9, "{steps:?}");
        }
    }

    #[test]
    fn every_start_ends_with_a_new_pair() {
        use RotationStep::{Finish, Offer, Repair, Retire, Switch};
        let from_repair = [Repair, Retire, Offer, Switch, Retire, Finish];
        let cases: [(&[&str], &[&str], &[RotationStep]); 9] = [
            (&["one"], &["one"], &[Offer, Switch, Retire, Finish]),
            (&["new", "one"], &["one"], &[Switch, Retire, Finish]),
            (&["new", "one"], &["new"], &[Retire, Finish]),
            (&["one"], &["other"], &from_repair),
            (&["one", "two"], &["other"], &from_repair),
            (&[], &["one"], &[Repair, Offer, Switch, Retire, Finish]),
            (&["one"], &[], &[Switch, Offer, Switch, Retire, Finish]),
            (&["new", "one"], &[], &[Switch, Retire, Finish]),
            (
                &["one", "one"],
                &["one"],
                &[Retire, Offer, Switch, Retire, Finish],
            ),
        ];
        for (axon, orbit, expected) in cases {
            let (steps, axon_after, orbit_after) = steps(document(axon), document(orbit));
            assert_eq!(steps, expected, "{axon:?} {orbit:?}");
            assert_eq!(
                (&axon_after, &orbit_after),
                (&document(&["new"]), &document(&["new"]))
            );
        }
    }

    #[test]
    fn an_incomplete_pair_is_overwritten() {
        let mut axon = document(&["one"]);
        axon[PREVIOUS[0]] = json!("half");
        let (_, axon, _) = steps(axon, document(&["one"]));
        assert_eq!(axon, document(&["new"]));
        let mut axon = document(&["one"]);
        axon[CURRENT[1]] = json!("");
        assert_eq!(
            next_step(&axon, &document(&["one"]), None),
            Ok(RotationStep::Repair)
        );
    }

    #[test]
    fn one_id_with_two_secrets_is_two_pairs() {
        let mut orbit = document(&["one"]);
        orbit[CURRENT[1]] = json!("another secret");
        assert_eq!(
            next_step(&document(&["one"]), &orbit, None),
            Ok(RotationStep::Repair)
        );
    }

    #[test]
    fn secrets_that_cannot_be_rotated_are_an_error() {
        let fault = |axon: &Value, orbit: &Value| {
            let error = next_step(axon, orbit, None).unwrap_err();
            error.to_string()
        };
        let no_pair = "neither the secret of axon nor that of orbit has a signing pair";
        assert_eq!(fault(&json!({}), &document(&[])), no_pair);
        let mut orbit = document(&["one"]);
        orbit[CURRENT[1]] = json!("kms:AQICAHh");
        let ciphertext =
            "a signing pair in the secret of orbit is encrypted, so it cannot be compared";
        assert_eq!(fault(&document(&["one"]), &orbit), ciphertext);
    }
}
