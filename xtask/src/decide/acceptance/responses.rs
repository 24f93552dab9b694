//! Checks of responses and log lines that every service has to pass, wherever it runs.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Observation;

/// The message of axon at `/reason`.
pub const HEARTBEAT: &str = "Axon heartbeat OK";

/// The parts of an HTTP response that the criteria are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub correlation_id: Option<String>,
    /// `family:n`
    pub task_revision: Option<String>,
    pub body: String,
}

/// A response, or the reason why there was none.
pub type HttpResult = Result<HttpResponse, String>;

/// `GET /health` of a service.
pub fn healthy(service: &str, response: &HttpResult) -> Observation {
    let request = "GET /health";
    let body = body_of(request, response, 200)?;
    expect(request, &body, "status", "healthy")?;
    expect(request, &body, "service", service)?;
    Ok(format!("{request}: 200, {service} is healthy"))
}

/// `GET /reason` of axon.
pub fn heartbeat(response: &HttpResult) -> Observation {
    let request = "GET /reason";
    let body = body_of(request, response, 200)?;
    expect(request, &body, "message", HEARTBEAT)?;
    Ok(format!("{request}: 200, `{HEARTBEAT}`"))
}

/// `POST /dispatch` that governance permitted; `message` is that of axon.
pub fn dispatched(response: &HttpResult, message: &str) -> Observation {
    let request = "a permitted dispatch";
    let body = body_of(request, response, 200)?;
    expect(request, &body, "status", "success")?;
    expect(request, &body, "message", message)?;
    Ok(format!("{request}: 200 with axon's message"))
}

/// `POST /dispatch` that governance denied.
pub fn denied(response: &HttpResult) -> Observation {
    let request = "a denied dispatch";
    let body = body_of(request, response, 403)?;
    expect(request, &body, "status", "denied")?;
    match body.get("reason").and_then(Value::as_str) {
        Some(reason) if !reason.is_empty() => Ok(format!("{request}: 403 ({reason})")),
        _ => Err(format!("{request}: no reason in {}", text(&body))),
    }
}

/// The correlation id of the request, or a valid new one where the request had none.
pub fn correlated(request: &str, response: &HttpResult, given: Option<&str>) -> Observation {
    let answer = response
        .as_ref()
        .map_err(|why| format!("{request}: {why}"))?;
    match (answer.correlation_id.as_deref(), given) {
        (Some(found), Some(given)) if found == given => {
            Ok(format!("{request}: id {given} returned"))
        }
        (Some(found), None) if is_correlation_id(found) => Ok(format!("{request}: id generated")),
        (found, given) => Err(format!(
            "{request}: X-Correlation-ID is {}, expected {}",
            found.unwrap_or("missing"),
            given.unwrap_or("a generated id"),
        )),
    }
}

fn is_correlation_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

/// Fields that every log line has.
const LINE_FIELDS: [&str; 4] = ["timestamp", "level", "message", "service"];

/// Every line is a JSON object of the service, and lines of requests have a correlation id.
pub fn structured(service: &str, lines: &[String]) -> Observation {
    if lines.is_empty() {
        return Err(format!("{service} logged nothing"));
    }
    for line in lines {
        let fault = |what: &str| format!("{service} logged {what}: {line}");
        let object = object(line).ok_or_else(|| fault("a line that is not a JSON object"))?;
        let missing: Vec<&str> = LINE_FIELDS
            .into_iter()
            .filter(|field| !object.get(*field).is_some_and(Value::is_string))
            .collect();
        if !missing.is_empty() {
            return Err(fault(&format!("a line without {}", missing.join(", "))));
        }
        if object["service"] != service {
            return Err(fault("a line of another service"));
        }
        if object["message"] == "request" && id_of(&object).is_none() {
            return Err(fault("a request without its correlation id"));
        }
    }
    Ok(format!(
        "{service}: {} lines, each a JSON object",
        lines.len()
    ))
}

/// The log has a request line for each of these ids.
pub fn logged(service: &str, lines: &[String], ids: &[String]) -> Observation {
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

fn body_of(
    request: &str,
    response: &HttpResult,
    status: u16,
) -> Result<Map<String, Value>, String> {
    let answer = response
        .as_ref()
        .map_err(|why| format!("{request}: {why}"))?;
    let HttpResponse { body, .. } = answer;
    if answer.status != status {
        let found = answer.status;
        return Err(format!("{request}: {found}, expected {status}: {body}"));
    }
    object(body)
        .ok_or_else(|| format!("{request}: {status} with a body that is not a JSON object: {body}"))
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
    pub(in crate::decide::acceptance) fn response(status: u16, body: &Value) -> HttpResult {
        Ok(HttpResponse {
            status,
            body: body.to_string(),
            ..HttpResponse::default()
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

    use super::testing::{line, response};
    use super::*;

    #[test]
    fn health_is_200_with_the_name_of_the_service() {
        let good = json!({ "status": "healthy", "service": "axon", "timestamp": "x" });
        assert!(healthy("axon", &response(200, &good)).is_ok());
        for broken in [
            response(503, &good),
            response(200, &json!({ "status": "starting", "service": "axon" })),
            response(200, &json!({ "status": "healthy" })),
            response(200, &json!("healthy")),
            Err("no answer".to_owned()),
        ] {
            assert!(healthy("axon", &broken).is_err(), "{broken:?}");
        }
        assert!(healthy("orbit", &response(200, &good)).is_err());
    }

    #[test]
    fn a_heartbeat_is_the_exact_message() {
        assert!(heartbeat(&response(200, &json!({ "message": HEARTBEAT }))).is_ok());
        assert!(heartbeat(&response(200, &json!({ "message": "axon heartbeat ok" }))).is_err());
        assert!(heartbeat(&response(401, &json!({ "message": HEARTBEAT }))).is_err());
    }

    #[test]
    fn a_dispatch_has_the_message_of_axon() {
        let good = response(200, &json!({ "status": "success", "message": "m" }));
        assert!(dispatched(&good, "m").is_ok());
        assert!(dispatched(&good, "another").is_err());
    }

    #[test]
    fn a_denial_is_403_with_its_reason() {
        let good = json!({ "status": "denied", "reason": "policy" });
        assert!(denied(&response(403, &good)).is_ok());
        assert!(denied(&response(200, &good)).is_err());
        assert!(denied(&response(403, &json!({ "status": "denied" }))).is_err());
    }

    #[test]
    fn the_id_of_the_request_is_returned() {
        let answer = |id: &str| -> HttpResult {
            Ok(HttpResponse {
                correlation_id: Some(id.to_owned()),
                ..HttpResponse::default()
            })
        };
        assert!(correlated("r", &answer("a"), Some("a")).is_ok());
        assert!(correlated("r", &answer("b"), Some("a")).is_err());
        assert!(correlated("r", &answer("b"), None).is_ok());
        assert!(correlated("r", &answer("b c"), None).is_err());
        assert!(correlated("r", &Ok(HttpResponse::default()), None).is_err());
        assert!(correlated("r", &Err("silence".to_owned()), None).is_err());
    }

    #[test]
    fn one_malformed_line_fails() {
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
            let error = structured("axon", &lines).unwrap_err();
            assert!(error.contains(&lines[2]), "{error}");
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
