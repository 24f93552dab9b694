//! `lint` compares the variables of a template with what the service's program reads.

use super::program::{Bare, stdout};

const TEMPLATE: &str = "task-definitions/axon.json";
const SETTINGS: &str = "services/axon/settings.json";

/// The exit code, and what is said.
fn linted(bare: &Bare) -> (Option<i32>, String) {
    let output = bare.run(&["lint", "axon"]);
    (output.status.code(), stdout(&output))
}

#[test]
fn each_difference_is_found_before_anything_runs() {
    let bare = Bare::new("settings");
    let template = bare.read(TEMPLATE);
    assert_eq!(linted(&bare), (Some(0), "no findings\n".to_owned()));
    for (from, to, code, told) in [
        (
            r#""DEADLINE_MS", "value": "10000""#,
            r#""DEADLINE_MS", "value": "10s""#,
            10,
            [" T78 error ", ".value: DEADLINE_MS is \"10s\""],
        ),
        (
            r#"{ "name": "AWS_REGION", "value": "${AWS_REGION}" },"#,
            "",
            10,
            [
                " T79 error ",
                ".environment: AWS_REGION is not set, which AXON_SECRET_ARN needs",
            ],
        ),
        (
            r#""DEADLINE_MS", "value""#,
            r#""DEADLINES_MS", "value""#,
            0,
            [
                " T80 warning ",
                "reads no DEADLINES_MS (it has no effect); set DEADLINE_MS",
            ],
        ),
        (
            r#""name": "API_KEY""#,
            r#""name": "API_TOKEN""#,
            0,
            [
                " T80 warning ",
                ".secrets[1].name: the program reads no API_TOKEN",
            ],
        ),
    ] {
        let changed = template.replacen(from, to, 1);
        assert_ne!(changed, template);
        bare.write(TEMPLATE, &changed);
        let (exit_code, said) = linted(&bare);
        assert!(told.iter().all(|told| said.contains(told)), "{said}");
        assert_eq!((exit_code, said.lines().count()), (Some(code), 1), "{said}");
    }
}

#[test]
fn a_document_that_is_half_right_counts_as_far_as_it_goes() {
    let bare = Bare::new("settings-half");
    let template = bare.read(TEMPLATE);
    let wrong = template.replacen(r#""10000""#, r#""soon""#, 1);
    bare.write(TEMPLATE, &wrong.replacen("METRICS_NAMESPACE", "OTHER", 1));
    let document = r#"[
        {"name": "DEADLINE_MS", "type": "integer", "minimum": 1},
        {"name": "PORT", "type": "integer", "minimum": "none"}
    ]"#;
    bare.write(SETTINGS, document);
    let (exit_code, said) = linted(&bare);
    let codes: Vec<&str> = said.lines().filter_map(|it| it.split(' ').nth(1)).collect();
    assert_eq!(
        (exit_code, &codes[..]),
        (Some(10), &["T78", "T81"][..]),
        "{said}"
    );

    bare.write(SETTINGS, "[");
    let (exit_code, said) = linted(&bare);
    assert!(said.contains(" T81 warning "), "{said}");
    assert_eq!((exit_code, said.lines().count()), (Some(0), 1), "{said}");
}
