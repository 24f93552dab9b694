//! The canonical request: what a signature is of, built anew from what arrived. There is one for
//! a request, by the published algorithm for every service but S3; a request that signers and
//! readers could understand in two ways has none, so that nobody signs the one and gets the other.

use http::header::HOST;
use http::request::Parts;

use super::authorization::split;
use super::error::SignatureError;

const PATH_IS_ODD: SignatureError = SignatureError::Malformed("the path is not normal");
const QUERY_IS_ODD: SignatureError = SignatureError::Malformed("the query can be read in two ways");
const HEADER_IS_ODD: SignatureError =
    SignatureError::Malformed("a signed header is not there exactly once");

/// SHA-256 in lower-case hexadecimal.
pub(super) type HexSha256 = [u8; 64];

pub(super) const EMPTY_SHA256: &HexSha256 =
    b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Enough for requests between services, so that it is allocated once.
const USUAL_BYTES: usize = 1024;

pub(super) fn canonical_request(
    head: &Parts,
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
        push_header_value(&mut text, header(head, name).ok_or(HEADER_IS_ODD)?);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload);
    Ok(text)
}

/// Its one value.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a [u8]> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() {
        return None;
    }
    if name != HOST.as_str() {
        return value;
    }
    // HTTP/2 has the host in the URI. Where it is in both, it has to be the same.
    let authority = head.uri.authority().map(|it| it.as_str().as_bytes());
    match (value, authority) {
        (Some(value), Some(authority)) => (value == authority).then_some(value),
        (value, authority) => value.or(authority),
    }
}

/// Encoded once more than it was sent. Signers take `/a/../b` for `/b`, routers do not.
fn push_path(text: &mut Vec<u8>, path: &str) -> Result<(), SignatureError> {
    let path = path.strip_prefix('/').ok_or(PATH_IS_ODD)?;
    let mut segments = split(path, b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) {
            return Err(PATH_IS_ODD);
        }
        text.push(b'/');
        for byte in segment.bytes() {
            push_encoded(text, byte);
        }
    }
    Ok(())
}

/// Sorted by name, then by value, each encoded in the one canonical way.
fn push_query(text: &mut Vec<u8>, query: &str) -> Result<(), SignatureError> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((recoded(name)?, recoded(value)?));
    }
    pairs.sort_unstable();
    for (place, (name, value)) in pairs.iter().enumerate() {
        if place > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
    Ok(())
}

/// A plus is a space for some and a plus for others; so is what an escape stands for where it is
/// not one of UTF-8.
fn recoded(sent: &str) -> Result<Vec<u8>, SignatureError> {
    let mut decoded = Vec::with_capacity(sent.len());
    let mut bytes = sent.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => return Err(QUERY_IS_ODD),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let escaped = digit().zip(digit()).map(|(high, low)| (high << 4) | low);
                let escaped = escaped.and_then(|byte| u8::try_from(byte).ok());
                decoded.push(escaped.ok_or(QUERY_IS_ODD)?);
            }
            plain => decoded.push(plain),
        }
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(QUERY_IS_ODD);
    }
    let mut encoded = Vec::with_capacity(sent.len());
    for byte in decoded {
        push_encoded(&mut encoded, byte);
    }
    Ok(encoded)
}

/// As it is where it is one of RFC 3986's unreserved characters, else as an escape.
fn push_encoded(text: &mut Vec<u8>, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        text.push(byte);
    } else {
        let digit = |digit: u8| b"0123456789ABCDEF"[usize::from(digit)];
        text.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Without spaces around it, and with one where there are several.
fn push_header_value(text: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| *byte == b' ');
    for (place, word) in words.filter(|word| !word.is_empty()).enumerate() {
        if place > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}
