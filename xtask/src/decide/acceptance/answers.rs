//! What a service of ours has to answer, and what its log lines have to be, wherever it runs.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Sight;

/// What axon says on `/reason`.
pub const HEARTBEAT: &str = "Axon heartbeat OK";

/// An HTTP answer, as far as the criteria speak of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub correlation_id: Option<String>,
    /// `family:n`
    pub task_revision: Option<String>,
    pub body: String,
}

/// An answer, or why there was none.
pub type Heard = Result<Answer, String>;

/// `GET /health` of a service.
pub fn healthy(service: &str, heard: &Heard) -> Sight {
    let request = "GET /health";
    let body = body_of(request, heard, 200)?;
    expect(request, &body, "status", "healthy")?;
    expect(request, &body, "service", service)?;
    Ok(format!("{request}: 200, {service} is healthy"))
}

/// `GET /reason` of axon.
pub fn heartbeat(heard: &Heard) -> Sight {
    let request = "GET /reason";
    let body = body_of(request, heard, 200)?;
    expect(request, &body, "message", HEARTBEAT)?;
    Ok(format!("{request}: 200, `{HEARTBEAT}`"))
}

/// `POST /dispatch` that governance allowed; `message` is what axon said.
pub fn dispatched(heard: &Heard, message: &str) -> Sight {
    let request = "a permitted dispatch";
    let body = body_of(request, heard, 200)?;
    expect(request, &body, "status", "success")?;
    expect(request, &body, "message", message)?;
    Ok(format!("{request}: 200 with axon's message"))
}

/// `POST /dispatch` that governance denied.
pub fn denied(heard: &Heard) -> Sight {
    let request = "a denied dispatch";
    let body = body_of(request, heard, 403)?;
    expect(request, &body, "status", "denied")?;
    match body.get("reason").and_then(Value::as_str) {
        Some(reason) if !reason.is_empty() => Ok(format!("{request}: 403 ({reason})")),
        _ => Err(format!("{request}: there is no reason in {}", text(&body))),
    }
}

/// The id that was given, or where none was given any that is fit for a header.
pub fn correlated(request: &str, heard: &Heard, given: Option<&str>) -> Sight {
    let answer = heard.as_ref().map_err(|why| format!("{request}: {why}"))?;
    match (answer.correlation_id.as_deref(), given) {
        (Some(found), Some(given)) if found == given => Ok(format!("{request}: {given} came back")),
        (Some(found), None) if is_correlation_id(found) => Ok(format!("{request}: one was made")),
        (found, given) => Err(format!(
            "{request}: X-Correlation-ID is {} and should be {}",
            found.unwrap_or("missing"),
            given.unwrap_or("made where none is given"),
        )),
    }
}

fn is_correlation_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

/// Fields that every log line has.
const LINE_FIELDS: [&str; 4] = ["timestamp", "level", "message", "service"];

/// Every line is a JSON object of the service, and lines of requests carry an id.
pub fn structured(service: &str, lines: &[String]) -> Sight {
    if lines.is_empty() {
        return Err(format!("{service} logged nothing"));
    }
    for line in lines {
        let told = |what: &str| format!("{service} logged {what}: {line}");
        let object = object(line).ok_or_else(|| told("a line that is no JSON object"))?;
        let missing: Vec<&str> = LINE_FIELDS
            .into_iter()
            .filter(|field| !object.get(*field).is_some_and(Value::is_string))
            .collect();
        if !missing.is_empty() {
            return Err(told(&format!("a line without {}", missing.join(", "))));
        }
        if object["service"] != service {
            return Err(told("a line of another service"));
        }
        if object["message"] == "request" && id_of(&object).is_none() {
            return Err(told("a request without its correlation id"));
        }
    }
    Ok(format!(
        "{service}: {} lines, each a JSON object",
        lines.len()
    ))
}

/// The requests of these ids are in the log, each with its id on its line.
pub fn logged(service: &str, lines: &[String], ids: &[String]) -> Sight {
    let found = requests(lines);
    let missing: Vec<&str> = ids
        .iter()
        .filter(|id| !found.contains(*id))
        .map(String::as_str)
        .collect();
    if missing.is_empty() && !ids.is_empty() {
        Ok(format!(
            "{service} logged each request with its id ({})",
            ids.len()
        ))
    } else {
        Err(format!(
            "the log of {service} has no request with the id {}",
            missing.join(", ")
        ))
    }
}

/// The correlation ids of the requests in a log.
pub fn requests(lines: &[String]) -> BTreeSet<String> {
    let request = |line: &String| {
        let object = object(line).filter(|object| object.get("message") == Some(&"request".into()));
        id_of(&object?)
    };
    lines.iter().filter_map(request).collect()
}

fn object(line: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn id_of(object: &Map<String, Value>) -> Option<String> {
    let id = object.get("correlation_id")?.as_str()?;
    (!id.is_empty()).then(|| id.to_owned())
}

fn body_of(request: &str, heard: &Heard, status: u16) -> Result<Map<String, Value>, String> {
    let answer = heard.as_ref().map_err(|why| format!("{request}: {why}"))?;
    let Answer { body, .. } = answer;
    if answer.status != status {
        let found = answer.status;
        return Err(format!("{request}: {found}, expected {status}: {body}"));
    }
    object(body).ok_or_else(|| format!("{request}: {status} with a body that is no object: {body}"))
}

fn expect(
    request: &str,
    body: &Map<String, Value>,
    field: &str,
    expected: &str,
) -> Result<(), String> {
    if body.get(field).and_then(Value::as_str) == Some(expected) {
        return Ok(());
    }
    let body = text(body);
    Err(format!(
        "{request}: `{field}` is not `{expected}` in {body}"
    ))
}

fn text(body: &Map<String, Value>) -> String {
    Value::Object(body.clone()).to_string()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    #[expect(
        clippy::unnecessary_wraps,
        reason = "stands where an answer may be missing"
    )]
    pub(in crate::decide::acceptance) fn heard(status: u16, body: &Value) -> Heard {
        Ok(Answer {
            status,
            body: body.to_string(),
            ..Answer::default()
        })
    }

    pub(in crate::decide::acceptance) fn line(
        service: &str,
        message: &str,
        id: Option<&str>,
    ) -> String {
        serde_json::json!({
            "timestamp": "2026-01-02T03:04:05Z", "level": "INFO", "message": message,
            "target": service, "service": service, "correlation_id": id,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{heard, line};
    use super::*;

    #[test]
    fn health_is_200_and_says_so_and_is_the_services_own() {
        let good = json!({ "status": "healthy", "service": "axon", "timestamp": "x" });
        assert!(healthy("axon", &heard(200, &good)).is_ok());
        for broken in [
            heard(503, &good),
            heard(200, &json!({ "status": "starting", "service": "axon" })),
            heard(200, &json!({ "status": "healthy" })),
            heard(200, &json!("healthy")),
            Err("no answer".to_owned()),
        ] {
            assert!(healthy("axon", &broken).is_err(), "{broken:?}");
        }
        assert!(healthy("orbit", &heard(200, &good)).is_err());
    }

    #[test]
    fn a_heartbeat_is_the_very_message() {
        assert!(heartbeat(&heard(200, &json!({ "message": HEARTBEAT }))).is_ok());
        assert!(heartbeat(&heard(200, &json!({ "message": "axon heartbeat ok" }))).is_err());
        assert!(heartbeat(&heard(401, &json!({ "message": HEARTBEAT }))).is_err());
    }

    #[test]
    fn a_dispatch_carries_what_axon_said() {
        let good = heard(200, &json!({ "status": "success", "message": "m" }));
        assert!(dispatched(&good, "m").is_ok());
        assert!(dispatched(&good, "another").is_err());
    }

    #[test]
    fn a_denial_is_403_with_its_reason() {
        let good = json!({ "status": "denied", "reason": "policy" });
        assert!(denied(&heard(403, &good)).is_ok());
        assert!(denied(&heard(200, &good)).is_err());
        assert!(denied(&heard(403, &json!({ "status": "denied" }))).is_err());
    }

    #[test]
    fn the_id_that_was_given_is_the_one_that_comes_back() {
        let answer = |id: &str| -> Heard {
            Ok(Answer {
                correlation_id: Some(id.to_owned()),
                ..Answer::default()
            })
        };
        assert!(correlated("r", &answer("a"), Some("a")).is_ok());
        assert!(correlated("r", &answer("b"), Some("a")).is_err());
        assert!(correlated("r", &answer("b"), None).is_ok());
        assert!(correlated("r", &answer("b c"), None).is_err());
        assert!(correlated("r", &Ok(Answer::default()), None).is_err());
        assert!(correlated("r", &Err("silence".to_owned()), None).is_err());
    }

    #[test]
    fn one_line_that_is_no_json_or_lacks_its_id_is_enough() {
        let good = [
            line("axon", "ready", None),
            line("axon", "request", Some("a")),
        ];
        assert!(structured("axon", &good).is_ok());
        for broken in [
            "listening on 80".to_owned(),
            "[1]".to_owned(),
            json!({ "message": "ready", "level": "INFO" }).to_string(),
            line("orbit", "ready", None),
            line("axon", "request", None),
            line("axon", "request", Some("")),
        ] {
            let lines = [good.to_vec(), vec![broken]].concat();
            let told = structured("axon", &lines).unwrap_err();
            assert!(told.contains(&lines[2]), "{told}");
        }
        assert!(structured("axon", &[]).is_err());
    }

    #[test]
    fn each_id_needs_a_request_in_the_log() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let lines = [
            line("axon", "request", Some("a")),
            line("axon", "axon failed", Some("b")),
        ];
        assert!(logged("axon", &lines, &ids[..1]).is_ok());
        assert!(logged("axon", &lines, &ids).unwrap_err().ends_with(" b"));
        assert!(logged("axon", &lines, &[]).is_err());
    }
}
