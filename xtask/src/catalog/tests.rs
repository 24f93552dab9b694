//! Faults of a catalog: each told with its place, all at once, and by the schema where it can.

use serde_json::{Value, json};

use super::testing::catalog;
use super::{Catalog, CatalogError, FILE};

const TEXT: &str = include_str!("../../tests/catalog.json");
const SCHEMA: &str = include_str!("../../../services/catalog.schema.json");

type CatalogEdit = fn(&mut Vec<Value>);

/// What was understood wrong of this checkout's catalog with a change: paths and messages.
fn faults(change: CatalogEdit) -> Vec<String> {
    match Catalog::parse(&changed(change).to_string()) {
        Ok(_) => Vec::new(),
        Err(error @ CatalogError::Faults(_)) => {
            let head = format!("{FILE}:1: ");
            let text = error.to_string();
            let lines = text.lines().map(|line| line.strip_prefix(&head).unwrap());
            lines.map(str::to_owned).collect()
        }
        Err(error @ CatalogError::Json(_)) => panic!("{error}"),
    }
}

fn changed(change: CatalogEdit) -> Value {
    let mut catalog: Value = serde_json::from_str(TEXT).unwrap();
    change(catalog["components"].as_array_mut().unwrap());
    catalog
}

fn entry<'a>(components: &'a mut [Value], name: &str) -> &'a mut Value {
    let mut components = components.iter_mut();
    components.find(|it| it["name"] == name).unwrap()
}

/// A service that has no fault, with this value in the place of one of its own.
fn echo(components: &mut Vec<Value>, name: &str, value: Value) {
    let mut echo = json!({
        "name": "echo", "kind": "service", "crate": "services/echo", "port": 8080,
        "routes": [{ "priority": 30, "path": "/echo" }],
    });
    echo[name] = value;
    components.push(echo);
}

fn route(components: &mut Vec<Value>, name: &str, value: Value) {
    let mut route = json!({ "priority": 30, "path": "/echo" });
    route[name] = value;
    echo(components, "routes", json!([route]));
}

fn call(components: &mut Vec<Value>, call: &Value) {
    echo(components, "calls", json!([call]));
}

/// What the schema can say too.
#[rustfmt::skip]
const OF_ONE_ENTRY: [(CatalogEdit, &str); 26] = [
    (|it| echo(it, "name", json!("Echo")),
     "components[3].name: `Echo` is not a name: use at most 15 characters of a-z, 0-9 and"),
    (|it| echo(it, "name", json!("abcdefghijklmnop")),
     "components[3].name: `abcdefghijklmnop` is not a name"),
    (|it| echo(it, "name", json!("ecs-execution")),
     "components[3].name: `ecs-execution` is the name of another resource of an"),
    (|it| echo(it, "name", json!("a-placeholder")),
     "components[3].name: `a-placeholder` is the name of another resource"),
    (|it| echo(it, "name", Value::Null),
     "components[3].name: expected a text"),
    (|it| echo(it, "kind", json!("job")),
     "components[3].kind: expected `service` or `function`"),
    (|it| echo(it, "crate", json!("../echo")),
     "components[3].crate: `../echo` is not a folder `services/...` of a-z, 0-9 and -"),
    (|it| echo(it, "port", json!(65536)),
     "components[3].port: expected a number from 1 to 65535"),
    (|it| echo(it, "colour", json!("blue")),
     "components[3].colour: unknown field; expected name, kind, crate, retired, port,"),
    (|it| echo(it, "checks", json!([])),
     "components[3].checks: unknown field"),
    (|it| echo(it, "retired", json!("yes")),
     "components[3].retired: expected true or false"),
    (|it| echo(it, "routes", json!([])),
     "components[3].routes: a service without the default route needs at least one route"),
    (|it| route(it, "priority", json!(50_001)),
     "components[3].routes[0].priority: expected a number from 1 to 50000"),
    (|it| route(it, "path", json!("echo")),
     "components[3].routes[0].path: `echo` is not a path"),
    (|it| route(it, "path", json!("/a b")),
     "components[3].routes[0].path: `/a b` is not a path"),
    (|it| route(it, "path", json!(format!("/{}", "a".repeat(128)))),
     "components[3].routes[0].path: "),
    (|it| route(it, "headers", json!({ "X Y": "a" })),
     "components[3].routes[0].headers: expected an object of at most 4 texts"),
    (|it| route(it, "headers", json!({ "A": "1", "B": "1", "C": "1", "D": "1", "E": "1" })),
     "components[3].routes[0].headers: "),
    (|it| route(it, "method", json!("GET")),
     "components[3].routes[0].method: unknown field; expected priority, path, exposed,"),
    (|it| echo(it, "secrets", json!(["api_key", "api_key"])),
     "components[3].secrets: `api_key` is there twice"),
    (|it| echo(it, "secrets", json!(["API_KEY"])),
     "components[3].secrets: expected a list of words"),
    (|it| echo(it, "alarms", json!({ "p99_ms": 0 })),
     "components[3].alarms.p99_ms: expected a number from 1 to 3600000"),
    (|it| call(it, &json!({ "service": "axon" })),
     "components[3].calls[0].path: expected a text"),
    (|it| call(it, &json!({ "function": "governance", "path": "/" })),
     "components[3].calls[0].path: a call of a function has no path: remove it"),
    (|it| entry(it, "governance")["checks"] = json!([]),
     "components[0].checks: a function needs at least one check"),
    (|it| entry(it, "governance")["checks"][0]["response"] = json!({}),
     "components[0].checks[0]: expected a `request`"),
];

/// What only all entries together show.
#[rustfmt::skip]
const OF_MORE: [(CatalogEdit, &str); 14] = [
    (|it| echo(it, "name", json!("governance")),
     "components[3].name: `governance` is the name of components[0] too: give one another"),
    (|it| echo(it, "crate", json!("services/axon")),
     "components[3].crate: `services/axon` is the crate of axon too: each has its own"),
    (|it| route(it, "priority", json!(20)),
     "components[3].routes[0].priority: 20 is the priority of a route of axon too: use"),
    (|it| route(it, "path", json!("/reason")),
     "components[3].routes[0]: /reason is a route of axon too: a request goes to one service"),
    (|it| {
        let headers = json!({ "x-service": "AXON" });
        let route = json!({ "priority": 30, "path": "/health", "headers": headers });
        echo(it, "routes", json!([route]));
     },
     "components[3].routes[0]: /health with x-service: AXON is a route of axon too"),
    (|it| echo(it, "default_route", json!(true)),
     "components[3].default_route: orbit has the default route already: set it to false"),
    (|it| {
        entry(it, "orbit")["default_route"] = json!(false);
        entry(it, "orbit")["routes"] = json!([{ "priority": 30, "path": "/" }]);
     },
     "components: one service has the `default_route`, and none has: set it in one"),
    (|it| call(it, &json!({ "service": "nobody", "path": "/" })),
     "components[3].calls[0]: there is no service `nobody`: remove the call, or add its"),
    (|it| call(it, &json!({ "function": "axon" })),
     "components[3].calls[0]: axon is a service: write `\"service\": \"axon\"`"),
    (|it| {
        let call = json!({ "service": "axon", "path": "/reason" });
        echo(it, "calls", json!([call, call]));
     },
     "components[3].calls[1]: axon is called in another entry of the list already"),
    (|it| entry(it, "axon")["retired"] = json!(true),
     "components[2].calls[0]: axon is retired: remove the call first"),
    (|it| call(it, &json!({ "service": "echo", "path": "/" })),
     "components[3].calls: echo calls echo: what is called is released before its"),
    (|it| entry(it, "axon")["calls"] = json!([{ "service": "orbit", "path": "/dispatch" }]),
     "components[1].calls: axon calls orbit, which calls axon: what is called is released"),
    (|it| {
        entry(it, "axon")["calls"] = json!([{ "service": "axon", "path": "/" }]);
        call(it, &json!({ "service": "orbit", "path": "/" }));
     },
     "components[1].calls: axon calls axon: "),
];

#[test]
fn each_fault_is_told_with_its_place_and_what_is_right() {
    for (change, expected) in OF_ONE_ENTRY.iter().chain(&OF_MORE) {
        let found = faults(*change);
        let [found] = &found[..] else {
            panic!("expected one fault, {expected}; found {found:?}");
        };
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(faults(|it| echo(it, "secrets", json!([]))), [""; 0]);
}

#[test]
fn the_schema_refuses_what_is_wrong_in_one_entry() {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (change, fault) in OF_ONE_ENTRY {
        assert!(!schema.is_valid(&changed(change)), "{fault}");
    }
    for (change, fault) in OF_MORE {
        assert!(schema.is_valid(&changed(change)), "{fault}");
    }
    assert!(schema.is_valid(&changed(|_| {})));
}

/// Each with the line of its own value, and none that follows from another.
#[test]
fn all_faults_are_told_at_once() {
    let text = TEXT
        .replacen("\"port\": 80", "\"port\": \"80\"", 1)
        .replace("\"name\": \"orbit\"", "\"name\": \"Orbit\"")
        .replace("\"priority\": 20", "\"priority\": 10")
        .replace("\"kind\": \"function\"", "\"kind\": \"lambda\"");
    let error = Catalog::parse(&text).unwrap_err();
    assert!(error.may_be_newer());
    let places = [
        "6: components[0].kind: ",
        "23: components[1].port: ",
        "26: components[1].routes[1].priority: ",
        "31: components[2].name: ",
    ];
    let text = error.to_string();
    assert_eq!(text.lines().count(), places.len(), "{text}");
    for (line, place) in text.lines().zip(places) {
        assert!(line.starts_with(&format!("{FILE}:{place}")), "{line}");
    }
}

#[test]
fn every_circle_of_calls_is_told() {
    let found = faults(|it| {
        call(it, &json!({ "service": "echo", "path": "/" }));
        entry(it, "axon")["calls"] = json!([{ "service": "orbit", "path": "/" }]);
    });
    let calls = |text: &str| found.iter().any(|it| it.contains(text));
    assert!(
        calls(": axon calls orbit, which calls axon:") && calls(": echo calls echo:"),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn what_a_newer_program_may_know_is_told_apart() {
    let may_be_newer = |change: fn(&mut Value)| {
        let mut catalog = changed(|_| {});
        change(&mut catalog);
        Catalog::parse(&catalog.to_string())
            .unwrap_err()
            .may_be_newer()
    };
    assert!(may_be_newer(|it| it["version"] = json!(2)));
    assert!(may_be_newer(|it| it["components"][1]["cpu"] = json!(256)));
    assert!(!may_be_newer(|it| it["components"][1]["port"] = json!(0)));
    assert!(!may_be_newer(|it| it["components"] = json!([])));
}

#[test]
fn what_is_called_comes_before_its_callers() {
    let names: Vec<_> = catalog().components().iter().map(|it| it.name()).collect();
    assert_eq!(names, ["governance", "axon", "orbit"]);
}
