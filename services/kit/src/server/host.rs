//! Checks that a request names exactly one host. Otherwise a proxy in front of this service may
//! take it for another request (RFC 9112, section 3.2; RFC 9113, section 8.3.1).

use std::net::Ipv6Addr;

use axum::extract::Request;
use http::header::HOST;
use http::{Method, StatusCode, Version};

use super::problem::Problem;

/// HTTP/1.1 needs one `Host`, HTTP/2 needs `:authority` or `host`, HTTP/1.0 may omit it. The host
/// of an absolute HTTP/1.1 target overrides the header (RFC 9112, section 3.2.2).
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
        && has_valid_form(request)
    {
        return Ok(());
    }
    let detail = "the request must name one host, with or without a port";
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

/// A target is a path or an http or https URL; an authority alone is only for CONNECT.
fn has_valid_form(request: &Request) -> bool {
    let uri = request.uri();
    match uri.scheme_str() {
        Some(scheme) => scheme == "http" || scheme == "https",
        // The whole server is only asked for its options (RFC 9112, section 3.2.4).
        None if uri.path() == "*" => request.method() == Method::OPTIONS,
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

/// A DNS name or an address. RFC 3986 allows more in a name, such as commas.
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

/// Empty, or a colon and a port number, which may be empty by RFC 3986.
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else {
        return text.is_empty();
    };
    let number = |digits| str::from_utf8(digits).ok()?.parse::<u16>().ok();
    digits.iter().all(u8::is_ascii_digit) && (digits.is_empty() || number(digits).is_some())
}
