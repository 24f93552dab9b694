//! `lint`: what is wrong with the task definitions, without AWS.
//!
//! There are no outputs to render them with, so invented values take their place, and the digest of
//! an empty image.

use std::path::Path;

use anyhow::Result;

use crate::catalog::{Catalog, Service};
use crate::decide::definition::Definition;
use crate::decide::definition::json_path::line_of;
use crate::decide::definition::lint::{self, AwsTarget, Facts, Finding, Severity};
use crate::decide::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::planning::{definitions, outputs};
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
    let outputs = outputs::invented(catalog, environment);
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
