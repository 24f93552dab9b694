//! W3C trace context (<https://www.w3.org/TR/trace-context/>): the caller's `traceparent` is
//! continued, and a missing or invalid one starts a new trace. Calls get a span of ours as parent,
//! and the caller's `tracestate` unchanged.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::sampler::{Sampler, Sampling};
use crate::hex;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// The specification requires at least this much to be propagated; we propagate no more.
const STATE_BYTES_MAX: usize = 512;
const STATE_MEMBERS_MAX: usize = 32;
/// The lengths of a member's parts (sections 3.3.1.3.1 and 3.3.1.3.2).
const KEY_BYTES_MAX: usize = 256;
const TENANT_BYTES_MAX: usize = 241;
const SYSTEM_BYTES_MAX: usize = 14;
const VALUE_BYTES_MAX: usize = 256;
const SAMPLED: u8 = 1;

/// The trace that a request belongs to, and its own span in that trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    /// The caller's span; `None` where the trace begins here.
    parent_id: Option<u64>,
    flags: u8,
    /// It is not sampled by a chance of ours, and recorded where its request fails or is slow.
    is_unlikely: bool,
    /// The caller's `tracestate`.
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// A new span in the caller's trace, or in a new trace.
    pub fn of(headers: &HeaderMap, sampler: Sampler) -> Self {
        let mut span = Self::continued(headers);
        let callers = span.parent_id.map(|_| span.is_sampled());
        let sampling = sampler.decide(span.trace_id, callers);
        span.is_unlikely = sampling == Sampling::Unlikely;
        if sampling == Sampling::Sampled {
            span.flags |= SAMPLED;
        } else {
            span.flags &= !SAMPLED;
        }
        span
    }

    fn continued(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(PARENT).iter();
        let caller = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse),
            _ => None,
        };
        caller.map_or_else(Self::begin, |caller| Self {
            state: state(headers),
            ..caller.child()
        })
    }

    /// A new trace.
    pub fn begin() -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            parent_id: None,
            flags: SAMPLED,
            is_unlikely: false,
            state: None,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: fastrand::u64(1..),
            parent_id: Some(self.span_id),
            ..self.clone()
        }
    }

    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    pub fn parent_id(&self) -> Option<u64> {
        self.parent_id
    }

    /// `tracestate` as text; empty where there is none.
    pub fn state(&self) -> &str {
        let text = self.state.as_ref().map(HeaderValue::to_str);
        text.and_then(Result::ok).unwrap_or_default()
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(crate) fn is_unlikely(&self) -> bool {
        self.is_unlikely
    }

    /// Makes this span the parent of the request that is sent with these headers.
    pub(crate) fn pass_on(&self, headers: &mut HeaderMap) {
        let parent = HeaderValue::from_bytes(&self.text());
        headers.insert(PARENT, parent.expect("digits are valid in a header"));
        if let Some(state) = &self.state {
            headers.insert(STATE, state.clone());
        }
    }

    fn text(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&hex::encode::<32>(&self.trace_id.to_be_bytes()));
        text[36..52].copy_from_slice(&hex::encode::<16>(&self.span_id.to_be_bytes()));
        text[53..].copy_from_slice(&hex::encode::<2>(&[self.flags]));
        text
    }
}

/// Parses the caller's span. A later version may have more fields after the flags; `ff` is invalid.
fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let [version] = hex::decode(parts.next()?)?;
    let trace_id = u128::from_be_bytes(hex::decode(parts.next()?)?);
    let span_id = u64::from_be_bytes(hex::decode(parts.next()?)?);
    let [flags] = hex::decode(parts.next()?)?;
    let more = parts.next().is_some();
    if version == 0xff || (version == 0 && more) || trace_id == 0 || span_id == 0 {
        return None;
    }
    Some(TraceContext {
        trace_id,
        span_id,
        parent_id: None,
        flags,
        is_unlikely: false,
        state: None,
    })
}

/// `None` where a member is not as the specification has it, or the list is too long: a part of it
/// must not be passed on.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers
        .get_all(STATE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let list = values.join(&b',');
    let members = list.split(|byte| *byte == b',').map(without_padding);
    let fits = list.len() <= STATE_BYTES_MAX
        && members.clone().count() <= STATE_MEMBERS_MAX
        && members.clone().any(|member| !member.is_empty())
        && { members }.all(is_member);
    fits.then(|| HeaderValue::from_bytes(&list).ok()).flatten()
}

/// A member without the spaces and tabs around it. Spaces before the end of a value belong to it by
/// the grammar, but then so do those before a comma: they are trimmed.
fn without_padding(member: &[u8]) -> &[u8] {
    let is_padding = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = member.iter().position(|byte| !is_padding(byte));
    let end = member.iter().rposition(|byte| !is_padding(byte));
    begin
        .zip(end)
        .map_or(b"", |(begin, end)| &member[begin..=end])
}

/// Nothing, or `key=value`.
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return member.is_empty();
    };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let is_of_value = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    is_key(key)
        && (1..=VALUE_BYTES_MAX).contains(&value.len())
        && value.iter().all(is_of_value)
        && !value.ends_with(b" ")
}

/// A name, or `tenant@system`, of lower-case letters, digits and `_-*/`.
fn is_key(key: &[u8]) -> bool {
    let is_of_key =
        |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_name = |name: &[u8], bytes_max: usize| {
        (1..=bytes_max).contains(&name.len())
            && name[0].is_ascii_alphanumeric()
            && name.iter().all(is_of_key)
    };
    let begins_with_letter = |name: &[u8]| name.first().is_some_and(u8::is_ascii_lowercase);
    match key.iter().position(|byte| *byte == b'@') {
        // Level 2 of the specification lets a name begin with a digit, too.
        None => is_name(key, KEY_BYTES_MAX),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            is_name(tenant, TENANT_BYTES_MAX)
                && is_name(system, SYSTEM_BYTES_MAX)
                && begins_with_letter(system)
        }
    }
}

#[cfg(test)]
mod tests;
