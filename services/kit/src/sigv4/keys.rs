//! The keys that calls between services are signed and verified with. They are rotated while the
//! service runs, so users of a `KeyRing` read the pairs for each request.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;

/// An access key id and its secret, as AWS Signature Version 4 has them.
#[derive(Clone, Debug)]
pub struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

/// Calls are signed with the current pair and verified with either.
#[derive(Clone, Debug)]
pub struct KeyPairs {
    pub current: KeyPair,
    /// `Some` during a rotation.
    pub previous: Option<KeyPair>,
}

/// The key pairs of now. Clones see the same replacements.
#[derive(Clone, Debug)]
pub struct KeyRing(watch::Receiver<Arc<KeyPairs>>);

impl KeyRing {
    /// A ring, and the sender that replaces its pairs.
    pub fn new(pairs: KeyPairs) -> (watch::Sender<Arc<KeyPairs>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(pairs));
        (sender, Self(receiver))
    }

    pub fn pairs(&self) -> Arc<KeyPairs> {
        self.0.borrow().clone()
    }

    /// The pairs of now, and a ring whose `is_replaced` tells whether they still are.
    pub(super) fn watched(&self) -> (Arc<KeyPairs>, Self) {
        let mut watched = self.0.clone();
        let pairs = watched.borrow_and_update().clone();
        (pairs, Self(watched))
    }

    /// Whether the pairs were replaced since `watched`. It takes no lock.
    pub(super) fn is_replaced(&self) -> bool {
        // An error means that the sender is gone, and so that nothing replaces them.
        self.0.has_changed().unwrap_or(false)
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
