//! `lint`: what is wrong with the task definitions, without AWS.
//!
//! There are no outputs to render them with, so invented values take their place, and the digest of
//! an empty image.

mod fix;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::catalog::{Catalog, Service};
use crate::decide::artifact::types::ImageFacts;
use crate::decide::definition::Definition;
use crate::decide::definition::document::Document;
use crate::decide::definition::lint::file::{lint_text, not_a_definition, unreadable};
use crate::decide::definition::lint::pages::pages;
use crate::decide::definition::lint::sarif;
use crate::decide::definition::lint::suppressions::{self, Suppressions};
use crate::decide::definition::lint::{self, AwsTarget, Facts, Finding, LaunchType, Severity};
use crate::decide::definition::node::Node;
use crate::decide::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::planning::{definitions, outputs};
use crate::ports::Source;
use crate::report::{Annotation, CommandEvent, Format, Report, count};

pub use fix::fix;

#[derive(Debug, Clone, Default)]
pub struct LintOptions {
    /// What is known of an image.
    pub image: Option<ImageFacts>,
    /// What containers call it; else it is that of the first container.
    pub image_name: Option<String>,
    /// Tell advice one by one, and not only how much there is.
    pub advice: bool,
    /// What runs definitions that do not say it.
    pub launch_type: Option<LaunchType>,
    /// Definitions are for the environment: its account and Region are compared.
    pub is_for_environment: bool,
}

/// A file to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionFile {
    /// Absolute, or relative to the root.
    pub path: String,
    /// It was found in a folder, and may be something else.
    pub is_found: bool,
}

/// Prints the findings about the definitions of these services.
pub async fn lint_templates(
    source: &dyn Source,
    catalog: &Catalog,
    environment: &Environment,
    report: &Report,
    services: &[Service],
    options: &LintOptions,
) -> Result<()> {
    let outputs = outputs::invented(catalog, environment);
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    let entries = services.iter().filter_map(|it| catalog.service(*it));
    let mut beside: Option<SuppressionFile> = None;
    for entry in entries {
        let accepted = match &mut beside {
            Some(known) => known,
            new => {
                let file = SuppressionFile::beside(source, &entry.service.template()).await?;
                new.insert(file)
            }
        };
        let service = entry.service;
        let image = format!("{}@sha256:{}", outputs.image_name(service), "0".repeat(64));
        match definitions::rendered_with(source, &outputs, entry, &image).await {
            Ok(definition) => {
                let facts = Facts {
                    image: options.image.clone(),
                    image_name: options.image_name.clone(),
                    settings: definitions::settings(source, entry).await,
                    ..Facts::of(&outputs, service)
                };
                let template = source.read(&service.template()).await?;
                let mut found = lint::lint(service.name(), &definition, &facts);
                add_positions(&template, &definition, &mut found);
                findings.extend(accepted.suppressions.apply(found));
            }
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    if faults.is_empty() && services.len() == catalog.services().len() {
        findings.extend(beside.iter().flat_map(SuppressionFile::unused));
    }
    conclude(report, &findings, &faults, options)
}

/// Prints the findings about definitions without placeholders.
pub async fn lint_files(
    source: &dyn Source,
    environment: &Environment,
    report: &Report,
    files: &[DefinitionFile],
    options: &LintOptions,
) -> Result<()> {
    let facts = Arc::new(facts(environment, options));
    let mut beside: BTreeMap<String, SuppressionFile> = BTreeMap::new();
    // Each on a thread of its own, as there may be thousands.
    let (mut waiting, mut unread) = (Vec::new(), Vec::new());
    for file in files {
        let path = suppressions::path_beside(&file.path);
        if !beside.contains_key(&path) {
            let accepted = SuppressionFile::beside(source, &file.path).await?;
            beside.insert(path.clone(), accepted);
        }
        let text = match source.read(&file.path).await {
            Ok(text) => text,
            Err(error) if file.is_found => {
                unread.push(unreadable(&file.path, format!("{error:#}")));
                continue;
            }
            Err(error) => return Err(Failure::usage(format!("{error:#}")).into()),
        };
        let (file, facts) = (file.clone(), Arc::clone(&facts));
        let judged = tokio::task::spawn_blocking(move || judge(&file, &text, &facts));
        waiting.push((path, judged));
    }
    let mut findings = unread;
    for (path, judged) in waiting {
        let found = judged.await.context("judge a definition")?;
        match beside.get_mut(&path) {
            Some(accepted) => findings.extend(accepted.suppressions.apply(found)),
            None => findings.extend(found),
        }
    }
    // Where only some of a folder's definitions were checked, an entry may be about another one.
    if files.iter().all(|file| file.is_found) {
        findings.extend(beside.values().flat_map(SuppressionFile::unused));
    }
    conclude(report, &findings, &[], options)
}

/// What is known of definitions of files.
fn facts(environment: &Environment, options: &LintOptions) -> Facts {
    let target = AwsTarget {
        region: environment.region.clone(),
        account_id: environment.account_id.clone(),
    };
    Facts {
        target: options.is_for_environment.then_some(target),
        launch_type: options.launch_type,
        image: options.image.clone(),
        image_name: options.image_name.clone(),
        ..Facts::default()
    }
}

fn judge(file: &DefinitionFile, text: &str, facts: &Facts) -> Vec<Finding> {
    match lint_text(&file.path, text, facts) {
        Some(found) => found,
        None if file.is_found => Vec::new(),
        None => not_a_definition(&file.path, text),
    }
}

/// Prints the page of a rule.
pub fn explain(code: &str, report: &Report) -> Result<(), Failure> {
    let pages = pages();
    let mut of_code = pages.iter();
    let Some(page) = of_code.find(|page| page.code.eq_ignore_ascii_case(code)) else {
        let codes: Vec<&str> = pages.iter().map(|page| page.code).collect();
        let fault = format!("there is no rule {code}; there are {}", codes.join(" "));
        return Err(Failure::usage(fault));
    };
    let text = format!("{} {}\n\n{}", page.code, page.title, page.text);
    report.data(&text, &text);
    Ok(())
}

/// The suppressions beside definitions; without such a file there are none.
struct SuppressionFile {
    path: String,
    text: String,
    suppressions: Suppressions,
}

impl SuppressionFile {
    async fn beside(source: &dyn Source, definition: &str) -> Result<Self, Failure> {
        let path = suppressions::path_beside(definition);
        let (text, suppressions) = definitions::suppressions(source, &path).await?;
        Ok(Self {
            path,
            text,
            suppressions,
        })
    }

    fn unused(&self) -> Vec<Finding> {
        self.suppressions.unused(&self.path, &self.text)
    }
}

/// Prints a finding on behalf of another command.
pub(super) async fn show(source: &dyn Source, report: &Report, finding: &Finding) {
    if report.mode().format == Format::Github {
        let service = finding.subject.parse::<Service>();
        let template = match service {
            // An annotation without a line is better than none.
            Ok(service) => source.read(&service.template()).await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let mut finding = finding.clone();
        finding.position = Some(Document::parse(&template).position(&finding.json_path));
        annotate(report, &finding);
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

/// Annotates the line that a finding is about, where the format has annotations.
fn annotate(report: &Report, finding: &Finding) {
    let file = file_of(finding);
    report.annotate(Annotation {
        level: match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Advice => "notice",
        },
        file: &file,
        line: finding.position.map(|position| position.line),
        text: &finding.to_string(),
    });
}

/// The file that a finding is about.
fn file_of(finding: &Finding) -> String {
    let service = finding.subject.parse::<Service>();
    service.map_or_else(|_| finding.subject.clone(), Service::template)
}

/// The places in a template of what was found in its rendered definition.
fn add_positions(template: &str, rendered: &Definition, findings: &mut [Finding]) {
    let document = Document::parse(template);
    for finding in findings {
        let json_path = in_template(&document, rendered, &finding.json_path);
        finding.position = Some(document.position(&json_path));
    }
}

/// Rendering sorts the variables of the first container and adds those of the environment, so
/// their numbers are others in the template.
fn in_template(document: &Document, rendered: &Definition, json_path: &str) -> String {
    const VARIABLES: &str = "containerDefinitions[0].environment";
    let rest = json_path.strip_prefix(VARIABLES);
    let rest = rest.and_then(|rest| rest.strip_prefix('['));
    let Some((index, key)) = rest.and_then(|rest| rest.split_once(']')) else {
        return json_path.to_owned();
    };
    let variables = |root: Node<'_>| -> Vec<Option<String>> {
        let containers = root.items("containerDefinitions");
        let variables = containers.first().map(|first| first.items("environment"));
        let names = variables.unwrap_or_default();
        names
            .iter()
            .map(|it| it.text("name").map(str::to_owned))
            .collect()
    };
    let index: Option<usize> = index.parse().ok();
    let name = index.and_then(|index| variables(rendered.root()).into_iter().nth(index));
    let own = variables(Node::root(&document.value));
    match own.iter().position(|own| Some(own) == name.as_ref()) {
        Some(index) => format!("{VARIABLES}[{index}]{key}"),
        None => VARIABLES.to_owned(),
    }
}

/// Prints findings to stdout, as they are the command's result, and fails if one is an error.
fn conclude(
    report: &Report,
    findings: &[Finding],
    faults: &[String],
    options: &LintOptions,
) -> Result<()> {
    let is_told = |finding: &&Finding| options.advice || finding.severity != Severity::Advice;
    let told: Vec<&Finding> = findings.iter().filter(is_told).collect();
    for finding in &told {
        annotate(report, finding);
    }
    let mut lines: Vec<String> = told.iter().map(ToString::to_string).collect();
    if !options.advice {
        lines.extend(advice(findings));
    }
    if report.mode().format == Format::Sarif {
        report.data(&sarif::sarif(&told, file_of), "");
        return ended(findings, faults);
    }
    // A file that could not be read was not checked: "no findings" would be wrong.
    if !lines.is_empty() {
        report.data(&told, &lines.join("\n"));
    } else if faults.is_empty() {
        report.data(&told, "no findings");
    }
    ended(findings, faults)
}

fn ended(findings: &[Finding], faults: &[String]) -> Result<()> {
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

/// One line for each subject that there is advice about.
fn advice(findings: &[Finding]) -> Vec<String> {
    let mut by_subject: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|it| it.severity == Severity::Advice) {
        by_subject
            .entry(&finding.subject)
            .or_default()
            .push(finding);
    }
    let lines = by_subject.into_iter().map(|(subject, findings)| {
        let codes: BTreeSet<&str> = findings.iter().map(|it| it.code).collect();
        let codes: Vec<&str> = codes.into_iter().collect();
        let codes = codes.join(" ");
        format!(
            "{subject} advice {} of {codes}; --advice tells them",
            findings.len()
        )
    });
    lines.collect()
}
