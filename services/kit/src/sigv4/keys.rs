//! The keys that calls between services are signed and verified with. They change while the
//! service runs, so whoever needs them asks each time.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;

/// An access key id and its secret, as AWS Signature Version 4 has them.
#[derive(Clone, Debug)]
pub struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

/// Signed is with the current pair, verified by either.
#[derive(Clone, Debug)]
pub struct KeyPairs {
    pub current: KeyPair,
    /// While keys are rotated.
    pub previous: Option<KeyPair>,
}

/// What is known now of the key pairs.
#[derive(Clone, Debug)]
pub struct KeyRing(watch::Receiver<Arc<KeyPairs>>);

impl KeyRing {
    /// A ring, and the end by which its pairs are replaced.
    pub fn new(pairs: KeyPairs) -> (watch::Sender<Arc<KeyPairs>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(pairs));
        (sender, Self(receiver))
    }

    pub fn pairs(&self) -> Arc<KeyPairs> {
        self.0.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(id: &str) -> KeyPairs {
        KeyPairs {
            current: KeyPair {
                access_key_id: id.to_owned(),
                secret_access_key: "very-secret".into(),
            },
            previous: None,
        }
    }

    #[test]
    fn replaced_pairs_are_seen_and_secrets_are_not_shown() {
        let (sender, ring) = KeyRing::new(pairs("one"));
        sender.send_replace(Arc::new(pairs("two")));
        assert_eq!(ring.pairs().current.access_key_id, "two");
        assert!(!format!("{ring:?}").contains("very-secret"));
    }
}
