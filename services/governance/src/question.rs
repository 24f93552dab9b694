//! Parses the request of a caller and returns all its faults at once. Unknown fields are ignored,
//! so that callers may be newer than the function.

use serde_json::Value;
use thiserror::Error;

/// The limit of a service, an intent and a correlation id.
pub const NAME_CHARACTERS_MAX: usize = 128;

/// Whether `service` may dispatch `intent`. Where one of them is not a valid name, the answer is
/// no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// This and the intent are cut off one character above the limit.
    pub service: String,
    pub intent: String,
    /// For the log only.
    pub correlation_id: Option<String>,
}

/// The request is not a question; the caller's fault.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid request: {}", faults.join("; "))]
pub struct InvalidRequest {
    pub faults: Vec<String>,
    /// That of the request, where it is valid.
    pub correlation_id: Option<String>,
}

impl Question {
    pub fn parse(payload: &Value) -> Result<Self, InvalidRequest> {
        if !payload.is_object() {
            return Err(InvalidRequest {
                faults: vec![format!("expected an object, found {}", kind(payload))],
                correlation_id: None,
            });
        }
        let service = name(payload, "service");
        let intent = name(payload, "intent");
        let correlation_id = correlation_id(payload);
        match (service, intent, correlation_id) {
            (Ok(service), Ok(intent), Ok(correlation_id)) => Ok(Self {
                service,
                intent,
                correlation_id,
            }),
            (service, intent, correlation_id) => Err(InvalidRequest {
                faults: [service.err(), intent.err(), correlation_id.clone().err()]
                    .into_iter()
                    .flatten()
                    .collect(),
                correlation_id: correlation_id.unwrap_or_default(),
            }),
        }
    }
}

fn name(payload: &Value, field: &str) -> Result<String, String> {
    match payload.get(field) {
        None => Err(format!("{field} is missing")),
        Some(Value::String(text)) => Ok(text.chars().take(NAME_CHARACTERS_MAX + 1).collect()),
        Some(other) => Err(format!("{field} must be a string, not {}", kind(other))),
    }
}

/// Valid by the services' rule for `X-Correlation-ID`. `null` means none.
fn correlation_id(payload: &Value) -> Result<Option<String>, String> {
    match payload.get("correlation_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text.clone())),
        Some(_) => Err(format!(
            "correlation_id must be 1 to {NAME_CHARACTERS_MAX} characters of [A-Za-z0-9._-]"
        )),
    }
}

/// 1 to 128 characters of `[A-Za-z0-9._-]`.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(payload: &Value) -> Vec<String> {
        Question::parse(payload).unwrap_err().faults
    }

    #[test]
    fn a_question_is_read_and_unknown_fields_are_ignored() {
        let payload = json!({
            "service": "orbit", "intent": "call_reasoning", "correlation_id": "a.B-3_4",
            "priority": 7,
        });
        let question = Question::parse(&payload).unwrap();
        assert_eq!(question.service, "orbit");
        assert_eq!(question.intent, "call_reasoning");
        assert_eq!(question.correlation_id.as_deref(), Some("a.B-3_4"));
    }

    #[test]
    fn the_correlation_id_may_be_left_out_or_null() {
        for payload in [
            json!({"service": "orbit", "intent": "call_reasoning"}),
            json!({"service": "orbit", "intent": "call_reasoning", "correlation_id": null}),
        ] {
            assert_eq!(Question::parse(&payload).unwrap().correlation_id, None);
        }
    }

    #[test]
    fn what_is_not_an_object_is_named() {
        for (payload, found) in [
            (json!(null), "null"),
            (json!(true), "a boolean"),
            (json!(1), "a number"),
            (json!("orbit"), "a string"),
            (json!([]), "an array"),
        ] {
            assert_eq!(
                faults(&payload),
                [format!("expected an object, found {found}")]
            );
        }
    }

    #[test]
    fn each_fault_is_named() {
        for (payload, fault) in [
            (json!({"intent": "x"}), "service is missing"),
            (json!({"service": "orbit"}), "intent is missing"),
            (
                json!({"service": "orbit", "intent": null}),
                "intent must be a string, not null",
            ),
            (
                json!({"service": "orbit", "intent": {}}),
                "intent must be a string, not an object",
            ),
        ] {
            assert_eq!(faults(&payload), [fault]);
        }
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let invalid =
            Question::parse(&json!({"service": 7, "intent": [], "correlation_id": "a b"}))
                .unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "invalid request: service must be a string, not a number; intent must be a string, not \
             an array; \
             correlation_id must be 1 to 128 characters of [A-Za-z0-9._-]"
        );
        assert_eq!(invalid.correlation_id, None);
    }

    #[test]
    fn an_invalid_request_keeps_its_correlation_id() {
        let invalid = Question::parse(&json!({"correlation_id": "c-1"})).unwrap_err();
        assert_eq!(invalid.correlation_id.as_deref(), Some("c-1"));
        assert_eq!(invalid.faults, ["service is missing", "intent is missing"]);
    }

    #[test]
    fn a_text_of_any_length_is_kept_only_until_it_is_too_long() {
        let long = "\u{7f}".repeat(60_000);
        let question =
            Question::parse(&json!({"service": long, "intent": long, "correlation_id": null}));
        let Question {
            service, intent, ..
        } = question.unwrap();
        assert_eq!([service.len(), intent.len()], [NAME_CHARACTERS_MAX + 1; 2]);
        let fault = faults(&json!({"service": [long], "intent": {long.clone(): long}})).join(";");
        assert!(fault.len() < 200, "{fault}");
    }

    #[test]
    fn a_name_has_a_length_and_an_alphabet() {
        for (text, sound) in [
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            (String::new(), false),
            ("a\nb".to_owned(), false),
            ("é".to_owned(), false),
        ] {
            assert_eq!(is_name(&text), sound, "{text:?}");
        }
    }
}
