//! What a plan shows of two definitions, and what it omits.

use serde_json::json;

use super::*;
use crate::catalog::testing::AXON;
use crate::decide::definition::testing::definition;

fn axon() -> Definition {
    definition(AXON)
}

fn changes(before: &Definition, after: &Definition) -> Vec<String> {
    diff(Some(before), after)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The definition as `DescribeTaskDefinition` returns it.
fn registered(definition: &Definition) -> Definition {
    let mut value = definition.0.clone();
    value["taskDefinitionArn"] =
        json!("arn:aws:ecs:us-east-1:000000000000:task-definition/demo-axon:4");
    value["revision"] = json!(4);
    value["status"] = json!("ACTIVE");
    value["registeredAt"] = json!(1_700_000_000.5);
    value["requiresAttributes"] = json!([{ "name": "ecs.capability.task-eni" }]);
    value["compatibilities"] = json!(["EC2", "FARGATE"]);
    value["placementConstraints"] = json!([]);
    value["volumes"] = json!([]);
    value["enableFaultInjection"] = json!(false);
    let container = &mut value["containerDefinitions"][0];
    container["cpu"] = json!(0);
    container["links"] = Value::Null;
    container["mountPoints"] = json!([]);
    container["volumesFrom"] = json!([]);
    container["privileged"] = json!(false);
    container["portMappings"][0]["hostPort"] = json!(80);
    container["logConfiguration"]["secretOptions"] = json!([]);
    container["linuxParameters"]["devices"] = json!([]);
    container["environment"].as_array_mut().unwrap().reverse();
    Definition(value)
}

#[test]
fn keys_that_ecs_adds_are_no_difference() {
    assert_eq!(changes(&registered(&axon()), &axon()), Vec::<String>::new());
    assert_eq!(changes(&axon(), &registered(&axon())), Vec::<String>::new());
}

#[test]
fn defaults_of_ecs_are_no_difference() {
    let mut explicit = axon();
    let container = &mut explicit.0["containerDefinitions"][0];
    container["healthCheck"] =
        json!({ "command": ["CMD", "/axon"], "interval": 30, "timeout": 5, "retries": 3 });
    let mut defaults = explicit.clone();
    let container = &mut defaults.0["containerDefinitions"][0];
    container["healthCheck"] = json!({ "command": ["CMD", "/axon"] });
    container["portMappings"] = json!([{ "containerPort": 80 }]);
    container["essential"] = Value::Null;
    assert_eq!(changes(&explicit, &defaults), Vec::<String>::new());
}

#[test]
fn every_change_is_shown() {
    let mut after = axon();
    after.0["memory"] = json!("1024");
    let container = &mut after.0["containerDefinitions"][0];
    container["memory"] = json!(900);
    container["image"] = json!(format!(
        "localhost:4577/demo/axon@sha256:{}",
        "f".repeat(64)
    ));
    container["environment"][0] = json!({ "name": "LOG_LEVEL", "value": "debug" });
    container["essential"] = json!(false);
    container["healthCheck"]["interval"] = json!(20);
    container["portMappings"] = json!([{ "containerPort": 8080 }]);
    container["linuxParameters"]["capabilities"]["drop"] = json!([]);
    container["readonlyRootFilesystem"] = json!(false);
    assert_eq!(
        changes(&registered(&axon()), &after),
        [
            "environment AWS_REGION: us-east-1 -> (none)",
            "environment LOG_LEVEL: (none) -> debug",
            "essential: (none) -> false",
            "healthCheck.interval: 5 -> 20",
            "image: sha256:0123456789ab -> sha256:ffffffffffff",
            "linuxParameters.capabilities.drop: [\"ALL\"] -> (none)",
            "container axon memory: (none) -> 900",
            "portMappings 80: present -> (none)",
            "portMappings 8080: (none) -> present",
            "readonlyRootFilesystem: true -> (none)",
            "memory: 512 -> 1024",
        ]
    );
}

#[test]
fn values_that_look_secret_are_not_shown() {
    let with = |value: &str| {
        let mut definition = axon();
        definition.0["containerDefinitions"][0]["environment"][0] =
            json!({ "name": "API_TOKEN", "value": value });
        definition
    };
    assert_eq!(
        changes(&with("hunter2"), &with("hunter3")),
        ["environment API_TOKEN: (not shown) -> (not shown)"]
    );
    let mut after = axon();
    after.0["containerDefinitions"][0]["secrets"][1]["valueFrom"] = json!("arn:b");
    let changes = changes(&axon(), &after);
    assert!(
        changes[0].ends_with("axon-AbCdEf:api_key:: -> arn:b"),
        "{changes:?}"
    );
}

#[test]
fn several_containers_are_distinguished() {
    let mut after = axon();
    let proxy = json!({ "name": "proxy", "image": "proxy@sha256:0123456789abcdef" });
    after.0["containerDefinitions"]
        .as_array_mut()
        .unwrap()
        .push(proxy);
    after.0["containerDefinitions"][0]["stopTimeout"] = json!(30);
    assert_eq!(
        changes(&axon(), &after),
        [
            "container axon stopTimeout: 25 -> 30",
            "container proxy: (none) -> present",
            "container proxy image: (none) -> proxy@sha256:0123456789ab",
        ]
    );
}

#[test]
fn a_first_definition_is_all_new() {
    let changes = diff(None, &axon());
    assert!(
        changes
            .iter()
            .all(|change| change.before.is_none() && change.after.is_some())
    );
    assert!(changes.iter().any(|change| change.path == "family"));
}
