//! Formats the function's log lines: one JSON object each, with the keys of the services' lines.

use jiff::Timestamp;
use serde::Serialize;

use crate::decision::{PolicyDecision, Verdict};
use crate::policies::PolicyError;
use crate::question::{InvalidRequest, Question};

/// The line of a decision. `invocation` is Lambda's request id.
pub fn decided(
    at: Timestamp,
    invocation: &str,
    question: &Question,
    decision: &PolicyDecision,
) -> String {
    let level = match decision.verdict {
        Verdict::Failed => "ERROR",
        Verdict::Permitted | Verdict::Forbidden | Verdict::NothingPermits | Verdict::Invalid => {
            "INFO"
        }
    };
    LogRecord {
        correlation_id: question.correlation_id.as_deref(),
        invocation: Some(invocation),
        caller: Some(&question.service),
        intent: Some(&question.intent),
        decision: Some(decision.verdict),
        policies: Some(&decision.policies),
        reason: Some(&decision.reason),
        faults: Some(&*decision.faults).filter(|faults| !faults.is_empty()),
        ..LogRecord::new(at, level, "decided")
    }
    .into_text()
}

/// The line of an invalid request.
pub fn refused(at: Timestamp, invocation: &str, invalid: &InvalidRequest) -> String {
    LogRecord {
        correlation_id: invalid.correlation_id.as_deref(),
        invocation: Some(invocation),
        faults: Some(&invalid.faults),
        ..LogRecord::new(at, "WARN", "invalid request")
    }
    .into_text()
}

/// The function cannot start because of its policies.
pub fn invalid_policies(at: Timestamp, faults: &PolicyError) -> String {
    LogRecord {
        faults: Some(&faults.faults),
        ..LogRecord::new(at, "ERROR", "policies refused")
    }
    .into_text()
}

/// The connection to the runtime API was lost.
pub fn ended(at: Timestamp, reason: &str) -> String {
    LogRecord {
        reason: Some(reason),
        ..LogRecord::new(at, "ERROR", "runtime ended")
    }
    .into_text()
}

#[derive(Serialize)]
struct LogRecord<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    service: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<&'a [String]>,
}

impl LogRecord<'_> {
    fn new(at: Timestamp, level: &'static str, message: &'static str) -> Self {
        Self {
            timestamp: format!("{at:.3}"),
            level,
            message,
            service: "governance",
            correlation_id: None,
            invocation: None,
            caller: None,
            intent: None,
            decision: None,
            policies: None,
            reason: None,
            faults: None,
        }
    }

    fn into_text(self) -> String {
        let text = serde_json::to_string(&self).expect("strings are always JSON");
        let mut line = String::with_capacity(text.len());
        for character in text.chars() {
            if is_unsafe(character) {
                line += &format!("\\u{:04x}", u32::from(character));
            } else {
                line.push(character);
            }
        }
        line
    }
}

/// Characters that JSON does not escape, and that a terminal interprets or that change the order of
/// text. They can only be within strings. The kit escapes the same set.
fn is_unsafe(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(line: &str) -> Value {
        assert!(!line.contains('\n'), "one line an entry: {line}");
        serde_json::from_str(line).unwrap()
    }

    fn question() -> Question {
        Question {
            service: "orbit".to_owned(),
            intent: "line\nbreak".to_owned(),
            correlation_id: Some("c-1".to_owned()),
        }
    }

    #[test]
    fn a_decision_is_one_line_with_all_that_decided_it() {
        let decision = PolicyDecision {
            verdict: Verdict::Forbidden,
            policies: vec!["operators-only".to_owned()],
            reason: "forbidden by policy operators-only".to_owned(),
            faults: vec![],
        };
        assert_eq!(
            parsed(&decided(
                Timestamp::UNIX_EPOCH,
                "i-1",
                &question(),
                &decision
            )),
            json!({
                "timestamp": "1970-01-01T00:00:00.000Z",
                "level": "INFO",
                "message": "decided",
                "service": "governance",
                "correlation_id": "c-1",
                "invocation": "i-1",
                "caller": "orbit",
                "intent": "line\nbreak",
                "decision": "forbidden",
                "policies": ["operators-only"],
                "reason": "forbidden by policy operators-only",
            })
        );
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        let mut harmful = question();
        harmful.intent = "\u{1b}[2J\u{7f}\u{9b}31m\u{202e}äx".to_owned();
        let decision = PolicyDecision {
            verdict: Verdict::Permitted,
            policies: vec![],
            reason: String::new(),
            faults: vec![],
        };
        let line = decided(Timestamp::UNIX_EPOCH, "i-1", &harmful, &decision);
        let shown = r#""intent":"\u001b[2J\u007f\u009b31m\u202eäx""#;
        assert!(line.contains(shown), "{line}");
        assert_eq!(parsed(&line)["intent"], harmful.intent);
    }

    #[test]
    fn policies_that_fail_are_an_error() {
        let decision = PolicyDecision {
            verdict: Verdict::Failed,
            policies: vec![],
            reason: String::new(),
            faults: vec!["overflow".to_owned()],
        };
        let line = parsed(&decided(
            Timestamp::UNIX_EPOCH,
            "i-1",
            &question(),
            &decision,
        ));
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["faults"], json!(["overflow"]));
    }

    #[test]
    fn an_invalid_request_is_a_warning_with_its_faults() {
        let invalid = InvalidRequest {
            faults: vec!["intent is missing".to_owned()],
            correlation_id: None,
        };
        assert_eq!(
            parsed(&refused(Timestamp::UNIX_EPOCH, "i-1", &invalid)),
            json!({
                "timestamp": "1970-01-01T00:00:00.000Z",
                "level": "WARN",
                "message": "invalid request",
                "service": "governance",
                "invocation": "i-1",
                "faults": ["intent is missing"],
            })
        );
    }

    #[test]
    fn what_ends_the_function_is_an_error() {
        let faults = PolicyError {
            faults: vec!["no".to_owned()],
        };
        assert_eq!(
            parsed(&invalid_policies(Timestamp::UNIX_EPOCH, &faults))["faults"],
            json!(["no"])
        );
        let line = parsed(&ended(Timestamp::UNIX_EPOCH, "connection refused"));
        assert_eq!(line["reason"], "connection refused");
        assert_eq!(line["level"], "ERROR");
    }
}
