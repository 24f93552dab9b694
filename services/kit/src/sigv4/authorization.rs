//! Parses the `Authorization` header of a signed request. Nothing of it is verified here.

use memchr::memchr;

use crate::hex;

/// The only algorithm that is accepted.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The end of every scope.
pub(super) const TERMINATION: &str = "aws4_request";

/// The fields of the header as they were sent; only the signature is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    pub access_key_id: &'a str,
    /// Eight digits, `YYYYMMDD`, which may be no valid date.
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    /// In lower case, ascending, without duplicates, divided by semicolons.
    pub signed_headers: &'a str,
    pub signature: [u8; 32],
}

impl<'a> Authorization<'a> {
    /// The three parts may come in any order, with or without spaces between them: signers differ
    /// in that. Any other deviation is refused.
    pub fn parse(header: &'a str) -> Option<Self> {
        let parts = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in split(parts, b',') {
            let (name, value) = split_once(part.trim_matches(' '), b'=')?;
            let known = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if known.replace(value).is_some() {
                return None;
            }
        }
        let mut scope = split(credential?, b'/');
        let authorization = Self {
            access_key_id: scope.next().filter(|id| !id.is_empty())?,
            date: scope.next().filter(|date| is_date(date))?,
            region: scope.next()?,
            service: scope.next()?,
            signed_headers: signed_headers.filter(|names| are_in_order(names))?,
            signature: hex::decode(signature?)?,
        };
        let ended = scope.next() == Some(TERMINATION) && scope.next().is_none();
        ended.then_some(authorization)
    }

    pub(super) fn signs(&self, header: &str) -> bool {
        split(self.signed_headers, b';').any(|name| name == header)
    }
}

/// Like `str::split`: for such short parts, setting up the searcher of `str` costs more than the
/// search.
pub(super) fn split(text: &str, mark: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((part, more)) = split_once(text, mark) else {
            return Some(text);
        };
        rest = Some(more);
        Some(part)
    })
}

/// Like `str::split_once`.
fn split_once(text: &str, mark: u8) -> Option<(&str, &str)> {
    let index = memchr(mark, text.as_bytes())?;
    Some((&text[..index], &text[index + 1..]))
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn are_in_order(signed_headers: &str) -> bool {
    let lower_case = !signed_headers.bytes().any(|byte| byte.is_ascii_uppercase());
    let mut last = "";
    lower_case && split(signed_headers, b';').all(|name| std::mem::replace(&mut last, name) < name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20260102/eu-west-1/axon/aws4_request, \
        SignedHeaders=host;x-amz-date, \
        Signature=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_header_is_parsed() {
        let parsed = Authorization::parse(GOOD).unwrap();
        assert_eq!(parsed.access_key_id, "AKID");
        assert_eq!(parsed.date, "20260102");
        assert_eq!((parsed.region, parsed.service), ("eu-west-1", "axon"));
        assert_eq!(parsed.signed_headers, "host;x-amz-date");
        assert_eq!(parsed.signature[..3], [0x00, 0x11, 0x22]);
        assert_eq!(parsed.signature[15], 0xff);
        assert!(parsed.signs("host") && !parsed.signs("x-amz"));
    }

    #[test]
    fn signers_differ_in_spaces_and_order() {
        let parsed = Authorization::parse(GOOD);
        assert_eq!(Authorization::parse(&GOOD.replace(", ", ",")), parsed);
        assert_eq!(Authorization::parse(&GOOD.replace(", ", " ,  ")), parsed);
        let (algorithm, parts) = GOOD.split_once(' ').unwrap();
        let mut parts: Vec<_> = parts.split(", ").collect();
        parts.reverse();
        let reversed = format!("{algorithm} {}", parts.join(", "));
        assert_eq!(Authorization::parse(&reversed), parsed);
    }

    #[test]
    fn everything_else_is_refused() {
        for (from, to) in [
            ("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
            ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
            ("Credential", "credential"),
            ("Credential=", "Credential"),
            ("AKID/", "/"),
            ("AKID/", ""),
            ("20260102", "2026-01-02"),
            ("2026010", "2026010x"),
            ("/aws4_request", ""),
            ("aws4_request", "aws5_request"),
            ("aws4_request", "aws4_request/"),
            ("host;", "Host;"),
            ("host;x-amz-date", "x-amz-date;host"),
            ("host;", "host;host;"),
            ("host;", ";host;"),
            ("host;", "host;;"),
            ("host;x-amz-date", ""),
            ("0011223344", "001122334"),
            ("0011223344", "00112233440"),
            ("0011223344", "001122334g"),
            ("aabb", "AABB"),
            ("SignedHeaders=host;x-amz-date, ", ""),
            (", Signature=", ", Signature=00, Signature="),
            (", Signature", ", Other=1, Signature"),
            (", Signature", ",, Signature"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert_eq!(Authorization::parse(&text), None, "{text}");
        }
        for text in ["", " ", "AWS4-HMAC-SHA256", "Bearer token"] {
            assert_eq!(Authorization::parse(text), None, "{text}");
        }
    }
}
