//! `lint`: findings about templates and files, where they are, and what cannot be judged.

use xtask::catalog::Service;
use xtask::commands::lint::{DefinitionFile, LintOptions, explain, lint_files, lint_templates};
use xtask::decide::definition::lint::LaunchType;
use xtask::decide::environment::Environment;
use xtask::report::Format;

use crate::world::components::{AXON, ORBIT, SERVICES};
use crate::world::{CommandOutput, Fake};

const AXON_FILE: &str = "task-definitions/axon.json";
const ORBIT_FILE: &str = "task-definitions/orbit.json";
/// A health check that ECS rejects.
const WRONG_CHECK: [&str; 2] = ["\"CMD\",", "\"RUN\","];

/// A checkout whose environment is of a real account; nothing of it was ever applied.
fn checkout() -> Fake {
    let fake = Fake::empty();
    let file = r#"{ "project": "demo", "environment": "staging", "region": "eu-central-1",
        "account_id": "111122223333", "service_environment": { "orbit": { "ORBIT_COLOUR": "blue" } } }"#;
    fake.state().environment = Environment::parse("staging.tfvars.json", file).unwrap();
    fake
}

async fn lint(fake: &Fake, format: Format, services: &[Service]) -> CommandOutput {
    let options = LintOptions::default();
    fake.run_in(format, async |context| {
        let (source, report) = (context.source, context.report);
        lint_templates(
            source,
            context.catalog,
            context.environment,
            report,
            services,
            &options,
        )
        .await
    })
    .await
}

async fn lint_one(fake: &Fake, file: &str) -> CommandOutput {
    lint_with(fake, Format::Human, &[file], LintOptions::default()).await
}

async fn lint_with(
    fake: &Fake,
    format: Format,
    files: &[&str],
    options: LintOptions,
) -> CommandOutput {
    let files: Vec<DefinitionFile> = files
        .iter()
        .map(|path| DefinitionFile {
            path: (*path).to_owned(),
            is_found: path.ends_with("found.json"),
        })
        .collect();
    fake.run_in(format, async |context| {
        let (source, report) = (context.source, context.report);
        lint_files(source, context.environment, report, &files, &options).await
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn our_templates_are_clean_in_a_real_environment() {
    let fake = checkout();
    let output = lint(&fake, Format::Human, &SERVICES).await;
    assert_eq!(output.succeeds().data, "no findings\n");
    assert_eq!(output.talk, "");
    let output = lint(&fake, Format::Json, &[AXON]).await;
    assert_eq!(output.succeeds().data, "[]\n");
}

#[tokio::test(start_paused = true)]
async fn our_templates_are_clean_in_every_partition() {
    let fake = checkout();
    for region in ["us-gov-west-1", "cn-north-1"] {
        fake.state().environment.region = region.to_owned();
        let output = lint(&fake, Format::Human, &SERVICES).await;
        assert_eq!(output.succeeds().data, "no findings\n", "{region}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_printed_and_ends_with_10() {
    let fake = checkout();
    fake.edit_template(AXON, WRONG_CHECK[0], WRONG_CHECK[1]);
    let output = lint(&fake, Format::Human, &SERVICES).await;
    output.fails(10).says(&["lint found 1 error"]);
    let template = fake.state().templates[AXON_FILE].clone();
    let mut lines = template.lines();
    let line = lines
        .position(|line| line.contains("\"command\": [\"RUN\""))
        .unwrap()
        + 1;
    let expected = format!(
        "axon:{line}:20 T20 error containerDefinitions[0].healthCheck.command: \
         not CMD or CMD-SHELL followed by a command (ECS rejects it, or the check has no effect); \
         set [\"CMD\", \"/PROGRAM\", \"healthcheck\"]\n"
    );
    assert_eq!(output.data, expected);
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_annotated_at_its_line_of_the_template() {
    let fake = checkout();
    fake.edit_template(AXON, WRONG_CHECK[0], WRONG_CHECK[1]);
    let template = fake.state().templates[AXON_FILE].clone();
    let mut lines = template.lines();
    let line = lines.position(|line| line.contains("\"command\": [\"RUN\""));
    let output = lint(&fake, Format::Github, &SERVICES).await;
    let expected = format!(
        "::error file={AXON_FILE},line={line}::axon:{line}:20 T20 error ",
        line = line.unwrap() + 1
    );
    output.fails(10);
    assert!(output.talk.starts_with(&expected), "{}", output.talk);
}

#[tokio::test(start_paused = true)]
async fn settings_of_the_environment_file_are_judged_too() {
    let fake = checkout();
    let setting = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    fake.state().environment.service_environment = [
        (AXON, setting("API_KEY", "k")),
        (ORBIT, setting("A_TOKEN", "t")),
    ]
    .into();
    let output = lint(&fake, Format::Human, &SERVICES).await;
    output.fails(10).says(&[
        "task-definitions/axon.json: `API_KEY` is set by the environment and is a secret of the \
         template (containerDefinitions[0].secrets[1].name)",
    ]);
    // It is a setting of the environment, which the template has no line for.
    let list = fake.state().templates[ORBIT_FILE].clone();
    let line = list
        .lines()
        .position(|line| line.contains("\"environment\""))
        .unwrap()
        + 1;
    let found = output
        .data
        .starts_with(&format!("orbit:{line}:22 T11 warning "));
    assert!(found, "{}", output.data);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_cannot_be_rendered_leaves_the_other_one_judged() {
    let fake = checkout();
    fake.edit_template(AXON, "${LOG_GROUP}", "${LOGS}");
    fake.edit_template(ORBIT, "\"awsvpc\"", "\"bridge\"");
    let output = lint(&fake, Format::Human, &SERVICES).await;
    output.fails(10).says(&[
        "task-definitions/axon.json: no value for placeholder `${LOGS}` \
         (containerDefinitions[0].logConfiguration.options.awslogs-group); \
         unused value `LOG_GROUP`",
    ]);
    let found = output
        .data
        .starts_with("orbit:5:18 T02 error networkMode: ");
    assert!(found, "{}", output.data);
}

#[tokio::test(start_paused = true)]
async fn the_placeholders_of_a_template_are_found_in_a_file() {
    let fake = checkout();
    let output = lint_one(&fake, AXON_FILE).await;
    let lines = output.fails(10).data.lines();
    let template = fake.state().templates[AXON_FILE].clone();
    let lines_of: Vec<usize> = lines
        .map(|finding| {
            let place = finding.strip_prefix(&format!("{AXON_FILE}:")).unwrap();
            assert!(place.contains(" T52 error "), "{finding}");
            place.split(':').next().unwrap().parse().unwrap()
        })
        .collect();
    let placeholders = template.lines().enumerate();
    let expected: Vec<usize> = placeholders
        .flat_map(|(index, line)| line.matches("${").map(move |_| index + 1))
        .collect();
    assert_eq!(lines_of, expected);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_compared_where_the_user_said_which() {
    let fake = checkout();
    let definition = r#"{ "family": "a", "executionRoleArn": "arn:aws:iam::444455556666:role/x",
        "containerDefinitions": [{ "name": "a", "image": "nginx:1", "memory": 64 }] }"#;
    add(&fake, "a.json", definition);
    let by_default = lint_one(&fake, "a.json").await;
    let advice = "a.json advice 5 of T19 T24 T25 T34 T37; --advice tells them\n";
    assert_eq!(by_default.succeeds().data, advice);
    let options = LintOptions {
        is_for_environment: true,
        ..LintOptions::default()
    };
    let said = lint_with(&fake, Format::Human, &["a.json"], options).await;
    assert!(
        said.fails(10)
            .data
            .starts_with("a.json:1:38 T53 error executionRoleArn: ")
    );
}

#[tokio::test(start_paused = true)]
async fn advice_is_told_where_it_is_asked_for() {
    let fake = checkout();
    let definition = r#"{ "family": "a", "networkMode": "host",
        "containerDefinitions": [{ "name": "a", "image": "nginx:1", "memory": 64 }] }"#;
    add(&fake, "a.json", definition);
    let options = LintOptions {
        advice: true,
        ..LintOptions::default()
    };
    let output = lint_with(&fake, Format::Human, &["a.json"], options).await;
    let lines: Vec<&str> = output.succeeds().data.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines.iter().all(|line| line.contains(" advice ")),
        "{lines:?}"
    );
    let as_fargate = LintOptions {
        launch_type: Some(LaunchType::Fargate),
        ..LintOptions::default()
    };
    let output = lint_with(&fake, Format::Json, &["a.json"], as_fargate).await;
    let found: serde_json::Value = serde_json::from_str(&output.fails(10).data).unwrap();
    let places: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["json_path"].as_str().unwrap(),
                it["line"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(places, [("networkMode", 1), ("cpu", 1), ("memory", 1)]);
}

#[tokio::test(start_paused = true)]
async fn other_files_of_a_folder_are_left_alone() {
    let fake = checkout();
    add(&fake, "found.json", r#"{ "name": "package" }"#);
    assert_eq!(
        lint_one(&fake, "found.json").await.succeeds().data,
        "no findings\n"
    );
    add(&fake, "a.json", r#"{ "name": "package" }"#);
    let output = lint_with(
        &fake,
        Format::Human,
        &["found.json", "a.json"],
        LintOptions::default(),
    )
    .await;
    let expected = "a.json:1:1 T00 error : not a task definition: neither containerDefinitions nor \
        taskDefinition (the AWS CLI reads none of it); write a definition in JSON\n";
    assert_eq!(output.fails(10).data, expected);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_missing_or_broken_is_one_error() {
    let fake = checkout();
    let missing = lint_one(&fake, "x.json").await;
    missing.fails(2).says(&["read x.json: no such file"]);
    let broken = "{\n  \"family\": oops\n}".to_owned();
    fake.state().templates.insert(AXON_FILE.to_owned(), broken);
    let broken = lint_one(&fake, AXON_FILE).await;
    let says = format!("{AXON_FILE}:2:13 T00 error : expected value ");
    assert!(broken.fails(10).data.starts_with(&says), "{}", broken.data);
}

fn add(fake: &Fake, file: &str, text: &str) {
    fake.state()
        .templates
        .insert(file.to_owned(), text.to_owned());
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_not_told() {
    let fake = checkout();
    fake.edit_template(AXON, WRONG_CHECK[0], WRONG_CHECK[1]);
    let path = "containerDefinitions[0].healthCheck.command";
    let accepted = |path: &str| {
        let entry = format!(r#"[{{ "code": "T20", "path": "{path}", "reason": "so" }}]"#);
        add(&fake, "task-definitions/lint-suppressions.json", &entry);
    };
    accepted(path);
    let output = lint(&fake, Format::Human, &SERVICES).await;
    assert_eq!(output.succeeds().data, "no findings\n");
    accepted("cpu");
    let output = lint(&fake, Format::Human, &SERVICES).await;
    let unused = "task-definitions/lint-suppressions.json:1:2 T72 warning [0]: T20 finds nothing at \
        cpu (it would hide the next fault); remove it";
    let lines = output
        .fails(10)
        .data
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert_eq!(lines[1..], [unused]);
    // Of one service alone it may be about the other.
    let output = lint(&fake, Format::Human, &[ORBIT]).await;
    assert_eq!(output.succeeds().data, "no findings\n");
    add(&fake, "task-definitions/lint-suppressions.json", "[{}]");
    let output = lint(&fake, Format::Human, &SERVICES).await;
    output
        .fails(10)
        .says(&["task-definitions/lint-suppressions.json: missing field `code`"]);
}

#[tokio::test(start_paused = true)]
async fn findings_are_one_log_of_sarif() {
    let fake = checkout();
    fake.edit_template(AXON, WRONG_CHECK[0], WRONG_CHECK[1]);
    let output = lint(&fake, Format::Sarif, &SERVICES).await;
    let log: serde_json::Value = serde_json::from_str(&output.fails(10).data).unwrap();
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "T20");
    assert_eq!(result["level"], "error");
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], "T20");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], AXON_FILE);
    assert_eq!(place["region"]["startColumn"], 20);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_explained() {
    let fake = checkout();
    let explained = async |code: &str| {
        fake.run(async |context| Ok(explain(code, context.report)?))
            .await
    };
    let output = explained("t05").await;
    let page = &output.succeeds().data;
    assert!(
        page.starts_with("T05 A reference to a secret has 7 or 10 parts\n\nerror. "),
        "{page}"
    );
    assert!(page.contains("\nWrong:\n") && page.contains("\nRight:\n"));
    explained("T99")
        .await
        .fails(2)
        .says(&["there is no rule T99; there are T00 T01 "]);
}
