//! The schema in the repository is the one of the types.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::catalog::Component;

impl schemars::JsonSchema for Component {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Component".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A name of the catalog." })
    }
}

/// One alternative for each event: a reader finds them in one list.
fn schema() -> Value {
    let mut schema = schemars::schema_for!(Event).to_value();
    let definitions = schema["$defs"].as_object_mut().unwrap();
    let mut events = Vec::new();
    for group in [
        "Release", "Rollback", "Secrets", "Build", "Infra", "Machine", "Command",
    ] {
        let mut group = definitions.remove(&format!("{group}Event")).unwrap();
        events.append(group["oneOf"].as_array_mut().unwrap());
    }
    events.sort_by_key(|event| name(event).to_owned());
    json!({
        "$schema": schema["$schema"],
        "title": "An event of cargo xtask",
        "description": "One line of stderr with --format json.",
        "oneOf": events,
        "$defs": schema["$defs"],
    })
}

fn name(event: &Value) -> &str {
    event["properties"]["event"]["const"].as_str().unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the schema is a file, and a variable renews it"
)]
fn the_schema_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("events.schema.json");
    let schema = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var("UPDATE").is_ok_and(|it| it == "1") {
        std::fs::write(&file, &schema).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p xtask --lib the_schema";
    assert!(
        kept == schema,
        "{} is not of the types: {renew}",
        file.display()
    );
}

#[test]
fn every_event_has_a_name_and_a_place_of_its_own() {
    let schema = schema();
    let events = schema["oneOf"].as_array().unwrap();
    let names: std::collections::BTreeSet<&str> = events.iter().map(name).collect();
    assert_eq!(names.len(), events.len());
    for event in events {
        assert_eq!(event["additionalProperties"], false, "{event:#}");
    }
}

#[test]
fn an_event_is_valid_by_the_schema_and_another_is_not() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let pushed = BuildEvent::Compiled { seconds: 3 };
    let mut event = serde_json::to_value(Event::from(pushed)).unwrap();
    assert_eq!(event, json!({ "event": "compiled", "seconds": 3 }));
    assert!(validator.is_valid(&event));
    event["more"] = json!(1);
    assert!(!validator.is_valid(&event));
    assert!(!validator.is_valid(&json!({ "event": "compiled" })));
    assert!(!validator.is_valid(&json!({ "event": "line", "text": "done" })));
}
