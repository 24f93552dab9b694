//! W3C trace context (<https://www.w3.org/TR/trace-context/>): taken from the caller's
//! `traceparent`, made new where there is none or a wrong one, and passed on with a span of ours.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const HEADER: HeaderName = HeaderName::from_static("traceparent");
const SAMPLED: u8 = 1;

/// Which trace a request belongs to, and the span that it is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    /// The caller's span; none where the trace begins here.
    parent_id: Option<u64>,
    flags: u8,
}

impl TraceContext {
    /// The caller's trace with a new span of ours, or a trace that begins here.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(HEADER).iter();
        let caller = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse),
            _ => None,
        };
        caller.map_or_else(Self::begin, Self::child)
    }

    /// A trace that begins here.
    pub fn begin() -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            parent_id: None,
            flags: SAMPLED,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span_id: fastrand::u64(1..),
            parent_id: Some(self.span_id),
            ..self
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

    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("hexadecimal digits are fit for a header")
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            flags,
            ..
        } = self;
        write!(formatter, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// The caller's span. A version above ours may have more behind the flags; `ff` is no version.
fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let span_id = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    let more = parts.next().is_some();
    if version == 0xff || (version == 0 && more) || trace_id == 0 || span_id == 0 {
        return None;
    }
    Some(TraceContext {
        trace_id,
        span_id: u64::try_from(span_id).ok()?,
        parent_id: None,
        flags: u8::try_from(flags).ok()?,
    })
}

/// Lower case, as the recommendation wants it.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let fits = text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_trace_goes_on_in_a_span_of_ours() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static(CALLER));
        let ours = TraceContext::of(&headers);
        assert_eq!(ours.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(ours.parent_id(), Some(0xb7ad_6b71_6920_3331));
        assert_ne!(ours.span_id(), 0xb7ad_6b71_6920_3331);
        assert!(ours.is_sampled());
        let passed_on = parse(&ours.to_string()).unwrap();
        assert_eq!(
            (passed_on.trace_id, passed_on.span_id),
            (ours.trace_id, ours.span_id)
        );
    }

    #[test]
    fn what_is_no_trace_context_begins_a_trace() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(TraceContext::of(&HeaderMap::new()).parent_id(), None);
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(parse(&format!("{}-more", CALLER.replacen("00", "01", 1))).is_some());
    }
}
