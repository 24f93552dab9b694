//! Checks answers of a service against its `openapi.json`.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Headers of every HTTP server, which the document does not list.
const OF_HTTP: [&str; 2] = ["content-length", "date"];

pub struct ApiDocument {
    document: Value,
    /// Documented answers that were not seen yet, such as `get /health 200`.
    unseen: BTreeSet<String>,
}

pub struct DocumentedResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl DocumentedResponse {
    /// Parses an HTTP/1.1 response as it was read from the connection.
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.get(9..12)).expect(text);
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect(line);
            let value = HeaderValue::from_str(value).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        };
        Self {
            status: status.parse().unwrap(),
            headers: lines.map(header).collect(),
            body: body.as_bytes().to_vec(),
        }
    }
}

impl ApiDocument {
    pub fn parse(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut unseen = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap();
                unseen.extend(
                    answers
                        .keys()
                        .map(|status| format!("{method} {path} {status}")),
                );
            }
        }
        Self { document, unseen }
    }

    /// Panics where the document does not describe this answer.
    pub fn check(&mut self, method: &str, path: &str, answer: &DocumentedResponse) {
        let responses = &self.document["paths"][path][method.to_lowercase()]["responses"];
        let case = format!("{} {path} {}", method.to_lowercase(), answer.status);
        let response = responses.get(answer.status.to_string()).expect(&case);
        self.check_by(&self.resolved(response), answer, &case);
        self.unseen.remove(&case);
    }

    /// Checks an answer that belongs to no operation.
    pub fn check_component(&self, response: &str, answer: &DocumentedResponse) {
        self.check_by(
            &self.document["components"]["responses"][response],
            answer,
            response,
        );
    }

    /// Panics unless the documented answers that were not seen are exactly `exceptions`.
    pub fn assert_all_seen_but(&self, exceptions: &[&str]) {
        let unseen: Vec<&str> = self.unseen.iter().map(String::as_str).collect();
        assert_eq!(unseen, exceptions);
    }

    fn check_by(&self, response: &Value, answer: &DocumentedResponse, case: &str) {
        self.check_headers(response, &answer.headers, case);
        // Answers to HEAD, and to bytes that are not an HTTP request.
        if answer.body.is_empty() {
            let has_kind = answer.headers.contains_key("content-type");
            assert!(
                !has_kind || case.starts_with("head "),
                "{case} lacks its body"
            );
            return;
        }
        let kind = answer.headers["content-type"].to_str().unwrap();
        let content = response["content"].get(kind).expect(case);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        self.assert_valid(&content["schema"], &body, case);
    }

    fn check_headers(&self, response: &Value, headers: &HeaderMap, case: &str) {
        let none = serde_json::Map::new();
        let documented = response["headers"].as_object().unwrap_or(&none);
        for (name, header) in documented {
            let header = self.resolved(header);
            let case = format!("{case}: {name}");
            match headers.get(name.to_lowercase()) {
                Some(value) => {
                    let value = json!(value.to_str().unwrap());
                    self.assert_valid(&header["schema"], &value, &case);
                }
                None => assert_ne!(header["required"], true, "{case} is missing"),
            }
        }
        let has_content = response.get("content").is_some() || case.starts_with("head ");
        for name in headers.keys().map(HeaderName::as_str) {
            let is_documented = documented
                .keys()
                .any(|known| known.eq_ignore_ascii_case(name));
            let is_of_content = name == "content-type" && has_content;
            let is_known = is_documented || is_of_content || OF_HTTP.contains(&name);
            assert!(is_known, "{case}: {name} is not documented");
        }
    }

    fn resolved(&self, value: &Value) -> Value {
        let Some(reference) = value["$ref"].as_str() else {
            return value.clone();
        };
        let pointer = reference.strip_prefix('#').expect(reference);
        self.document.pointer(pointer).expect(reference).clone()
    }

    fn assert_valid(&self, schema: &Value, value: &Value, case: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(value)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{case}: {value}: {faults:?}");
    }
}
