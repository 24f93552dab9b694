//! What stderr says in JSON, by the schema that others read it by.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../events.schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// Each line as an event of the schema.
#[track_caller]
pub(crate) fn parsed(talk: &str) -> Vec<Value> {
    let events = talk.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{talk}"));
        assert!(SCHEMA.is_valid(&event), "not in events.schema.json: {line}");
        event
    });
    events.collect()
}
