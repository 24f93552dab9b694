//! `lint`: what is wrong with the task definitions, without AWS.
//!
//! There are no outputs to render them with, so invented values take their place: names and ARNs as
//! Terraform makes them, in the environment's region and account, and the digest of an empty image.

use std::path::Path;

use anyhow::Result;

use crate::catalog::{Catalog, CatalogEntry, FunctionEntry, Service, ServiceEntry};
use crate::decide::definition::Definition;
use crate::decide::definition::json_path::line_of;
use crate::decide::definition::lint::{self, AwsTarget, Facts, Finding, Severity};
use crate::decide::environment::Environment;
use crate::decide::outputs::{self, Architecture, FunctionOutputs, Outputs, ServiceOutputs};
use crate::failure::{Failure, Kind};
use crate::planning::definitions;
use crate::ports::Source;
use crate::report::{Annotation, CommandEvent, Format, Report, count};

/// Prints the findings about the definitions of these services.
pub async fn lint_templates(
    source: &dyn Source,
    catalog: &Catalog,
    environment: &Environment,
    report: &Report,
    services: &[Service],
) -> Result<()> {
    let outputs = invented_outputs(catalog, environment);
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    let entries = services.iter().filter_map(|it| catalog.service(*it));
    for entry in entries {
        let service = entry.service;
        let image = format!("{}@sha256:{}", outputs.image_name(service), "0".repeat(64));
        match definitions::rendered_with(source, &outputs, entry, &image).await {
            Ok(definition) => {
                findings.extend(lint::lint(
                    service.name(),
                    &definition,
                    &Facts::of(&outputs, service),
                ));
            }
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    annotate(source, report, &findings).await;
    conclude(report, &findings, &faults)
}

/// Prints the findings about a definition without placeholders. `file` is absolute or relative to
/// the root.
pub async fn lint_file(
    source: &dyn Source,
    environment: &Environment,
    report: &Report,
    file: &Path,
) -> Result<()> {
    let name = file.display().to_string();
    let text = source
        .read(&name)
        .await
        .map_err(|error| Failure::usage(format!("{error:#}")))?;
    let (findings, faults) = match Definition::parse(&name, &text) {
        Ok(definition) => {
            let target = AwsTarget {
                region: environment.region.clone(),
                account_id: environment.account_id.clone(),
            };
            let facts = Facts {
                target: Some(target),
                ..Facts::default()
            };
            (lint::lint(&name, &definition, &facts), Vec::new())
        }
        Err(error) => (Vec::new(), vec![error.to_string()]),
    };
    annotate(source, report, &findings).await;
    conclude(report, &findings, &faults)
}

/// Prints a finding on behalf of another command.
pub(super) async fn show(source: &dyn Source, report: &Report, finding: &Finding) {
    if report.mode().format == Format::Github {
        annotate(source, report, std::slice::from_ref(finding)).await;
    } else {
        report.emit(CommandEvent::Finding {
            subject: finding.subject.clone(),
            code: finding.code.to_owned(),
            severity: finding.severity.to_string(),
            json_path: finding.json_path.clone(),
            reason: finding.reason.clone(),
            remedy: finding.remedy.clone(),
            text: finding.to_string(),
        });
    }
}

/// Annotates the lines of the files that findings are about, where the format has annotations.
async fn annotate(source: &dyn Source, report: &Report, findings: &[Finding]) {
    if report.mode().format != Format::Github {
        return;
    }
    for finding in findings {
        let subject = &finding.subject;
        let service = subject.parse::<Service>();
        let file = service.map_or_else(|_| subject.clone(), Service::template);
        // An annotation without a line is better than none.
        let text = source.read(&file).await.unwrap_or_default();
        report.annotate(Annotation {
            level: match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Advice => "notice",
            },
            file: &file,
            line: line_of(&text, &finding.json_path),
            text: &finding.to_string(),
        });
    }
}

/// Prints findings to stdout, as they are the command's result, and fails if one is an error.
fn conclude(report: &Report, findings: &[Finding], faults: &[String]) -> Result<()> {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    // A file that could not be read was not checked: "no findings" would be wrong.
    if !findings.is_empty() {
        report.data(&findings, &lines.join("\n"));
    } else if faults.is_empty() {
        report.data(&findings, "no findings");
    }
    if !faults.is_empty() {
        return Err(Failure::new(Kind::Findings, faults.join("\n")).into());
    }
    match lint::errors(findings) {
        0 => Ok(()),
        errors => {
            let message = format!("lint found {}", count(errors, "error"));
            Err(Failure::new(Kind::Findings, message).into())
        }
    }
}

/// Outputs as Terraform would publish them for this environment.
fn invented_outputs(catalog: &Catalog, environment: &Environment) -> Outputs {
    let Environment {
        project,
        name,
        region,
        account_id,
        ..
    } = environment;
    let prefix = environment.name_prefix();
    let role = |name: &str| format!("arn:aws:iam::{account_id}:role/{prefix}-{name}");
    let service = |entry: &ServiceEntry| {
        let service = entry.service;
        let secret = format!("{project}/{name}/{service}-AbCdEf");
        let target_group = format!("{prefix}-{service}/0123456789abcdef");
        let outputs = ServiceOutputs {
            ecs_service: format!("{prefix}-{service}"),
            repository: format!("{prefix}/{service}"),
            task_role_arn: role(service.name()),
            secret_arn: format!("arn:aws:secretsmanager:{region}:{account_id}:secret:{secret}"),
            log_group: format!("/ecs/{prefix}-{service}"),
            target_group_arn: format!(
                "arn:aws:elasticloadbalancing:{region}:{account_id}:targetgroup/{target_group}"
            ),
            desired_count: 2,
            port: entry.port,
            probe: None,
            environment: environment.settings_of(service),
            routes: Vec::new(),
        };
        (service, outputs)
    };
    let function = |entry: &FunctionEntry| {
        let function = entry.function;
        let outputs = FunctionOutputs {
            name: format!("{prefix}-{function}"),
            alias: "live".to_owned(),
            log_group: format!("/aws/lambda/{prefix}-{function}"),
        };
        (function, outputs)
    };
    let entries = catalog.entries().iter();
    Outputs {
        version: outputs::VERSION,
        project: project.clone(),
        name_prefix: prefix.to_owned(),
        environment: name.clone(),
        region: region.clone(),
        account_id: account_id.clone(),
        cluster: format!("{prefix}-{name}"),
        namespace: format!("{prefix}.{name}"),
        architecture: Architecture::X86,
        registry: format!("{account_id}.dkr.ecr.{region}.amazonaws.com"),
        execution_role_arn: role("execution"),
        base_url: "http://example.invalid".to_owned(),
        infra_sha256: "0".repeat(64),
        services: entries
            .clone()
            .filter_map(CatalogEntry::as_service)
            .map(service)
            .collect(),
        functions: entries
            .filter_map(CatalogEntry::as_function)
            .map(function)
            .collect(),
        retired: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use anyhow::{Context, anyhow, bail};
    use async_trait::async_trait;

    use super::*;
    use crate::catalog::testing::{AXON, ORBIT, SERVICES, catalog};
    use crate::decide::definition::testing::{AXON_TEMPLATE, ORBIT_TEMPLATE};
    use crate::failure::exit_code;
    use crate::ports::Commit;
    use crate::report::testing::captured;

    struct Files(BTreeMap<String, String>);

    #[async_trait]
    impl Source for Files {
        async fn read(&self, path: &str) -> Result<String> {
            self.0
                .get(path)
                .cloned()
                .ok_or_else(|| anyhow!("no such file"))
                .context(format!("read {path}"))
        }

        async fn commit(&self) -> Result<Option<Commit>> {
            bail!("lint asks for no commit")
        }

        async fn services_sha256(&self) -> Result<String> {
            bail!("lint asks for no hash")
        }
    }

    fn files(axon: &str) -> Files {
        let files = [("axon", axon), ("orbit", ORBIT_TEMPLATE)];
        Files(
            files
                .map(|(name, text)| (format!("task-definitions/{name}.json"), text.to_owned()))
                .into(),
        )
    }

    fn environment() -> Environment {
        let text = r#"{ "project": "demo", "environment": "staging", "region": "eu-central-1",
            "account_id": "111122223333", "service_environment": { "orbit": { "ORBIT_COLOUR": "blue" } } }"#;
        Environment::parse("staging.tfvars.json", text).unwrap()
    }

    async fn lint_all(files: &Files, environment: &Environment, report: &Report) -> Result<()> {
        lint_templates(files, &catalog(), environment, report, &SERVICES).await
    }

    const AXON_FILE: &str = "task-definitions/axon.json";

    #[tokio::test]
    async fn our_templates_are_clean_in_a_real_environment() {
        let (report, data, talk) = captured(Format::Human);
        lint_all(&files(AXON_TEMPLATE), &environment(), &report)
            .await
            .unwrap();
        assert_eq!(data.text(), "no findings\n");
        assert_eq!(talk.text(), "");
        let (report, data, _) = captured(Format::Json);
        lint_templates(
            &files(AXON_TEMPLATE),
            &catalog(),
            &environment(),
            &report,
            &[AXON],
        )
        .await
        .unwrap();
        assert_eq!(data.text(), "[]\n");
    }

    #[tokio::test]
    async fn an_error_is_printed_and_ends_with_10() {
        let (report, data, _) = captured(Format::Human);
        let files = files(&AXON_TEMPLATE.replace("\"CMD\",", "\"RUN\","));
        let error = lint_all(&files, &environment(), &report).await.unwrap_err();
        assert_eq!(
            (exit_code(&error), error.to_string().as_str()),
            (10, "lint found 1 error")
        );
        assert_eq!(
            data.text(),
            "axon T20 error containerDefinitions[0].healthCheck.command: \
             not CMD or CMD-SHELL followed by a command (ECS rejects it, or the check has no effect); \
             set [\"CMD\", \"/PROGRAM\", \"healthcheck\"]\n"
        );
    }

    #[tokio::test]
    async fn a_finding_is_annotated_at_its_line_of_the_template() {
        let (report, _, talk) = captured(Format::Github);
        let template = AXON_TEMPLATE.replace("\"CMD\",", "\"RUN\",");
        let line = template
            .lines()
            .position(|line| line.contains("\"command\": [\"RUN\""));
        lint_all(&files(&template), &environment(), &report)
            .await
            .unwrap_err();
        let expected = format!(
            "::error file=task-definitions/axon.json,line={}::axon T20 error ",
            line.unwrap() + 1
        );
        assert!(talk.text().starts_with(&expected), "{}", talk.text());
    }

    #[tokio::test]
    async fn settings_of_the_environment_file_are_judged_too() {
        let (report, data, _) = captured(Format::Human);
        let mut environment = environment();
        let setting = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        environment.service_environment = [
            (AXON, setting("API_KEY", "k")),
            (ORBIT, setting("A_TOKEN", "t")),
        ]
        .into();
        let error = lint_all(&files(AXON_TEMPLATE), &environment, &report)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "task-definitions/axon.json: `API_KEY` is set by the environment and is a secret of the template \
             (containerDefinitions[0].secrets[1].name)"
        );
        assert!(
            data.text().starts_with("orbit T11 warning "),
            "{}",
            data.text()
        );
    }

    #[tokio::test]
    async fn a_template_that_cannot_be_rendered_leaves_the_other_one_judged() {
        let (report, data, _) = captured(Format::Human);
        let mut files = files(&AXON_TEMPLATE.replace("${LOG_GROUP}", "${LOGS}"));
        for text in files.0.values_mut() {
            *text = text.replace("\"awsvpc\"", "\"bridge\"");
        }
        let error = lint_all(&files, &environment(), &report).await.unwrap_err();
        assert_eq!(exit_code(&error), 10);
        assert_eq!(
            error.to_string(),
            "task-definitions/axon.json: no value for placeholder `${LOGS}` \
             (containerDefinitions[0].logConfiguration.options.awslogs-group); \
             unused value `LOG_GROUP`"
        );
        assert!(
            data.text().starts_with("orbit T02 error networkMode: "),
            "{}",
            data.text()
        );
    }

    #[tokio::test]
    async fn the_placeholders_of_a_template_are_found_in_a_file() {
        let (report, data, _) = captured(Format::Human);
        let file = Path::new(AXON_FILE);
        let error = lint_file(&files(AXON_TEMPLATE), &environment(), &report, file)
            .await
            .unwrap_err();
        assert_eq!(exit_code(&error), 10);
        let text = data.text();
        assert!(
            text.lines()
                .all(|line| line.starts_with("task-definitions/axon.json T52 error ")),
            "{text}"
        );
        assert_eq!(text.lines().count(), AXON_TEMPLATE.matches("${").count());
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_broken_is_one_error() {
        let (report, _, _) = captured(Format::Human);
        let files = files("{\n  \"family\": oops\n}");
        let missing = lint_file(&files, &environment(), &report, Path::new("x.json"))
            .await
            .unwrap_err();
        assert_eq!(
            (exit_code(&missing), missing.to_string().as_str()),
            (2, "read x.json: no such file")
        );
        let broken = lint_file(&files, &environment(), &report, Path::new(AXON_FILE))
            .await
            .unwrap_err();
        assert_eq!(exit_code(&broken), 10);
        assert_eq!(
            broken.to_string(),
            "task-definitions/axon.json:2:13: expected value"
        );
    }
}
