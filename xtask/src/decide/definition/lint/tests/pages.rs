//! Each page's wrong example is found by its rule, and its right one is left alone.

use serde_json::Value;

use super::*;
use crate::decide::definition::lint::file::{NOT_JSON, not_a_definition};
use crate::decide::definition::lint::pages::pages;
use crate::decide::definition::lint::suppressions::Suppressions;

/// Pages whose examples are no part of a definition.
const OTHER_EXAMPLES: [&str; 7] = [NOT_JSON, "T72", "T74", "T75", "T76", "T77", "T81"];

/// Puts an example into the base: objects member by member, containers one by one; `null` removes.
fn merge(base: &mut Value, example: &Value, is_containers: bool) {
    match (base, example) {
        (Value::Object(members), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    members.remove(key);
                } else {
                    let member = members.entry(key.clone()).or_insert(Value::Null);
                    merge(member, change, key == "containerDefinitions");
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) if is_containers => {
            for (index, change) in changes.iter().enumerate() {
                if index == items.len() {
                    items.push(Value::Object(serde_json::Map::new()));
                }
                merge(&mut items[index], change, false);
            }
        }
        (base, example) => *base = example.clone(),
    }
}

fn codes(example: &str) -> BTreeSet<&'static str> {
    let mut base = definition(AXON).0;
    merge(&mut base, &serde_json::from_str(example).unwrap(), false);
    let is_placeholder = example.contains("{{");
    let facts = Facts {
        is_rendered: !is_placeholder,
        settings: Some(settings::of("WEB")),
        ..facts()
    };
    let findings = lint("axon", &Definition(base), &facts);
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn every_rule_has_its_page() {
    let pages = pages();
    let of_files = [NOT_JSON, "T72"];
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).chain(of_files).collect();
    assert_eq!(
        pages.iter().map(|page| page.code).collect::<BTreeSet<_>>(),
        rules
    );
    assert!(pages.is_sorted_by_key(|page| page.code));
    for page in pages {
        let source = page.source().unwrap();
        assert!(source.starts_with("https://"), "{}", page.code);
        let rule = RULES.iter().find(|rule| rule.code == page.code);
        let severity = rule
            .map_or(Severity::Error, |rule| rule.severity)
            .to_string();
        let says = page.code == "T72" || page.summary().starts_with(&severity);
        assert!(says, "{} does not say its severity", page.code);
    }
}

#[test]
fn every_rule_finds_what_is_wrong_and_leaves_its_near_neighbour_alone() {
    let mut wrong = Vec::new();
    for page in pages()
        .into_iter()
        .filter(|page| !OTHER_EXAMPLES.contains(&page.code))
    {
        let (found, left) = (codes(page.example("Wrong")), codes(page.example("Right")));
        if !found.contains(page.code) || left.contains(page.code) {
            wrong.push(format!("{}: {found:?}, {left:?}", page.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_of_files_are_read() {
    let page = |code: &str| pages().into_iter().find(|page| page.code == code).unwrap();
    let json = page(NOT_JSON);
    let reason = |text: &str| not_a_definition("x", text)[0].reason.clone();
    assert!(reason(json.example("Wrong")).starts_with("trailing comma"));
    assert!(reason(json.example("Right")).starts_with("not a task definition"));
    let suppressions = page("T72");
    assert!(Suppressions::parse("x", suppressions.example("Wrong")).is_err());
    assert!(Suppressions::parse("x", suppressions.example("Right")).is_ok());
}
