//! `lint`: findings about templates and files, where they are, and what cannot be judged.

use std::path::Path;

use xtask::catalog::Service;
use xtask::commands::lint::{lint_file, lint_templates};
use xtask::decide::environment::Environment;
use xtask::report::Format;

use crate::world::components::{AXON, ORBIT, SERVICES};
use crate::world::{CommandOutput, Fake};

const AXON_FILE: &str = "task-definitions/axon.json";
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
    fake.run_in(format, async |context| {
        let (source, report) = (context.source, context.report);
        lint_templates(
            source,
            context.catalog,
            context.environment,
            report,
            services,
        )
        .await
    })
    .await
}

async fn lint_one(fake: &Fake, file: &str) -> CommandOutput {
    fake.run(async |context| {
        let (source, report) = (context.source, context.report);
        lint_file(source, context.environment, report, Path::new(file)).await
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
async fn an_error_is_printed_and_ends_with_10() {
    let fake = checkout();
    fake.edit_template(AXON, WRONG_CHECK[0], WRONG_CHECK[1]);
    let output = lint(&fake, Format::Human, &SERVICES).await;
    output.fails(10).says(&["lint found 1 error"]);
    assert_eq!(
        output.data,
        "axon T20 error containerDefinitions[0].healthCheck.command: \
         not CMD or CMD-SHELL followed by a command (ECS rejects it, or the check has no effect); \
         set [\"CMD\", \"/PROGRAM\", \"healthcheck\"]\n"
    );
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
        "::error file={AXON_FILE},line={}::axon T20 error ",
        line.unwrap() + 1
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
    let found = output.data.starts_with("orbit T11 warning ");
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
    let found = output.data.starts_with("orbit T02 error networkMode: ");
    assert!(found, "{}", output.data);
}

#[tokio::test(start_paused = true)]
async fn the_placeholders_of_a_template_are_found_in_a_file() {
    let fake = checkout();
    let output = lint_one(&fake, AXON_FILE).await;
    let mut lines = output.fails(10).data.lines();
    let expected = format!("{AXON_FILE} T52 error ");
    assert!(
        lines.all(|line| line.starts_with(&expected)),
        "{}",
        output.data
    );
    let placeholders = fake.state().templates[AXON_FILE].matches("${").count();
    assert_eq!(output.data.lines().count(), placeholders);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_missing_or_broken_is_one_error() {
    let fake = checkout();
    let missing = lint_one(&fake, "x.json").await;
    missing.fails(2).says(&["read x.json: no such file"]);
    let broken = "{\n  \"family\": oops\n}".to_owned();
    fake.state().templates.insert(AXON_FILE.to_owned(), broken);
    let broken = lint_one(&fake, AXON_FILE).await;
    let says = format!("{AXON_FILE}:2:13: expected value");
    broken.fails(10).says(&[&says]);
}
