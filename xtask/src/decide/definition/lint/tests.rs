//! One definition that no rule minds, and for every rule one that it does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{SERVICES, Service};
use crate::decide::definition::testing::definition;
use crate::decide::outputs;

fn facts() -> Facts {
    let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
    let image = ImageFacts {
        user: "65532:65532".into(),
        architecture: Architecture::X86,
        files: vec!["axon".into()],
        entrypoint: vec!["/axon".into()],
    };
    Facts {
        image: Some(image),
        rollout_seconds_max: Some(900),
        ..Facts::of(&outputs, Service::Axon)
    }
}

fn with_image(change: impl FnOnce(&mut ImageFacts)) -> Facts {
    let mut facts = facts();
    change(facts.image.as_mut().unwrap());
    facts
}

fn with_service(container_name: &str, container_port: u16) -> Facts {
    let service = ServiceFacts {
        container_name: container_name.into(),
        container_port,
    };
    Facts {
        service: Some(service),
        ..facts()
    }
}

/// The good definition with a value put in at each path; `null` is as good as taking one out.
/// A path that begins with a dot is below the first container.
fn broken(patch: &Value) -> Definition {
    let mut good = definition(Service::Axon).0;
    for (pointer, value) in patch.as_object().unwrap() {
        let whole = match pointer.strip_prefix('.') {
            Some(below) => format!("/containerDefinitions/0{below}"),
            None => pointer.clone(),
        };
        let (parent, key) = whole.rsplit_once('/').unwrap();
        match good.pointer_mut(parent).unwrap() {
            Value::Array(items) => items.insert(key.parse().unwrap(), value.clone()),
            parent => parent[key] = value.clone(),
        }
    }
    Definition(good)
}

/// What one rule says of a definition.
fn said(code: &str, definition: &Definition, facts: &Facts) -> Vec<String> {
    let findings = lint("axon", definition, facts);
    let found = findings.iter().filter(|finding| finding.code == code);
    found.map(ToString::to_string).collect()
}

#[test]
fn our_definitions_are_without_a_finding() {
    for service in SERVICES {
        let definition = definition(service);
        let mut facts = with_image(|image| image.files = vec![service.name().into()]);
        facts.service = with_service(service.name(), 80).service;
        assert_eq!(lint("axon", &definition, &facts), []);
        assert_eq!(lint("axon", &definition, &Facts::default()), []);
    }
}

/// A patch of the good definition, and what the rule that it breaks says of it.
fn cases() -> Vec<(Value, &'static str)> {
    let cases = include_str!("findings.txt").split("\n\n").map(|case| {
        let (patch, said) = case.trim().split_once('\n').unwrap();
        (serde_json::from_str(patch).unwrap(), said)
    });
    cases.collect()
}

#[test]
fn every_rule_finds_what_breaks_it() {
    for (patch, expected) in cases() {
        let code = expected.split(' ').nth(1).unwrap();
        assert_eq!(said(code, &broken(&patch), &facts()), [expected], "{patch}");
    }
}

#[test]
fn every_rule_has_a_case() {
    let of_facts = ["T21", "T24", "T27", "T33", "T41"];
    let cases = cases();
    let of_patches = cases
        .iter()
        .filter_map(|(_, expected)| expected.split(' ').nth(1));
    let tested: BTreeSet<&str> = of_patches.chain(of_facts).collect();
    assert_eq!(
        RULES.iter().map(|rule| rule.code).collect::<BTreeSet<_>>(),
        tested
    );
    assert!(RULES.is_sorted_by_key(|rule| rule.code));
}

#[test]
fn what_is_known_of_the_image_is_judged() {
    let good = definition(Service::Axon);
    let arm = with_image(|image| image.architecture = Architecture::Arm);
    assert_eq!(
        said("T27", &good, &arm),
        [
            "axon T27 error runtimePlatform.cpuArchitecture: it is X86_64, and the image is for ARM64 \
          (exec format error); write ARM64, or build for X86_64"
        ]
    );
    let shell =
        with_image(|image| image.entrypoint = ["/bin/sh", "-c", "/axon"].map(Into::into).into());
    assert_eq!(
        said("T33", &good, &shell),
        [
            "axon T33 warning containerDefinitions[0].image: the image's entrypoint runs a shell, \
          which runs the program (the shell does not pass SIGTERM on: every stop ends with SIGKILL); \
          write the entrypoint of the image as a list"
        ]
    );
}

#[test]
fn the_user_is_that_of_the_image_where_the_definition_has_none() {
    let unsaid = broken(&json!({ "./user": null }));
    assert_eq!(said("T24", &unsaid, &facts()), Vec::<String>::new());
    assert_eq!(
        said(
            "T24",
            &unsaid,
            &with_image(|image| image.user = "root".into())
        ),
        [
            "axon T24 warning containerDefinitions[0].user: there is none \
          (whoever breaks into it is root); write UID:GID, such as 65532:65532"
        ]
    );
    let privileged = broken(&json!({ "./user": null, "./systemControls": null }));
    assert_eq!(said("T23", &privileged, &facts()).len(), 1);
    assert_eq!(said("T23", &privileged, &Facts::default()).len(), 0);
}

#[test]
fn a_health_check_by_curl_needs_curl_and_a_shell() {
    let curl =
        broken(&json!({ "./healthCheck/command": ["CMD-SHELL", "curl -f localhost || exit 1"] }));
    assert_eq!(said("T18", &curl, &facts()).len(), 2);
    let there =
        with_image(|image| image.files = ["bin/sh", "/usr/bin/curl"].map(Into::into).into());
    assert_eq!(said("T18", &curl, &there).len(), 0);
    assert_eq!(said("T18", &curl, &Facts::default()).len(), 0);
}

#[test]
fn what_is_known_of_the_service_is_judged() {
    let good = definition(Service::Axon);
    assert_eq!(
        said(
            "T21",
            &good,
            &Facts {
                rollout_seconds_max: Some(30),
                ..facts()
            }
        ),
        [
            "axon T21 warning containerDefinitions[0].healthCheck: it takes 40 s to notice, \
          and a deploy waits 30 s (the deploy gives up before ECS has noticed); \
          write a shorter interval, fewer retries or a shorter startPeriod"
        ]
    );
    assert_eq!(
        said("T41", &good, &with_service("axon", 8080)),
        [
            "axon T41 error containerDefinitions[0].portMappings: the load balancer sends to port 8080, \
          which is not there (ECS refuses the service, or the load balancer answers 5xx); \
          write { \"containerPort\": 8080 }"
        ]
    );
    assert_eq!(
        said("T41", &good, &with_service("orbit", 80)),
        [
            "axon T41 error containerDefinitions: the load balancer sends to orbit, which is not there \
          (ECS refuses the service, or the load balancer answers 5xx); write a container named orbit"
        ]
    );
}

#[test]
fn containers_wait_only_for_what_can_happen() {
    let waits = |name: &str| json!([{ "containerName": name, "condition": "START" }]);
    let circle = broken(&json!({
        "./dependsOn": waits("proxy"),
        "/containerDefinitions/1": { "name": "proxy", "essential": false, "dependsOn": waits("axon") },
    }));
    assert_eq!(
        said("T28", &circle, &facts()),
        [
            "axon T28 error containerDefinitions: axon, proxy wait for each other \
          (ECS refuses it, or the task never starts); write dependsOn without a circle"
        ]
    );
    let heard = |condition: &str, check: Value| {
        let wait = json!([{ "containerName": "axon", "condition": condition }]);
        let proxy = json!({ "name": "proxy", "dependsOn": wait });
        let patch = json!({ "/containerDefinitions/1": proxy, "./healthCheck": check });
        said("T28", &broken(&patch), &facts()).len()
    };
    let check = json!({ "command": ["CMD", "/axon", "healthcheck"] });
    assert_eq!(heard("HEALTHY", check.clone()), 0);
    assert_eq!(heard("HEALTHY", Value::Null), 1);
    assert_eq!(heard("START", Value::Null), 0);
    assert_eq!(heard("COMPLETE", check), 1);
}

#[test]
fn an_unfilled_placeholder_is_not_judged_as_if_it_were_a_value() {
    let definition =
        broken(&json!({ "./image": "${AXON_IMAGE}", "/taskRoleArn": "${AXON_ROLE_ARN}" }));
    let findings = lint("axon", &definition, &facts());
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["T52", "T52"]);
}

#[test]
fn the_local_keys_are_no_credentials_and_no_value_is_shown() {
    let patch = |value: &str| {
        broken(&json!({ "./environment/1": { "name": "AWS_SECRET_ACCESS_KEY", "value": value } }))
    };
    assert_eq!(lint("axon", &patch("test"), &facts()), []);
    for value in ["hunter2", "hunter2${x}"] {
        let findings = lint("axon", &patch(value), &facts());
        assert_eq!(findings.len(), 1);
        assert!(
            !findings[0].to_string().contains("hunter2"),
            "{}",
            findings[0]
        );
    }
}
