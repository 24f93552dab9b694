//! Whether a request is signed by somebody who has one of the pairs of a ring.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use ring::{digest, hmac};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::authorization::{ALGORITHM, Authorization, TERMINATION};
use super::canonical_request::{EMPTY_SHA256, HexSha256, canonical_request, header};
use super::error::SignatureError;
use super::keys::{KeyPair, KeyPairs, KeyRing};
use crate::{Clock, hex};

/// How far the signer's clock may be from ours, either way: as AWS has it.
const SKEW_MAX: Duration = Duration::from_mins(5);
/// Of a string to sign, so that it is allocated once.
const USUAL_BYTES: usize = 256;
const DATE: &str = "x-amz-date";
/// What every signature has to cover, so that it is of one call of one service.
const SIGNED_AT_LEAST: [&str; 3] = ["host", DATE, "x-correlation-id"];

/// Verifies by both pairs of a ring. The keys that it derives from them are kept for the day.
pub struct Verifier {
    ring: KeyRing,
    region: String,
    service: &'static str,
    clock: Clock,
    derived: RwLock<Option<Arc<SigningKeys>>>,
}

/// A request that says who signed it, and when. It is still to be proven.
#[derive(Debug)]
pub struct Claim<'a> {
    head: &'a Parts,
    authorization: Authorization<'a>,
    date: &'a str,
}

impl Verifier {
    /// `service` and `region` are what signatures have to be scoped to.
    pub fn new(ring: KeyRing, region: String, service: &'static str, clock: Clock) -> Self {
        Self {
            ring,
            region,
            service,
            clock,
            derived: RwLock::default(),
        }
    }

    /// All that is seen without the body, so that the body of a request that says nothing of use
    /// need not be read.
    pub fn claim<'a>(&self, head: &'a Parts) -> Result<Claim<'a>, SignatureError> {
        let authorization = authorization(head)?;
        if !SIGNED_AT_LEAST.iter().all(|it| authorization.signs(it)) {
            return Err(SignatureError::Malformed(
                "host, x-amz-date and x-correlation-id are not all signed",
            ));
        }
        if (authorization.region, authorization.service) != (&self.region, self.service) {
            return Err(SignatureError::Malformed(
                "the signature is for another region or service",
            ));
        }
        let odd_date = SignatureError::Malformed("x-amz-date is not the date that is signed for");
        let date = header(head, DATE)
            .and_then(|value| std::str::from_utf8(value).ok())
            .filter(|date| date.starts_with(authorization.date))
            .ok_or(odd_date)?;
        let signed_at = parse_date(date).ok_or(odd_date)?;
        if self.clock.now().duration_since(signed_at).unsigned_abs() > SKEW_MAX {
            return Err(SignatureError::Expired);
        }
        Ok(Claim {
            head,
            authorization,
            date,
        })
    }

    /// The payload is hashed as it arrived. So a signature that leaves it out
    /// (`UNSIGNED-PAYLOAD`) or is of another one is not of this request.
    pub fn prove(&self, claim: &Claim<'_>, body: &[u8]) -> Result<(), SignatureError> {
        let payload = if body.is_empty() {
            *EMPTY_SHA256
        } else {
            sha256(body)
        };
        let authorization = &claim.authorization;
        let request = canonical_request(claim.head, authorization.signed_headers, &payload)?;
        let signed = string_to_sign(claim, &request);
        let keys = self.signing_keys(authorization.date);
        let key = keys.of(authorization.access_key_id);
        // An unknown key is no quicker to refuse than a known one.
        let tried = key.unwrap_or(&keys.current.key);
        let is_proven = hmac::verify(tried, &signed, &authorization.signature).is_ok();
        match key {
            None => Err(SignatureError::UnknownKey),
            Some(_) if !is_proven => Err(SignatureError::Mismatch),
            Some(_) => Ok(()),
        }
    }

    /// The whole of it, for a body that is at hand.
    pub fn verify(&self, head: &Parts, body: &[u8]) -> Result<(), SignatureError> {
        self.prove(&self.claim(head)?, body)
    }

    fn signing_keys(&self, date: &str) -> Arc<SigningKeys> {
        let pairs = self.ring.pairs();
        let known = self.derived.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.as_ref().filter(|keys| keys.are_of(&pairs, date)) {
            return Arc::clone(keys);
        }
        drop(known);
        let keys = Arc::new(SigningKeys::derive(pairs, date, &self.region, self.service));
        let mut known = self.derived.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&keys));
        keys
    }
}

fn authorization(head: &Parts) -> Result<Authorization<'_>, SignatureError> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(SignatureError::Missing)?;
    let odd =
        SignatureError::Malformed("the Authorization header is not of AWS Signature Version 4");
    if values.next().is_some() {
        return Err(odd);
    }
    let text = value.to_str().map_err(|_| odd)?;
    Authorization::parse(text).ok_or(odd)
}

/// `YYYYMMDDTHHMMSSZ` and nothing else, of what ISO 8601 has.
fn parse_date(text: &str) -> Option<Timestamp> {
    let shape = |(place, byte): (usize, u8)| match place {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    let fits = text.len() == 16 && text.bytes().enumerate().all(shape);
    fits.then(|| text.parse().ok())?
}

fn string_to_sign(claim: &Claim<'_>, canonical_request: &[u8]) -> Vec<u8> {
    let Authorization {
        date,
        region,
        service,
        ..
    } = claim.authorization;
    let mut text = Vec::with_capacity(USUAL_BYTES);
    for part in [ALGORITHM, "\n", claim.date, "\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    for part in [date, "/", region, "/", service, "/", TERMINATION, "\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(&sha256(canonical_request));
    text
}

fn sha256(bytes: &[u8]) -> HexSha256 {
    hex::encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// What the pairs of a ring come to on one day.
struct SigningKeys {
    pairs: Arc<KeyPairs>,
    date: String,
    current: SigningKey,
    previous: Option<SigningKey>,
}

struct SigningKey {
    access_key_id: String,
    key: hmac::Key,
}

impl SigningKeys {
    fn derive(pairs: Arc<KeyPairs>, date: &str, region: &str, service: &str) -> Self {
        let derive = |pair| SigningKey::derive(pair, [date, region, service, TERMINATION]);
        Self {
            date: date.to_owned(),
            current: derive(&pairs.current),
            previous: pairs.previous.as_ref().map(derive),
            pairs,
        }
    }

    fn are_of(&self, pairs: &Arc<KeyPairs>, date: &str) -> bool {
        Arc::ptr_eq(&self.pairs, pairs) && self.date == date
    }

    /// Takes the same time whatever the id is: how much of it is right is not to be measured.
    fn of(&self, access_key_id: &str) -> Option<&hmac::Key> {
        let is = |pair: &SigningKey| {
            pair.access_key_id
                .as_bytes()
                .ct_eq(access_key_id.as_bytes())
        };
        let is_current: bool = is(&self.current).into();
        let previous = self.previous.as_ref().filter(|pair| is(pair).into());
        let current = is_current.then_some(&self.current);
        current.or(previous).map(|pair| &pair.key)
    }
}

impl SigningKey {
    fn derive(pair: &KeyPair, scope: [&str; 4]) -> Self {
        let secret =
            secrecy::SecretString::from(format!("AWS4{}", pair.secret_access_key.expose_secret()));
        let first = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let key = scope.iter().fold(first, |key, part| {
            let tag = hmac::sign(&key, part.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
        });
        Self {
            access_key_id: pair.access_key_id.clone(),
            key,
        }
    }
}

#[cfg(test)]
mod vectors;
