//! The rotation of the signing pair: which step comes next, as the two secrets tell, and what each
//! makes of them. Axon verifies by either of its pairs and orbit signs with its own, so at each
//! moment orbit's is one of axon's.

use serde_json::{Value, json};

use crate::catalog::Service;

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

    /// Another text in each secret, as KMS encrypts it for one service.
    fn is_ciphertext(&self) -> bool {
        let fields = [&self.access_key_id, &self.secret_access_key];
        fields.iter().any(|field| field.starts_with("kms:"))
    }

    pub fn put_into(&self, document: &mut Value) {
        put(document, CURRENT, self);
    }
}

/// What brings the rotation on. Each changes one of the two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationStep {
    /// Both have one pair: axon gets a new one beside it.
    Offer,
    /// Axon has a pair beside the one that orbit signs with, or orbit has none: it gets axon's.
    Switch,
    /// Orbit has axon's pair, and axon has the one before still: it loses that.
    Retire,
    /// Orbit signs with a pair that axon does not have: axon gets it.
    Repair,
    /// Both have one pair, and it is another one than orbit had at first.
    Finish,
}

impl RotationStep {
    /// Whose tasks must all have their secret's current version before it.
    pub fn awaits(self) -> Option<Service> {
        match self {
            Self::Offer | Self::Repair => None,
            Self::Switch | Self::Finish => Some(Service::Axon),
            Self::Retire => Some(Service::Orbit),
        }
    }
}

/// Secrets that no step leads on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("neither the secret of axon nor that of orbit has a signing pair")]
    NoPair,
    #[error("a signing pair in the secret of {0} is ciphertext, which tells nothing of the key")]
    Ciphertext(Service),
}

/// `outgoing`: the pair that the rotation is to replace, once it is known.
pub fn next_step(
    axon: &Value,
    orbit: &Value,
    outgoing: Option<&SigningPair>,
) -> Result<RotationStep, RotationError> {
    for (service, document) in [(Service::Axon, axon), (Service::Orbit, orbit)] {
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

/// The pair that a rotation replaces that finds the secrets so.
pub fn outgoing(axon: &Value, orbit: &Value) -> Option<SigningPair> {
    let signs = pair(orbit, CURRENT);
    let is_switched = signs.is_some() && signs == pair(axon, CURRENT);
    pair(axon, PREVIOUS).filter(|_| is_switched).or(signs)
}

/// Axon's document with a new pair; the one before is kept beside it.
pub fn offered(axon: &Value, new: &SigningPair) -> Value {
    let mut document = retired(axon);
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

/// Axon's document with orbit's pair; its own is kept beside it, since tasks of orbit that have
/// not read their secret again may sign with that.
pub fn repaired(axon: &Value, orbit: &Value) -> Value {
    match pair(orbit, CURRENT) {
        Some(signs) => offered(axon, &signs),
        None => axon.clone(),
    }
}

/// Services refuse a document with half a pair, or an empty one.
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

    /// A document with these pairs: the current one, and the one before it.
    fn document(pairs: &[&str]) -> Value {
        let mut document = json!({ "api_key": "stays" });
        for (names, id) in [CURRENT, PREVIOUS].into_iter().zip(pairs) {
            put(&mut document, names, &new_pair(id));
        }
        document
    }

    /// RotationStep by step to the end; every state on the way has orbit's pair among those of axon.
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
    fn from_wherever_it_begins_it_ends_with_a_pair_that_is_new() {
        use RotationStep::{Finish, Offer, Repair, Retire, Switch};
        let from_mend = [Repair, Retire, Offer, Switch, Retire, Finish];
        let cases: [(&[&str], &[&str], &[RotationStep]); 9] = [
            (&["one"], &["one"], &[Offer, Switch, Retire, Finish]),
            (&["new", "one"], &["one"], &[Switch, Retire, Finish]),
            (&["new", "one"], &["new"], &[Retire, Finish]),
            (&["one"], &["other"], &from_mend),
            (&["one", "two"], &["other"], &from_mend),
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
    fn half_a_pair_is_none_and_is_written_over() {
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
    fn what_cannot_be_rotated_is_named() {
        let fault = |axon: &Value, orbit: &Value| {
            let error = next_step(axon, orbit, None).unwrap_err();
            error.to_string()
        };
        let no_pair = "neither the secret of axon nor that of orbit has a signing pair";
        assert_eq!(fault(&json!({}), &document(&[])), no_pair);
        let mut orbit = document(&["one"]);
        orbit[CURRENT[1]] = json!("kms:AQICAHh");
        let ciphertext =
            "a signing pair in the secret of orbit is ciphertext, which tells nothing of the key";
        assert_eq!(fault(&document(&["one"]), &orbit), ciphertext);
    }
}
