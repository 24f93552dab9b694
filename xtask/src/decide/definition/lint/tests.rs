//! A definition without findings, and for every rule one that it finds a fault of.

mod cases;
mod limits;
mod pages;
mod settings;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::catalog::testing::{AXON, SERVICES};
use crate::decide::definition::testing::definition;
use crate::decide::outputs::{self, Architecture};

fn facts() -> Facts {
    let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
    let image = ImageFacts {
        user: "65532:65532".into(),
        architecture: Architecture::X86,
        files: vec!["axon".into(), "app".into()],
        not_executable: vec!["data".into()],
        entrypoint: vec!["/axon".into()],
        command: Vec::new(),
        setuid: Vec::new(),
        leaks: Vec::new(),
        bytes: 0,
        layers_unread: 0,
    };
    Facts {
        image: Some(image),
        rollout_seconds_max: Some(900),
        ..Facts::of(&outputs, AXON)
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

/// The good definition with the value of each path replaced; `null` removes it. A path that begins
/// with a dot is relative to the first container.
fn broken(patch: &Value) -> Definition {
    patched(definition(AXON).0, patch)
}

fn patched(mut good: Value, patch: &Value) -> Definition {
    for (pointer, value) in patch.as_object().unwrap() {
        let whole = match pointer.strip_prefix('.') {
            Some(below) => format!("/containerDefinitions/0{below}"),
            None => pointer.clone(),
        };
        let (parent, key) = whole.rsplit_once('/').unwrap();
        match good.pointer_mut(parent).unwrap() {
            Value::Array(items) => items.insert(key.parse().unwrap(), value.clone()),
            Value::Object(members) if value.is_null() => drop(members.remove(key)),
            parent => parent[key] = value.clone(),
        }
    }
    Definition(good)
}

/// The findings of one rule.
fn findings_of(code: &str, definition: &Definition, facts: &Facts) -> Vec<String> {
    let findings = lint("axon", definition, facts);
    let found = findings.iter().filter(|finding| finding.code == code);
    found.map(ToString::to_string).collect()
}

#[test]
fn definitions_of_this_repository_have_no_findings() {
    for service in SERVICES {
        let definition = definition(service);
        let mut facts = with_image(|image| {
            image.files = vec![service.name().into()];
            image.entrypoint = vec![format!("/{service}")];
        });
        facts.service = with_service(service.name(), 80).service;
        assert_eq!(lint("axon", &definition, &facts), []);
        assert_eq!(lint("axon", &definition, &Facts::default()), []);
    }
}

/// Patches of the good definition, and the finding that each causes.
fn cases() -> Vec<(Value, &'static str)> {
    let cases = include_str!("findings.txt").split("\n\n").map(|case| {
        let (patch, finding) = case.trim().split_once('\n').unwrap();
        (serde_json::from_str(patch).unwrap(), finding)
    });
    cases.collect()
}

#[test]
fn every_rule_finds_its_fault() {
    let mut wrong = Vec::new();
    for (patch, expected) in cases() {
        let code = expected.split(' ').nth(1).unwrap();
        let found = findings_of(code, &broken(&patch), &facts());
        if found != [expected] {
            wrong.push(format!("{patch}\n{}\n{expected}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_rule_has_a_case() {
    let of_facts = [
        "T21", "T24", "T27", "T33", "T41", "T73", "T74", "T75", "T76", "T77", "T78", "T79", "T80",
        "T81",
    ]
    .map(str::to_owned);
    let cases = cases();
    let of_patches = cases
        .iter()
        .filter_map(|(_, expected)| expected.split(' ').nth(1).map(str::to_owned));
    let tested: BTreeSet<String> = of_patches.chain(of_facts).chain(cases::codes()).collect();
    let untested = RULES.iter().filter(|rule| !tested.contains(rule.code));
    assert_eq!(untested.map(|rule| rule.code).collect::<Vec<_>>(), [""; 0]);
    assert!(RULES.is_sorted_by_key(|rule| rule.code));
}

#[test]
fn rules_about_the_image_read_its_facts() {
    let good = definition(AXON);
    let arm = with_image(|image| image.architecture = Architecture::Arm);
    assert_eq!(
        findings_of("T27", &good, &arm),
        [
            "axon T27 error runtimePlatform.cpuArchitecture: X86_64, but the image is for ARM64 \
          (exec format error); set ARM64, or build for X86_64"
        ]
    );
    let shell =
        with_image(|image| image.entrypoint = ["/bin/sh", "-c", "/axon"].map(Into::into).into());
    assert_eq!(
        findings_of("T33", &good, &shell),
        [
            "axon T33 warning containerDefinitions[0].image: the image's entrypoint runs a shell, \
          which runs the program (the shell does not pass SIGTERM on: every stop ends with SIGKILL); \
          declare the entrypoint of the image as a list"
        ]
    );
}

#[test]
fn what_is_run_is_in_the_image() {
    let found = |patch: Value, facts: &Facts| {
        let found = lint("axon", &broken(&patch), facts).into_iter();
        let found: Vec<String> = found
            .filter(|finding| finding.code == "T73")
            .map(|finding| format!("{}: {}", finding.json_path, finding.reason))
            .collect();
        found
    };
    let why = "(the task stops at its start)";
    let container = "containerDefinitions[0]";
    let none = Vec::<String>::new();
    assert_eq!(found(json!({}), &facts()), none);
    assert_eq!(found(json!({ "./command": ["nosuch"] }), &facts()), none);
    let nosuch = json!({ "./entryPoint": ["/nosuch"] });
    assert_eq!(found(nosuch.clone(), &Facts::default()), none);
    let told = format!("{container}.entryPoint: the image has no /nosuch {why}");
    assert_eq!(found(nosuch, &facts()), [told]);
    let data = with_image(|image| image.files.push("data".into()));
    let told = format!("{container}.entryPoint: nobody may run /data of the image {why}");
    assert_eq!(found(json!({ "./entryPoint": ["/data"] }), &data), [told]);
    let empty = with_image(|image| image.entrypoint.clear());
    let told =
        format!("{container}.command: neither the definition nor the image says what to run {why}");
    assert_eq!(found(json!({}), &empty), [told]);
    let told = format!("{container}.command: the image has no sh {why}");
    assert_eq!(
        found(json!({ "./command": ["sh", "-c", "exec x"] }), &empty),
        [told]
    );
}

#[test]
fn what_an_image_holds_is_told() {
    let image = with_image(|image| {
        image.leaks = vec!["a private key in /key.pem".into()];
        image.setuid = ["bin/su", "bin/mount"].map(Into::into).into();
        image.bytes = 501_000_000;
    });
    let findings = |facts: &Facts| -> Vec<String> {
        let found = lint("axon", &definition(AXON), facts);
        let found = found.iter();
        found
            .map(|it| format!("{} {}", it.code, it.reason))
            .collect()
    };
    assert_eq!(findings(&facts()), Vec::<String>::new());
    assert_eq!(
        findings(&image),
        [
            "T74 the image holds a private key in /key.pem (whoever can pull the image can read it)",
            "T75 2 files run as their owner, such as bin/su, bin/mount \
             (they raise the rights of whoever gets into the container)",
            "T76 the image has 501 MB (each start of a task pulls it)",
        ]
    );
}

#[test]
fn each_container_that_uses_the_image_is_judged() {
    let container =
        |name: &str, image: &str| json!({ "name": name, "image": image, "command": ["nosuch"] });
    let judged = |first: &str, name: Option<&str>| -> Vec<String> {
        let patch = json!({
            "./image": first,
            "/containerDefinitions/1": container("same", "demo:1"),
            "/containerDefinitions/2": container("other", "other:1"),
            "/containerDefinitions/3": container("same2", "demo:1"),
        });
        let mut facts = with_image(|image| image.entrypoint.clear());
        facts.image_name = name.map(str::to_owned);
        let found = lint("axon", &broken(&patch), &facts).into_iter();
        let found = found.filter(|finding| finding.code == "T73");
        found
            .map(|finding| finding.json_path["containerDefinitions".len()..][..3].to_owned())
            .collect()
    };
    assert_eq!(judged("demo:1", None), ["[0]", "[1]", "[3]"]);
    assert_eq!(judged("mine", None), ["[0]"]);
    assert_eq!(judged("mine", Some("demo:1")), ["[1]", "[3]"]);
    assert_eq!(judged("mine", Some("nosuch")), ["[0]"]);
}

#[test]
fn nothing_is_said_of_files_in_layers_that_could_not_be_read() {
    let image = with_image(|image| {
        image.files.clear();
        image.layers_unread = 2;
    });
    let found = lint("axon", &definition(AXON), &image);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "axon T77 warning containerDefinitions[0].image: layers compressed by zstd: 2 \
          (rules about its files find nothing); check an image with layers of gzip"
        ]
    );
}

#[test]
fn the_user_defaults_to_that_of_the_image() {
    let unset = broken(&json!({ "./user": null }));
    assert_eq!(findings_of("T24", &unset, &facts()), Vec::<String>::new());
    assert_eq!(
        findings_of(
            "T24",
            &unset,
            &with_image(|image| image.user = "root".into())
        ),
        ["axon T24 advice containerDefinitions[0].user: not set \
          (an attacker in the container is root); set UID:GID, such as 65532:65532"]
    );
    let privileged = broken(&json!({ "./user": null, "./systemControls": null }));
    assert_eq!(findings_of("T23", &privileged, &facts()).len(), 1);
    assert_eq!(findings_of("T23", &privileged, &Facts::default()).len(), 0);
}

#[test]
fn a_health_check_with_curl_needs_curl_and_a_shell() {
    let curl =
        broken(&json!({ "./healthCheck/command": ["CMD-SHELL", "curl -f localhost || exit 1"] }));
    assert_eq!(findings_of("T18", &curl, &facts()).len(), 2);
    let there =
        with_image(|image| image.files = ["bin/sh", "/usr/bin/curl"].map(Into::into).into());
    assert_eq!(findings_of("T18", &curl, &there).len(), 0);
    assert_eq!(findings_of("T18", &curl, &Facts::default()).len(), 0);
}

#[test]
fn rules_about_the_service_read_its_facts() {
    let good = definition(AXON);
    assert_eq!(
        findings_of(
            "T21",
            &good,
            &Facts {
                rollout_seconds_max: Some(20),
                ..facts()
            }
        ),
        [
            "axon T21 warning containerDefinitions[0].healthCheck: a failure takes 25 s to detect, \
          and a deploy waits 20 s (the deploy times out before ECS reports the failure); \
          use a shorter interval, fewer retries or a shorter startPeriod"
        ]
    );
    assert_eq!(
        findings_of("T41", &good, &with_service("axon", 8080)),
        [
            "axon T41 error containerDefinitions[0].portMappings: the load balancer sends to port 8080, \
          which is not mapped (ECS rejects the service, or the load balancer answers 5xx); \
          set { \"containerPort\": 8080 }"
        ]
    );
    assert_eq!(
        findings_of("T41", &good, &with_service("orbit", 80)),
        [
            "axon T41 error containerDefinitions: the load balancer sends to container orbit, which does not exist \
          (ECS rejects the service, or the load balancer answers 5xx); name a container orbit"
        ]
    );
}

#[test]
fn dependencies_must_be_satisfiable() {
    let waits = |name: &str| json!([{ "containerName": name, "condition": "START" }]);
    let circle = broken(&json!({
        "./dependsOn": waits("proxy"),
        "/containerDefinitions/1": { "name": "proxy", "essential": false, "dependsOn": waits("axon") },
    }));
    assert_eq!(
        findings_of("T28", &circle, &facts()),
        [
            "axon T28 error containerDefinitions: axon, proxy depend on each other \
          (ECS rejects it, or the task never starts); remove the cycle from dependsOn"
        ]
    );
    let findings = |condition: &str, check: Value| {
        let wait = json!([{ "containerName": "axon", "condition": condition }]);
        let proxy = json!({ "name": "proxy", "dependsOn": wait });
        let patch = json!({ "/containerDefinitions/1": proxy, "./healthCheck": check });
        findings_of("T28", &broken(&patch), &facts()).len()
    };
    let check = json!({ "command": ["CMD", "/axon", "healthcheck"] });
    assert_eq!(findings("HEALTHY", check.clone()), 0);
    assert_eq!(findings("HEALTHY", Value::Null), 1);
    assert_eq!(findings("START", Value::Null), 0);
    assert_eq!(findings("COMPLETE", check), 1);
}

#[test]
fn an_unresolved_placeholder_has_one_finding() {
    let definition =
        broken(&json!({ "./image": "${AXON_IMAGE}", "/taskRoleArn": "${AXON_ROLE_ARN}" }));
    let of = |is_rendered| {
        let facts = Facts {
            is_rendered,
            ..facts()
        };
        let findings = lint("axon", &definition, &facts).into_iter();
        findings.map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(of(false), ["T52", "T52"]);
    // A rendered definition has `${` only where the template says `$${`.
    assert_eq!(of(true), ["T25", "T53", "T59"]);
}

#[test]
fn values_of_credentials_are_never_shown() {
    let patch = |value: &str| {
        broken(&json!({ "./environment/1": { "name": "AWS_SECRET_ACCESS_KEY", "value": value } }))
    };
    for (value, codes) in [
        ("hunter2", vec!["T11"]),
        ("hunter2${x}", vec!["T11", "T52"]),
    ] {
        let findings = lint("axon", &patch(value), &Facts::default());
        let found: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(found, codes);
        let is_shown = |finding: &Finding| finding.to_string().contains("hunter2");
        assert!(!findings.iter().any(is_shown), "{findings:?}");
    }
}
