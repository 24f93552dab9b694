//! What the variables of a definition are compared with.

use super::*;

const OF_EVERY_SERVICE: &str = include_str!("../../../../../../services/kit/settings.json");

/// What a service with this prefix reads, of itself nothing besides.
pub(super) fn of(prefix: &str) -> ProgramSettings {
    ProgramSettings::parse(&OF_EVERY_SERVICE.replace("<NAME>", prefix))
}

fn of_axon() -> ProgramSettings {
    of("AXON")
}

/// Codes and paths without the container's, of a definition with this patch.
fn found(settings: &ProgramSettings, patch: &Value) -> Vec<String> {
    let facts = Facts {
        settings: Some(settings.clone()),
        extra_variables: ["GIVEN".to_owned()].into(),
        ..facts()
    };
    let of_settings = ["T78", "T79", "T80", "T81"];
    let findings = lint("axon", &broken(patch), &facts);
    let findings = findings.iter().filter(|it| of_settings.contains(&it.code));
    findings
        .map(|it| {
            let place = it.json_path.replace("containerDefinitions[0].", "");
            format!("{} {place}: {}", it.code, it.reason)
        })
        .collect()
}

fn variables(of: &[(&str, &str)]) -> Value {
    let list = of
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }));
    json!({ "./environment": list.collect::<Vec<_>>() })
}

#[test]
fn a_definition_of_this_repository_has_no_finding() {
    assert_eq!(found(&of_axon(), &json!({})), [""; 0]);
}

#[test]
fn a_wrong_value_is_found_and_where_the_program_passes_it_over_it_is_a_warning() {
    let patch = variables(&[("PORT", "65536"), ("METRICS", "on"), ("DRAIN_MS", "")]);
    assert_eq!(
        found(&of_axon(), &patch),
        [
            "T78 environment[0].value: PORT is \"65536\" (the program does not take it)",
            "T78 environment[1].value: METRICS is \"on\" (the program does not take it)",
        ]
    );
    let facts = Facts {
        settings: Some(of_axon()),
        ..facts()
    };
    let severity = |name, value| {
        let findings = lint("axon", &broken(&variables(&[(name, value)])), &facts);
        findings
            .iter()
            .find(|it| it.code == "T78")
            .map(|it| it.severity)
    };
    assert_eq!(
        severity("OTEL_TRACES_SAMPLER", "xray"),
        Some(Severity::Warning)
    );
    assert_eq!(
        severity("OTEL_TRACES_SAMPLER_ARG", "2"),
        Some(Severity::Warning)
    );
    assert_eq!(severity("DRAIN_MS", "2s"), Some(Severity::Error));
    assert_eq!(severity("OTEL_TRACES_SAMPLER", "always_on"), None);
}

#[test]
fn a_text_has_the_form_that_the_program_says() {
    let settings = ProgramSettings::parse(include_str!(
        "../../../../../../services/orbit/settings.json"
    ));
    let given = [
        ("RUST_LOG", "info,="),
        ("LOG_RAISED", "debug"),
        ("AXON_CONNECT_TO", "axon"),
        ("GOVERNANCE_FUNCTION_NAME", "demo-governance"),
    ];
    let found = found(&settings, &variables(&given));
    let values = found.iter().filter(|it| it.starts_with("T78 "));
    let told = |place, what| format!("T78 {place}.value: {what} (the program does not take it)");
    assert!(
        values.eq(&[
            told("environment[0]", "RUST_LOG is \"info,=\""),
            told("environment[2]", "AXON_CONNECT_TO is \"axon\""),
            told(
                "environment[3]",
                "GOVERNANCE_FUNCTION_NAME is \"demo-governance\""
            ),
        ]),
        "{found:?}"
    );
}

#[test]
fn what_is_needed_is_missed_unless_it_may_be_in_a_file() {
    let settings = ProgramSettings::parse(
        r#"[
        {"name": "NEEDED", "type": "text", "required": true},
        {"name": "A", "type": "text", "instead_of": "B", "needs": ["NEEDED"]},
        {"name": "B", "type": "text", "instead_of": "A"},
        {"name": "DATABASE_URL", "type": "text"},
        {"name": "API_KEY", "type": "text", "needs": ["B"]}
    ]"#,
    );
    let reasons = |of: &[(&str, &str)]| {
        let found = found(&settings, &variables(of));
        let reason = |it: &String| it.replace(" (the program does not start)", "");
        found.iter().map(reason).collect::<Vec<_>>()
    };
    // The secrets of the definition count as set.
    let api_key = "T79 environment: B is not set, which API_KEY needs";
    assert_eq!(
        reasons(&[("A", "")]),
        [
            "T79 environment: NEEDED is not set",
            "T79 environment: neither A nor B is set",
            api_key,
        ]
    );
    assert_eq!(
        reasons(&[("A", "1")]),
        [
            "T79 environment: NEEDED is not set",
            "T79 environment: NEEDED is not set, which A needs",
            api_key,
        ]
    );
    assert_eq!(
        reasons(&[("A", "1"), ("B", "1"), ("NEEDED", "1")]),
        ["T79 environment: A and B are set"]
    );
    assert_eq!(reasons(&[("B", "1"), ("NEEDED", "1")]), [""; 0]);
    let file = json!({ "./environmentFiles": [{ "value": "arn:aws:s3:::b/a.env", "type": "s3" }],
        "./environment": [] });
    assert_eq!(found(&settings, &file), [""; 0]);
}

#[test]
fn an_unknown_name_is_found_but_not_where_the_environment_gives_it() {
    let patch = variables(&[("DRAIN_MSS", "1"), ("OTHER", "1"), ("GIVEN", "1")]);
    let found = found(&of_axon(), &patch);
    let expected = ["T80 environment[0].name", "T80 environment[1].name"];
    let places: Vec<_> = found
        .iter()
        .map(|it| it.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, expected);
}

#[test]
fn of_a_document_that_is_half_right_the_right_half_counts() {
    let settings = ProgramSettings::parse(
        r#"[{"name": "PORT", "type": "integer", "minimum": 0}, {"name": "DRAIN_MS"}]"#,
    );
    let found = found(&settings, &variables(&[("PORT", "x"), ("UNKNOWN", "1")]));
    let codes: Vec<_> = found.iter().map(|it| &it[..3]).collect();
    assert_eq!(codes, ["T78", "T81"], "{found:?}");
    assert!(found[1].contains("[1]: missing field `type`"), "{found:?}");
}
