//! The correlation id: the caller's where it is safe in logs and headers, otherwise a new one.
//! Every response carries it.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
const CHARACTERS_MAX: usize = 128;

/// 1 to 128 characters of `[A-Za-z0-9._-]`. It is kept as a header value because it arrives, is
/// answered and is passed on as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrelationId(HeaderValue);

impl CorrelationId {
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_header(&HeaderValue::from_str(text).ok()?)
    }

    fn of_header(value: &HeaderValue) -> Option<Self> {
        let fits = (1..=CHARACTERS_MAX).contains(&value.len());
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        (fits && value.as_bytes().iter().all(plain)).then(|| Self(value.clone()))
    }

    /// A new id of 32 hexadecimal digits. It has to be unique, not unpredictable.
    pub fn generate() -> Self {
        let digits: [u8; 32] = hex::encode(&fastrand::u128(..).to_be_bytes());
        Self(HeaderValue::from_bytes(&digits).expect("digits are valid in a header"))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an id's characters are all ASCII")
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::of_header(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_plain_characters_are_taken() {
        let longest = "x".repeat(128);
        for text in ["a", "test-correlation-id", "A.b_c-9", longest.as_str()] {
            assert_eq!(CorrelationId::parse(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn everything_else_is_not() {
        let too_long = "x".repeat(129);
        for text in [
            "",
            " ",
            "a b",
            "a\"b",
            "a\nb",
            "ä",
            "a/b",
            "a,b",
            too_long.as_str(),
        ] {
            assert_eq!(CorrelationId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_byte_is_judged_as_the_contract_says() {
        for byte in 0..=127_u8 {
            let text = char::from(byte).to_string();
            let allowed =
                matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            assert_eq!(CorrelationId::parse(&text).is_some(), allowed, "{text:?}");
        }
    }

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let (one, other) = (CorrelationId::generate(), CorrelationId::generate());
        assert_eq!(CorrelationId::parse(one.as_str()), Some(one.clone()));
        assert_ne!(one, other);
    }

    #[test]
    fn two_headers_are_no_id() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static("one"));
        assert_eq!(CorrelationId::of(&headers).expect("one").as_str(), "one");
        headers.append(HEADER, HeaderValue::from_static("two"));
        assert_eq!(CorrelationId::of(&headers), None);
    }
}
