//! After the cases of the W3C's test suite for services that pass a trace on, at both levels of the
//! specification.

use super::*;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

fn headers(values: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// The trace that a callee sees, and its `tracestate`.
fn passed_on(values: &[(&str, &str)]) -> (TraceContext, Option<String>) {
    let mut sent = HeaderMap::new();
    TraceContext::of(&headers(values), Sampler::default())
        .child()
        .pass_on(&mut sent);
    let state = sent.get(STATE).map(|it| it.to_str().unwrap().to_owned());
    (TraceContext::of(&sent, Sampler::default()), state)
}

fn is_continued(parents: &[&str]) -> bool {
    let values: Vec<_> = parents.iter().map(|it| ("traceparent", *it)).collect();
    let (trace, _) = passed_on(&values);
    assert_ne!(trace.trace_id(), 0);
    trace.trace_id() == TRACE_ID
}

fn state_of(states: &[&str]) -> Option<String> {
    let states = states.iter().map(|state| ("tracestate", *state));
    let values: Vec<_> = [("traceparent", CALLER)]
        .into_iter()
        .chain(states)
        .collect();
    passed_on(&values).1
}

#[test]
fn a_callers_trace_goes_on_in_a_span_of_ours() {
    let ours = TraceContext::of(&headers(&[("TraceParent", CALLER)]), Sampler::default());
    assert_eq!(ours.trace_id(), TRACE_ID);
    assert_eq!(ours.parent_id(), Some(0xb7ad_6b71_6920_3331));
    assert_ne!(ours.span_id(), 0xb7ad_6b71_6920_3331);
    assert!(ours.is_sampled());
    let (seen, _) = passed_on(&[("traceparent", CALLER)]);
    assert_eq!(seen.trace_id(), TRACE_ID);
    assert_ne!(seen.parent_id(), Some(0xb7ad_6b71_6920_3331));
    assert_eq!(
        TraceContext::of(&HeaderMap::new(), Sampler::default()).parent_id(),
        None
    );
}

#[test]
fn a_valid_parent_is_continued_and_an_invalid_one_is_not() {
    let with = |from: &str, to: &str| CALLER.replacen(from, to, 1);
    for parent in [
        CALLER.to_owned(),
        with("-01", "-00"),
        with("-01", "-ff"),
        // A later version may say more.
        with("00", "cc"),
        with("00", "cc") + "-what-the-future-will-be-like",
        with("00", "cc") + "-",
    ] {
        assert!(is_continued(&[&parent]), "{parent:?}");
    }
    for parent in [
        String::new(),
        "00".to_owned(),
        with("-01", ""),
        with("-01", "-"),
        with("-01", "-1"),
        with("-01", "-0x"),
        with("-01", "-.1"),
        with("-01", "-011"),
        with("-01", "-01-"),
        with("-01", "-01-more"),
        with("00", "ff"),
        with("00", "0"),
        with("00", "000"),
        with("00", ".0"),
        with("00", "0x"),
        with("00", "cc").replacen("-01", "-01.what", 1),
        with("0af7", "0AF7"),
        with("b7ad", "B7AD"),
        with("0af7", "+af7"),
        with("0af7", ".af7"),
        with("0af7", "af7"),
        with("0af7", "00af7"),
        with("b7ad", "7ad"),
        with("b7ad", "0b7ad"),
        with("b7ad", ".7ad"),
        with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        with("b7ad6b7169203331", &"0".repeat(16)),
        with("-", "_"),
    ] {
        assert!(!is_continued(&[&parent]), "{parent:?}");
    }
    assert!(!is_continued(&[]));
    assert!(!is_continued(&[CALLER, CALLER]), "two are none");
}

#[test]
fn a_tracestate_is_passed_on_unchanged() {
    let key = format!("{}@{}", "t".repeat(241), "v".repeat(14));
    let value = "x".repeat(256);
    let allowed: String = (' '..='~').filter(|it| !",=".contains(*it)).collect();
    let longest = format!("a={value},b={}", &value[..251]);
    let many = ["a=1"; 32].join(",");
    for state in [
        "congo=t61rcWkgMzE",
        "a=1, b@vendor=2,\t,c= 3 4 ",
        "foo=1 \t , \t bar=2, \t baz=3",
        "foo=1,bar=2,",
        "foo=1,foo=1",
        "abcdefghijklmnopqrstuvwxyz0123456789_-*/=1",
        "0a@b0=1",
        "0a=1",
        &format!("{}=1", "z".repeat(256)),
        &format!("{key}=1"),
        &format!("a={value}"),
        &format!("a={}", allowed.trim_start()),
        &longest,
        &many,
    ] {
        assert_eq!(state_of(&[state]).as_deref(), Some(state));
    }
    assert_eq!(state_of(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
    assert_eq!(state_of(&["a=1", "", "b=2"]).as_deref(), Some("a=1,,b=2"));
}

#[test]
fn an_unfit_tracestate_is_dropped_as_a_whole() {
    let value = "x".repeat(256);
    for state in [
        "",
        ",",
        " \t ",
        "foo",
        "foo=1,bar",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "foo@=1,bar=2",
        "@foo=1,bar=2",
        "foo@@bar=1,bar=2",
        "foo@bar@baz=1,bar=2",
        "foo@0b=1",
        "_foo=1",
        "=1",
        "foo=bar=baz",
        "foo=,bar=3",
        "foo=b\tr",
        "foo=\u{e9}",
        &format!("{}=1", "z".repeat(257)),
        &format!("{}@v=1", "t".repeat(242)),
        &format!("t@{}=1", "v".repeat(15)),
        &format!("a={value}x"),
        &format!("a={value},b={}", &value[..252]),
        &["a=1"; 33].join(","),
    ] {
        assert_eq!(state_of(&[state]), None, "{state:?}");
    }
    assert_eq!(state_of(&[]), None);
    assert_eq!(state_of(&["foo=1", "bar"]), None);
    let of_no_trace = passed_on(&[("traceparent", "no parent"), ("tracestate", "a=1")]);
    assert_eq!(of_no_trace.1, None);
}

/// What a sampler decides is what callees see; the caller's id stays.
#[test]
fn the_decision_is_passed_on() {
    let sampled = |sampler: &str, values: &[(&str, &str)]| {
        let sampler = Sampler::new(sampler, 0.0).unwrap();
        let span = TraceContext::of(&headers(values), sampler);
        (
            span.is_sampled(),
            span.is_unlikely(),
            span.child().is_sampled(),
        )
    };
    let on = [("traceparent", CALLER)];
    let off = CALLER.replacen("-01", "-00", 1);
    let off = [("traceparent", off.as_str())];
    assert_eq!(sampled("parentbased_always_off", &on), (true, false, true));
    assert_eq!(
        sampled("parentbased_always_on", &off),
        (false, false, false)
    );
    assert_eq!(
        sampled("parentbased_traceidratio", &off),
        (false, false, false)
    );
    assert_eq!(
        sampled("parentbased_traceidratio", &[]),
        (false, true, false)
    );
    assert_eq!(sampled("always_on", &off), (true, false, true));
    assert_eq!(sampled("always_off", &on), (false, false, false));
}
