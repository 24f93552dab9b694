//! W3C trace context (<https://www.w3.org/TR/trace-context/>): the caller's `traceparent` is
//! continued, and a missing or invalid one starts a new trace. Calls get a span of ours as parent,
//! and the caller's `tracestate` unchanged.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// The specification requires at least this much to be propagated; we propagate no more.
const STATE_BYTES_MAX: usize = 512;
const STATE_MEMBERS_MAX: usize = 32;
const SAMPLED: u8 = 1;

/// The trace that a request belongs to, and its own span in that trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    /// The caller's span; `None` where the trace begins here.
    parent_id: Option<u64>,
    flags: u8,
    /// The caller's `tracestate`.
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// A new span in the caller's trace, or in a new trace.
    pub fn of(headers: &HeaderMap) -> Self {
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
        state: None,
    })
}

/// `None` where it is not a list of `key=value`, or too long: a part of it must not be passed on.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers
        .get_all(STATE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let list = values.join(&b',');
    let members = list.split(|byte| *byte == b',');
    let fits = list.len() <= STATE_BYTES_MAX
        && list.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        && members.clone().count() <= STATE_MEMBERS_MAX
        && members.clone().any(|member| !member.is_empty())
        && members
            .map(<[u8]>::trim_ascii)
            .all(|member| member.is_empty() || member.contains(&b'='));
    fits.then(|| HeaderValue::from_bytes(&list).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_trace_goes_on_in_a_span_of_ours() {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::from_static(CALLER));
        let ours = TraceContext::of(&headers);
        assert_eq!(ours.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(ours.parent_id(), Some(0xb7ad_6b71_6920_3331));
        assert_ne!(ours.span_id(), 0xb7ad_6b71_6920_3331);
        assert!(ours.is_sampled());
        let passed_on = parse(str::from_utf8(&ours.text()).unwrap()).unwrap();
        assert_eq!(
            (passed_on.trace_id, passed_on.span_id),
            (ours.trace_id, ours.span_id)
        );
    }

    #[test]
    fn an_invalid_trace_context_begins_a_trace() {
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
    fn tracestate_is_passed_on_unchanged() {
        let passed_on = |parent: &str, states: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(PARENT, parent.parse().unwrap());
            for state in states {
                headers.append(STATE, state.parse().unwrap());
            }
            let mut sent = HeaderMap::new();
            TraceContext::of(&headers).child().pass_on(&mut sent);
            sent.get(STATE)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let longest = format!("a={}", "x".repeat(510));
        for state in ["congo=t61rcWkgMzE", "a=1, b@vendor=2,\t,c=", &longest] {
            assert_eq!(passed_on(CALLER, &[state]).as_deref(), Some(state));
        }
        assert_eq!(
            passed_on(CALLER, &["a=1", "b=2"]).as_deref(),
            Some("a=1,b=2")
        );
        let many = ["a=1"; 33].join(",");
        for unfit in ["", ",", "a", "a=1,b", &format!("{longest}x"), &many] {
            assert_eq!(passed_on(CALLER, &[unfit]), None, "{unfit}");
        }
        assert_eq!(passed_on(CALLER, &[]), None);
        assert_eq!(passed_on("no parent", &["a=1"]), None);
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(parse(&format!("{}-more", CALLER.replacen("00", "01", 1))).is_some());
    }
}
