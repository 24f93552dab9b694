//! Which host a request is for has to be clear: whoever stands before this service, or behind it,
//! may otherwise take it for another request (RFC 9112, section 3.2; RFC 9113, section 8.3.1).

use std::net::Ipv6Addr;

use axum::extract::Request;
use http::header::HOST;
use http::{Method, StatusCode, Version};

use super::problem::Problem;

/// HTTP/1.1 names it once, HTTP/2 by `:authority` or `host`, HTTP/1.0 may leave it out. Where an
/// HTTP/1.1 target has a host of its own, the header is to be passed over (RFC 9112, section 3.2.2).
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    let mut headers = request.headers().get_all(HOST).iter();
    let (header, second) = (headers.next(), headers.next());
    let target = request.uri().authority();
    let is_one = match (request.version(), header, target) {
        (Version::HTTP_2, Some(header), Some(target)) => header
            .as_bytes()
            .eq_ignore_ascii_case(target.as_str().as_bytes()),
        (Version::HTTP_2, None, None) | (Version::HTTP_11, None, _) => false,
        _ => true,
    };
    if is_one
        && second.is_none()
        && header.is_none_or(|header| is_host_and_port(header.as_bytes()))
        && target.is_none_or(|target| is_host_and_port(target.as_str().as_bytes()))
        && has_form(request)
    {
        return Ok(());
    }
    let detail = "the request must name one host, with or without a port";
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

/// A target is a path or has a scheme of ours; a host alone is for CONNECT.
fn has_form(request: &Request) -> bool {
    let uri = request.uri();
    match uri.scheme_str() {
        Some(scheme) => scheme == "http" || scheme == "https",
        None => uri.authority().is_none() || request.method() == Method::CONNECT,
    }
}

fn is_host_and_port(text: &[u8]) -> bool {
    let host_bytes = match text.first() {
        Some(b'[') => text
            .iter()
            .position(|byte| *byte == b']')
            .map(|end| end + 1),
        _ => text.iter().position(|byte| *byte == b':'),
    };
    let (host, port) = text.split_at(host_bytes.unwrap_or(text.len()));
    is_host(host) && is_port(port)
}

/// A name of DNS, or an address. RFC 3986 would have more in a name, such as the comma of a list.
fn is_host(text: &[u8]) -> bool {
    if let Some(address) = text
        .strip_prefix(b"[")
        .and_then(|text| text.strip_suffix(b"]"))
    {
        let address = str::from_utf8(address).ok();
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let fits =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !text.is_empty() && text.iter().all(fits)
}

/// Nothing, or behind a colon as many digits as make a port; by RFC 3986 there may be none.
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else {
        return text.is_empty();
    };
    let number = |digits| str::from_utf8(digits).ok()?.parse::<u16>().ok();
    digits.iter().all(u8::is_ascii_digit) && (digits.is_empty() || number(digits).is_some())
}
