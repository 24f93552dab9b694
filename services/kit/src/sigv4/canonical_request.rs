//! Builds the canonical request of a signature (the algorithm of every service but S3) from a
//! received request. Requests whose path, query or headers can be interpreted in two ways are
//! refused: what was signed might not be what the router sees.

use http::HeaderName;
use http::header::HOST;
use http::request::Parts;

use super::authorization::split;
use super::error::SignatureError;
use crate::request::correlation;

pub(super) const DATE: &str = "x-amz-date";

const AMBIGUOUS_PATH: SignatureError = SignatureError::Malformed("the path is not normal");
const AMBIGUOUS_QUERY: SignatureError =
    SignatureError::Malformed("the query can be read in two ways");
const AMBIGUOUS_HEADER: SignatureError =
    SignatureError::Malformed("a signed header is not there exactly once");

/// SHA-256 in lower-case hexadecimal.
pub(super) type HexSha256 = [u8; 64];

pub(super) const EMPTY_SHA256: &HexSha256 =
    b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Enough for requests between services, so that the buffer is allocated once.
const USUAL_BYTES: usize = 1024;

/// `date` is the value of `x-amz-date`.
pub(super) fn canonical_request(
    head: &Parts,
    date: &str,
    signed_headers: &str,
    payload: &HexSha256,
) -> Result<Vec<u8>, SignatureError> {
    let mut text = Vec::with_capacity(USUAL_BYTES);
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b'\n');
    push_path(&mut text, head.uri.path())?;
    text.push(b'\n');
    push_query(&mut text, head.uri.query().unwrap_or_default())?;
    text.push(b'\n');
    for name in split(signed_headers, b';') {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        let value = if name == DATE {
            date.as_bytes()
        } else {
            header(head, name).ok_or(AMBIGUOUS_HEADER)?
        };
        push_header_value(&mut text, value);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload);
    Ok(text)
}

/// The value of a header that occurs exactly once.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a [u8]> {
    let headers = &head.headers;
    // Names that every signature has are looked up without parsing them.
    let mut values = match name {
        "host" => headers.get_all(HOST),
        DATE => headers.get_all(HeaderName::from_static(DATE)),
        "x-correlation-id" => headers.get_all(correlation::HEADER),
        other => headers.get_all(other),
    }
    .iter();
    let value = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() {
        return None;
    }
    if name != HOST.as_str() {
        return value;
    }
    // HTTP/2 has the host in the URI. Where the header is there as well, both have to be equal.
    let authority = head.uri.authority().map(|it| it.as_str().as_bytes());
    match (value, authority) {
        (Some(value), Some(authority)) => (value == authority).then_some(value),
        (value, authority) => value.or(authority),
    }
}

/// Encodes the path once more than it was sent. Refuses `//`, `.` and `..`: signers normalize them,
/// routers do not.
fn push_path(text: &mut Vec<u8>, path: &str) -> Result<(), SignatureError> {
    let path = path.strip_prefix('/').ok_or(AMBIGUOUS_PATH)?;
    let mut segments = split(path, b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) {
            return Err(AMBIGUOUS_PATH);
        }
        text.push(b'/');
        for byte in segment.bytes() {
            push_encoded(text, byte);
        }
    }
    Ok(())
}

/// Sorts by name, then by value, each in its canonical encoding.
fn push_query(text: &mut Vec<u8>, query: &str) -> Result<(), SignatureError> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((reencode(name)?, reencode(value)?));
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
    Ok(())
}

/// Refuses what is interpreted in two ways: `+`, which may be a space, and escapes that are not
/// UTF-8.
fn reencode(sent: &str) -> Result<Vec<u8>, SignatureError> {
    let mut decoded = Vec::with_capacity(sent.len());
    let mut bytes = sent.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => return Err(AMBIGUOUS_QUERY),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let escaped = digit().zip(digit()).map(|(high, low)| (high << 4) | low);
                let escaped = escaped.and_then(|byte| u8::try_from(byte).ok());
                decoded.push(escaped.ok_or(AMBIGUOUS_QUERY)?);
            }
            plain => decoded.push(plain),
        }
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(AMBIGUOUS_QUERY);
    }
    let mut encoded = Vec::with_capacity(sent.len());
    for byte in decoded {
        push_encoded(&mut encoded, byte);
    }
    Ok(encoded)
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn push_encoded(text: &mut Vec<u8>, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        text.push(byte);
    } else {
        let digit = |digit: u8| b"0123456789ABCDEF"[usize::from(digit)];
        text.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Trims spaces and tabs, and makes one space of a sequence of them, as botocore and curl do.
fn push_header_value(text: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t'));
    for (index, word) in words.filter(|word| !word.is_empty()).enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}
