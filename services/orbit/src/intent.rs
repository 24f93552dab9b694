//! The intent of a dispatch. An invalid one is refused before any call, and is not repeated in the
//! answer or the log.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::error::Category;
use service_kit::Problem;

use crate::json::parse_object;

const DEFAULT: &str = "call_reasoning";
const CHARACTERS_MAX: usize = 128;
const EXPECTED: &str = "expected an object with an intent of 1 to 128 characters of [A-Za-z0-9._-]";

/// 1 to 128 characters of `[A-Za-z0-9._-]`.
pub(crate) struct Intent<'a>(Cow<'a, str>);

#[derive(Deserialize)]
struct DispatchRequest<'a> {
    #[serde(borrow)]
    intent: Cow<'a, str>,
}

impl<'a> Intent<'a> {
    /// Reads the body of a request with these headers. 415 where it is not JSON by its type, 400
    /// where it is invalid; an empty body is `call_reasoning`.
    pub(crate) fn read(headers: &HeaderMap, body: &'a [u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self(DEFAULT.into()));
        }
        if !is_json(headers) {
            let detail = "the body must be of type application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let invalid = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
        match parse_object(body) {
            Ok(DispatchRequest { intent }) if is_plain(&intent) => Ok(Self(intent)),
            Ok(_) => Err(invalid(EXPECTED.to_owned())),
            Err(error) => Err(invalid(detail_of(&error))),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(intent: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=CHARACTERS_MAX).contains(&intent.len()) && intent.bytes().all(plain)
}

/// serde's message about a value of the wrong type repeats the value.
fn detail_of(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => EXPECTED.to_owned(),
        Category::Syntax | Category::Eof | Category::Io => format!("the body is not JSON: {error}"),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
