//! Verifies that a request is signed with one of the pairs of a ring.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use ring::{digest, hmac};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::authorization::{ALGORITHM, Authorization, TERMINATION};
use super::canonical_request::{DATE, EMPTY_SHA256, HexSha256, canonical_request, header};
use super::error::SignatureError;
use super::keys::{KeyPair, KeyRing};
use crate::{Clock, hex};

/// The largest difference between the signer's clock and ours, as AWS has it.
const SKEW_MAX: Duration = Duration::from_mins(5);
/// Enough for a string to sign, so that it is allocated once.
const USUAL_BYTES: usize = 256;
/// The headers that every signature has to cover: they bind it to one request and one service.
const REQUIRED_HEADERS: [&str; 3] = ["host", DATE, "x-correlation-id"];

/// Verifies with both pairs of a ring. The keys that are derived from them are cached for the day.
pub struct Verifier {
    ring: KeyRing,
    region: String,
    service: &'static str,
    clock: Clock,
    derived: ArcSwap<SigningKeys>,
}

/// A well-formed, recent claim of who signed a request. Its signature is not verified yet.
#[derive(Debug)]
pub struct SignatureClaim<'a> {
    head: &'a Parts,
    authorization: Authorization<'a>,
    date: &'a str,
}

impl Verifier {
    /// `service` and `region` are what signatures have to be scoped to.
    pub fn new(ring: KeyRing, region: String, service: &'static str, clock: Clock) -> Self {
        // For no day yet: the first request derives those of its day.
        let derived = SigningKeys::derive(&ring, "", &region, service);
        Self {
            ring,
            region,
            service,
            clock,
            derived: ArcSwap::from_pointee(derived),
        }
    }

    /// Checks everything that does not need the body.
    pub fn claim<'a>(&self, head: &'a Parts) -> Result<SignatureClaim<'a>, SignatureError> {
        let authorization = authorization(head)?;
        if !REQUIRED_HEADERS.iter().all(|it| authorization.signs(it)) {
            return Err(SignatureError::Malformed(
                "host, x-amz-date and x-correlation-id are not all signed",
            ));
        }
        if (authorization.region, authorization.service) != (&self.region, self.service) {
            return Err(SignatureError::Malformed(
                "the signature is for another region or service",
            ));
        }
        let invalid_date =
            SignatureError::Malformed("x-amz-date is not the date that is signed for");
        let date = header(head, DATE)
            .and_then(|value| std::str::from_utf8(value).ok())
            .filter(|date| date.starts_with(authorization.date))
            .ok_or(invalid_date)?;
        let signed_at = parse_date(date).ok_or(invalid_date)?;
        if self.clock.now().duration_since(signed_at).unsigned_abs() > SKEW_MAX {
            return Err(SignatureError::Expired);
        }
        Ok(SignatureClaim {
            head,
            authorization,
            date,
        })
    }

    /// Verifies the signature. The payload is hashed as it arrived, so a signature of another
    /// payload, or of `UNSIGNED-PAYLOAD`, is a mismatch.
    pub fn prove(&self, claim: &SignatureClaim<'_>, body: &[u8]) -> Result<(), SignatureError> {
        let payload = if body.is_empty() {
            *EMPTY_SHA256
        } else {
            sha256(body)
        };
        let authorization = &claim.authorization;
        let signed_headers = authorization.signed_headers;
        let request = canonical_request(claim.head, claim.date, signed_headers, &payload)?;
        let signed = string_to_sign(claim, &request);
        let keys = self.signing_keys(authorization.date);
        let key = keys.of(authorization.access_key_id);
        // An unknown key takes as long as a known one.
        let tried = key.unwrap_or(&keys.current.key);
        let is_proven = hmac::verify(tried, &signed, &authorization.signature).is_ok();
        match key {
            None => Err(SignatureError::UnknownKey),
            Some(_) if !is_proven => Err(SignatureError::Mismatch),
            Some(_) => Ok(()),
        }
    }

    /// `claim` and `prove` in one.
    pub fn verify(&self, head: &Parts, body: &[u8]) -> Result<(), SignatureError> {
        self.prove(&self.claim(head)?, body)
    }

    /// The keys for a day. To read them takes no lock, which all requests would write.
    fn signing_keys(&self, date: &str) -> Guard<Arc<SigningKeys>> {
        let known = self.derived.load();
        if known.are_of(date) {
            return known;
        }
        let keys = SigningKeys::derive(&self.ring, date, &self.region, self.service);
        let keys = Arc::new(keys);
        self.derived.store(Arc::clone(&keys));
        Guard::from_inner(keys)
    }
}

fn authorization(head: &Parts) -> Result<Authorization<'_>, SignatureError> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(SignatureError::Missing)?;
    let invalid =
        SignatureError::Malformed("the Authorization header is not of AWS Signature Version 4");
    if values.next().is_some() {
        return Err(invalid);
    }
    let text = value.to_str().map_err(|_| invalid)?;
    Authorization::parse(text).ok_or(invalid)
}

/// Only the form `YYYYMMDDTHHMMSSZ` of ISO 8601. A parser of all its forms takes longer.
fn parse_date(text: &str) -> Option<Timestamp> {
    let text: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if (text[8], text[15]) != (b'T', b'Z') {
        return None;
    }
    let pair = |place: usize| {
        let [tens, ones] = [text[place], text[place + 1]].map(|byte| byte.wrapping_sub(b'0'));
        let number = (tens < 10 && ones < 10).then(|| tens * 10 + ones);
        number.and_then(|number| i8::try_from(number).ok())
    };
    let year = i16::from(pair(0)?) * 100 + i16::from(pair(2)?);
    let [month, day, hour] = [pair(4)?, pair(6)?, pair(9)?];
    let time = DateTime::new(year, month, day, hour, pair(11)?, pair(13)?, 0).ok()?;
    Offset::UTC.to_timestamp(time).ok()
}

fn string_to_sign(claim: &SignatureClaim<'_>, canonical_request: &[u8]) -> Vec<u8> {
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

/// The signing keys of one day, derived from the pairs of a ring.
struct SigningKeys {
    ring: KeyRing,
    date: String,
    current: SigningKey,
    previous: Option<SigningKey>,
}

struct SigningKey {
    access_key_id: String,
    key: hmac::Key,
}

impl SigningKeys {
    fn derive(ring: &KeyRing, date: &str, region: &str, service: &str) -> Self {
        let derive = |pair| SigningKey::derive(pair, [date, region, service, TERMINATION]);
        let (pairs, ring) = ring.watched();
        Self {
            ring,
            date: date.to_owned(),
            current: derive(&pairs.current),
            previous: pairs.previous.as_ref().map(derive),
        }
    }

    fn are_of(&self, date: &str) -> bool {
        self.date == date && !self.ring.is_replaced()
    }

    /// Compares in constant time, so that the time does not reveal how much of an id is right.
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
