//! The rotation of the signing key pair: the next step, from every secret and from who calls whom.
//! A service signs with the current pair of its secret, and accepts what is signed with that or with
//! the previous one. No step makes a service refuse the pair of a caller that it accepts.

use std::collections::BTreeMap;
use std::iter;

use serde_json::{Value, json};

use crate::catalog::Service;

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

    pub fn put_into(&self, document: &mut Value) {
        put(document, CURRENT, self);
    }
}

/// A service, and the secret that it signs and accepts by.
pub struct SigningService<'a> {
    pub service: Service,
    /// The services that it calls.
    pub calls: Vec<Service>,
    pub document: &'a Value,
}

/// All services that have the signing pair in common.
pub struct Rotation<'a> {
    /// What is called comes before its callers.
    services: Vec<SigningService<'a>>,
    /// A service that refuses its document has none. It works with what it read before.
    pairs: BTreeMap<Service, SecretPairs>,
}

#[derive(Clone, PartialEq, Eq)]
struct SecretPairs {
    current: SigningPair,
    previous: Option<SigningPair>,
}

/// One step: a new document for the secret of one service.
pub struct RotationStep {
    /// The services whose tasks must all have taken up their present secret before.
    pub waits_for: Vec<Service>,
    /// `None`: the rotation has come to its end.
    pub replacement: Option<SecretReplacement>,
}

pub struct SecretReplacement {
    pub service: Service,
    pub document: Value,
    pub change: RotationChange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationChange {
    /// Callers sign with the one that it had.
    NewBesideOld,
    /// A caller signs with one that it did not have. It has that now, beside a new one.
    NewBesideCallers,
    /// No other service calls it.
    NewToSignWith,
    OldRemoved,
}

/// Secrets that cannot be rotated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("no service has a signing pair in its secret")]
    NoPair,
    #[error("a signing pair in the secret of {0} is encrypted, so it cannot be compared")]
    Ciphertext(Service),
    #[error(
        "{} accept two pairs each, callers use both, and none of them is accepted by all",
        .0.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
    )]
    Entangled(Vec<Service>),
}

impl<'a> Rotation<'a> {
    /// Takes the services in the order of a release. Calls of other services are left out.
    pub fn of(mut services: Vec<SigningService<'a>>) -> Result<Self, RotationError> {
        let known: Vec<_> = services.iter().map(|it| it.service).collect();
        for service in &mut services {
            service.calls.retain(|callee| known.contains(callee));
        }
        if let Some(encrypted) = services.iter().find(|it| has_ciphertext(it.document)) {
            return Err(RotationError::Ciphertext(encrypted.service));
        }
        let mut currents = services.iter().map(|it| pair(it.document, CURRENT));
        if currents.all(|current| current.is_none()) {
            return Err(RotationError::NoPair);
        }
        let pairs = services.iter();
        let pairs = pairs.filter_map(|it| Some((it.service, SecretPairs::of(it.document)?)));
        Ok(Self {
            pairs: pairs.collect(),
            services,
        })
    }

    /// The new pair of a rotation that ended early: the current one of a called service that still
    /// has another one, where it accepts all its callers.
    pub fn in_progress(&self) -> Option<&SigningPair> {
        let mut services = self.services.iter().map(|it| it.service);
        let accepting = services.find(|service| {
            let mut signed = self.signed_with(*service);
            let pairs = self.pairs.get(service).filter(|_| self.is_called(*service));
            pairs.is_some_and(|it| it.other().is_some() && signed.all(|pair| it.accepts(pair)))
        })?;
        self.pairs.get(&accepting).map(|pairs| &pairs.current)
    }

    /// Who calls whom with a pair that is not accepted.
    pub fn refused_calls(&self) -> Vec<(Service, Service)> {
        let mut refused = Vec::new();
        for caller in &self.services {
            let Some(signs) = self.pairs.get(&caller.service) else {
                continue;
            };
            let accepts = |callee| {
                self.pairs
                    .get(callee)
                    .is_some_and(|it| it.accepts(&signs.current))
            };
            let callees = caller.calls.iter().filter(|callee| !accepts(callee));
            refused.extend(callees.map(|callee| (caller.service, *callee)));
        }
        refused
    }

    /// The next step towards `new` as the only pair of all services: first each gets it, then each
    /// loses what it had before.
    pub fn next_step(&self, new: &SigningPair) -> Result<RotationStep, RotationError> {
        let goal = self.goal(new)?;
        let services = || self.services.iter();
        let step = services()
            .find_map(|it| self.first_pair(it, goal))
            .or_else(|| services().find_map(|it| self.step(it, goal, self.kept(it, goal))))
            .or_else(|| services().find_map(|it| self.step(it, goal, None)));
        Ok(step.unwrap_or_else(|| {
            let called = services()
                .map(|it| it.service)
                .filter(|it| self.is_called(*it));
            RotationStep {
                waits_for: called.collect(),
                replacement: None,
            }
        }))
    }

    /// A service has two places. Where its callers use both, there is none for a third pair: then
    /// all services get one that is there already, before they get the new one.
    fn goal<'b>(&'b self, new: &'b SigningPair) -> Result<&'b SigningPair, RotationError> {
        let known = self
            .services
            .iter()
            .filter_map(|it| self.pairs.get(&it.service));
        let known = known.flat_map(|it| iter::once(&it.current).chain(&it.previous));
        let mut goals = iter::once(new).chain(known);
        let goal = goals.find(|goal| self.without_place(goal).is_empty());
        goal.ok_or_else(|| RotationError::Entangled(self.without_place(new)))
    }

    /// The services with two pairs that callers sign with, none of which is this one.
    fn without_place(&self, new: &SigningPair) -> Vec<Service> {
        let services = self.services.iter().map(|it| it.service);
        let is_full = |service: &Service| {
            let is_used = |pair| self.signed_with(*service).any(|signed| signed == pair);
            let pairs = self.pairs.get(service).filter(|it| !it.accepts(new));
            pairs.is_some_and(|it| is_used(&it.current) && it.other().is_some_and(is_used))
        };
        services.filter(is_full).collect()
    }

    /// A service without a pair gets one that all accept which it calls: from then on its tasks can
    /// take its secret up, which later steps wait for.
    fn first_pair(&self, it: &SigningService<'_>, goal: &SigningPair) -> Option<RotationStep> {
        if self.pairs.contains_key(&it.service) {
            return None;
        }
        let callees = it.calls.iter().map(|callee| self.pairs.get(callee));
        let callees: Vec<_> = callees.collect::<Option<_>>()?;
        let callee = callees.first()?;
        let mut known = iter::once(goal)
            .chain([&callee.current])
            .chain(&callee.previous);
        let pair = known.find(|pair| callees.iter().all(|it| it.accepts(pair)))?;
        self.step(it, pair, self.kept(it, pair))
    }

    /// The pair that a service accepts beside its new one. `None`: no other service calls it.
    fn kept(&self, it: &SigningService<'_>, new: &SigningPair) -> Option<SigningPair> {
        let pairs = self.pairs.get(&it.service);
        let mut signed = self.signed_with(it.service).filter(|signed| *signed != new);
        let kept = match pairs {
            Some(pairs) if pairs.current == *new => pairs.previous.as_ref(),
            Some(pairs) => {
                let any = signed.clone().next();
                let accepted = signed.find(|signed| pairs.accepts(signed));
                accepted.or(any).or(Some(&pairs.current))
            }
            None => signed.next(),
        };
        kept.filter(|_| self.is_called(it.service)).cloned()
    }

    /// `None` where the secret has these pairs and no others already.
    fn step(
        &self,
        it: &SigningService<'_>,
        current: &SigningPair,
        previous: Option<SigningPair>,
    ) -> Option<RotationStep> {
        let before = self.pairs.get(&it.service);
        let after = SecretPairs {
            current: current.clone(),
            previous,
        };
        let document = after.put_into(it.document);
        if document == *it.document {
            return None;
        }
        let signs_anew = before.is_none_or(|before| before.current != after.current);
        let accepts_less = before.is_some_and(|before| !before.all().all(|it| after.accepts(it)));
        let mut waits_for = Vec::new();
        if signs_anew {
            waits_for.extend(it.calls.iter().copied());
        }
        if accepts_less {
            // The log of one without a pair never has its secret's version.
            let callers = self.callers(it.service);
            waits_for.extend(callers.filter(|caller| self.pairs.contains_key(caller)));
        }
        let change = match &after.previous {
            _ if !signs_anew => RotationChange::OldRemoved,
            None => RotationChange::NewToSignWith,
            Some(kept) if before.is_some_and(|it| it.accepts(kept)) => RotationChange::NewBesideOld,
            Some(_) => RotationChange::NewBesideCallers,
        };
        Some(RotationStep {
            waits_for,
            replacement: Some(SecretReplacement {
                service: it.service,
                document,
                change,
            }),
        })
    }

    fn callers(&self, callee: Service) -> impl Iterator<Item = Service> + Clone {
        let callers = self.services.iter();
        let callers = callers.filter(move |caller| caller.calls.contains(&callee));
        callers.map(|caller| caller.service)
    }

    fn is_called(&self, service: Service) -> bool {
        self.callers(service).next().is_some()
    }

    /// What callers sign with.
    fn signed_with(&self, callee: Service) -> impl Iterator<Item = &SigningPair> + Clone {
        let pairs = self.callers(callee).filter_map(|it| self.pairs.get(&it));
        pairs.map(|pairs| &pairs.current)
    }
}

impl SecretPairs {
    /// As services read it: they refuse a document with half a pair.
    fn of(document: &Value) -> Option<Self> {
        let previous = pair(document, PREVIOUS);
        let is_there = |name| document.get(name).is_some();
        if previous.is_none() && PREVIOUS.into_iter().any(is_there) {
            return None;
        }
        let current = pair(document, CURRENT)?;
        Some(Self { current, previous })
    }

    fn accepts(&self, pair: &SigningPair) -> bool {
        self.all().any(|it| it == pair)
    }

    fn all(&self) -> impl Iterator<Item = &SigningPair> {
        iter::once(&self.current).chain(&self.previous)
    }

    /// The previous pair, where it is not the current one as well.
    fn other(&self) -> Option<&SigningPair> {
        self.previous.as_ref().filter(|it| **it != self.current)
    }

    /// The document with these pairs and no others.
    fn put_into(&self, document: &Value) -> Value {
        let mut document = document.clone();
        if let Some(fields) = document.as_object_mut() {
            fields.retain(|name, _| !PREVIOUS.contains(&&**name));
        }
        put(&mut document, CURRENT, &self.current);
        if let Some(previous) = &self.previous {
            put(&mut document, PREVIOUS, previous);
        }
        document
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

/// Whether a value is encrypted by KMS. The ciphertext differs in each secret.
fn has_ciphertext(document: &Value) -> bool {
    let mut texts = CURRENT
        .iter()
        .chain(&PREVIOUS)
        .map(|name| document[name].as_str());
    texts.any(|text| text.is_some_and(|text| text.starts_with("kms:")))
}

fn put(document: &mut Value, [id, secret]: [&str; 2], pair: &SigningPair) {
    document[id] = json!(pair.access_key_id);
    document[secret] = json!(pair.secret_access_key);
}

#[cfg(test)]
mod tests;
