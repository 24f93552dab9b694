use serde_json::{Value, json};

use crate::SERVICE;
use crate::captured_logs::CapturedLogs;

#[test]
fn a_line_is_one_flat_object() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let _span = tracing::info_span!("request", correlation_id = "abc").entered();
    tracing::warn!(target: "some::place", count = 3, ratio = 0.5, ok = true, "it is {}", "odd");
    assert_eq!(
        logs.lines(),
        [json!({
            "timestamp": "2026-01-02T03:04:05.678Z", "level": "WARN", "message": "it is odd",
            "target": "some::place", "service": "tested", "correlation_id": "abc",
            "count": 3, "ratio": 0.5, "ok": true,
        })]
    );
}

#[test]
fn every_kind_of_value_is_json() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let inner: std::io::Error = std::io::Error::other("the cause");
    let error = std::io::Error::other(Outer(inner));
    tracing::info!(
        huge = u128::from(u64::MAX),
        low = i128::from(i64::MIN),
        not_a_number = f64::NAN,
        debug = ?Some("a\"b"),
        error = &error as &dyn std::error::Error,
        none = None::<u8>,
    );
    let line = &logs.lines()[0];
    assert_eq!(line["message"], "");
    assert_eq!(line["huge"], u64::MAX);
    assert_eq!(line["low"], i64::MIN);
    assert_eq!(line["not_a_number"], Value::Null);
    assert_eq!(line["debug"], "Some(\"a\\\"b\")");
    assert_eq!(line["error"], "outer: the cause");
    assert_eq!(line.get("none"), None);
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::io::Error);

/// Parsing returns what was logged, and the line is safe on a terminal.
#[test]
fn what_a_terminal_acts_on_is_escaped() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let all: String = ('\0'..='\u{a0}').chain('\u{2000}'..='\u{2070}').collect();
    let harmful = |character: &char| {
        character.is_control()
            || matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
    };
    let _span = tracing::info_span!("around", of_span = all).entered();
    tracing::info!(field = all, debug = ?all, "{all}");
    let line = &logs.lines()[0];
    assert_eq!(
        (&line["message"], &line["field"]),
        (&json!(all), &json!(all))
    );
    assert_eq!(line["of_span"], json!(all));
    let text = logs.text();
    let text = text.strip_suffix('\n').unwrap();
    assert_eq!(text.chars().find(harmful), None, "{text}");
    assert!(
        text.contains("\\u009b") && text.contains("\\u202e"),
        "{text}"
    );
}

/// Parsing returns what was logged, for pseudo-random text of many characters.
#[test]
fn whatever_is_logged_is_read_back() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let mut random = fastrand::Rng::with_seed(7);
    let odd = [
        '"', '\\', '\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', '\u{2028}', '/', 'ä', '😀',
    ];
    let texts: Vec<String> = (0..2000)
        .map(|_| {
            let character = |random: &mut fastrand::Rng| match random.u8(0..3) {
                0 => odd[random.usize(0..odd.len())],
                1 => random.char('\0'..='\u{7f}'),
                _ => random.char(..),
            };
            (0..random.usize(0..24))
                .map(|_| character(&mut random))
                .collect()
        })
        .collect();
    for text in &texts {
        let _span = tracing::info_span!("span", in_span = text).entered();
        tracing::info!(as_text = text, as_display = %text, as_debug = ?text, "{text}");
    }
    let lines = logs.lines();
    assert_eq!(lines.len(), texts.len());
    for (line, text) in lines.iter().zip(&texts) {
        for field in ["message", "as_text", "as_display", "in_span"] {
            assert_eq!(line[field], *text, "{field}");
        }
        assert_eq!(line["as_debug"], format!("{text:?}"));
    }
}

#[test]
fn no_name_is_on_a_line_twice() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let _outer = tracing::info_span!("outer", correlation_id = "inner wins", other = 1).entered();
    let inner = tracing::info_span!("inner", correlation_id = "x", late = tracing::field::Empty);
    let inner = inner.entered();
    inner.record("late", 5);
    inner.record("correlation_id", "recorded");
    tracing::info!(
        service = "forged",
        level = "forged",
        timestamp = "forged",
        late = 6,
        "said"
    );
    let line = &logs.lines()[0];
    assert_eq!(line["service"], "tested");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["timestamp"], "2026-01-02T03:04:05.678Z");
    assert_eq!(line["correlation_id"], "recorded");
    assert_eq!((&line["other"], &line["late"]), (&json!(1), &json!(5)));
}

#[test]
fn levels_are_kept_for_each_target() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "warn,chatty=debug");
    tracing::info!(target: "quiet", "1");
    tracing::warn!(target: "quiet", "2");
    tracing::debug!(target: "chatty::part", "3");
    tracing::trace!(target: "chatty", "4");
    let messages: Vec<_> = logs
        .lines()
        .iter()
        .map(|line| line["message"].clone())
        .collect();
    assert_eq!(messages, ["2", "3"]);
}
