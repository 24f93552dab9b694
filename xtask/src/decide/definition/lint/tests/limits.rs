//! No definition ends the program, and none takes long.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decide::definition::lint::file::lint_text;

const BASE: &str = include_str!("base.json");

/// Texts and numbers at the edges of what arithmetic can hold.
fn extreme() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(i64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{}], null, "x"])),
        Just(json!("9223372036854775807")),
        Just(json!("9007199254740993GB")),
        Just(json!("9007199254740993 vCPU")),
        Just(json!(".999999999999999999 GB")),
        Just(json!(
            "\u{e9}${\u{e9}<\u{e9}>{{\u{e9}}}%\u{e9}%__\u{e9}__$\u{e9}"
        )),
        Just(json!("arn:aws:::::")),
        Just(json!("-")),
        Just(json!("")),
    ]
}

/// The paths of all values of the base, as pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                pointers(member, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_value_at_any_place_ends_the_program(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), extreme()), 1..4),
    ) {
        let mut value: Value = serde_json::from_str(BASE).unwrap();
        for key in ["memory", "memoryReservation", "cpu"] {
            value["containerDefinitions"][0][key] = json!(1);
        }
        for (place, extreme) in changes {
            let mut all = Vec::new();
            pointers(&value, "", &mut all);
            *value.pointer_mut(&all[place.index(all.len())]).unwrap() = extreme;
        }
        let facts = Facts { rollout_seconds_max: Some(1), ..Facts::default() };
        drop(lint_text("x", &value.to_string(), &facts));
        drop(lint("x", &Definition(value), &facts));
    }
}

#[test]
fn sums_of_huge_numbers_are_above_the_task() {
    let patch = json!({
        "./cpu": i64::MAX,
        "./memory": i64::MAX,
        "./healthCheck/interval": i64::MAX,
        "./healthCheck/retries": i64::MAX,
        "/containerDefinitions/1": { "name": "b", "image": "b", "cpu": 1, "memory": 1 },
    });
    assert_eq!(findings_of("T40", &broken(&patch), &facts()).len(), 2);
    assert_eq!(findings_of("T21", &broken(&patch), &facts()).len(), 1);
}

/// Twice as many take twice as long: a rule that compares each with each would take minutes.
#[test]
fn large_definitions_are_judged() {
    let setting = |index| json!({ "name": format!("A{index}"), "value": "x" });
    let settings: Vec<Value> = (0..20_000).map(setting).collect();
    let many = broken(&json!({ "./environment": settings }));
    assert_eq!(lint("axon", &many, &facts()), []);

    let container = |index: usize| {
        let wait =
            json!([{ "containerName": format!("c{}", (index + 1) % 3000), "condition": "START" }]);
        json!({ "name": format!("c{index}"), "image": "b", "essential": true, "dependsOn": wait })
    };
    let containers: Vec<Value> = (0..3000).map(container).collect();
    let ring = broken(&json!({ "/containerDefinitions": containers }));
    let found = findings_of("T28", &ring, &Facts::default());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("c0, c1, c10, c100, c1000 and 2995 more depend"),
        "{}",
        found[0]
    );
}
