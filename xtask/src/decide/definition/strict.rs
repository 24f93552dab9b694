//! A JSON parser that rejects duplicate keys and reports the position of every error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct JsonError {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Parses the text of `file` as one JSON object. `file` is only named in errors.
pub fn parse_object(file: &str, text: &str) -> Result<Value, JsonError> {
    let Strict(value) = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(text, _)| text);
        JsonError {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: message.to_owned(),
        }
    })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(JsonError {
        file: file.to_owned(),
        line: 1,
        column: 1,
        message: "not an object".to_owned(),
    })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key `{key}`")));
            }
            let Strict(value) = access.next_value()?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_object("axon.json", text).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_value_is_parsed() {
        let text = r#"{"a":[null,true,-1,2,0.5,"x"],"b":{"c":{}}}"#;
        assert_eq!(parse_object("x", text).unwrap().to_string(), text);
    }

    #[test]
    fn an_error_has_its_position() {
        assert_eq!(error("{\n  \"a\": 1,\n}"), "axon.json:3:1: trailing comma");
        assert_eq!(error(""), "axon.json:1:0: EOF while parsing a value");
        assert_eq!(error("[]"), "axon.json:1:1: not an object");
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        let text = "{\n  \"a\": { \"b\": 1,\n  \"b\": 2 }\n}";
        assert_eq!(error(text), "axon.json:3:5: duplicate key `b`");
    }
}
