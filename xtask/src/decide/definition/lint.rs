//! What is wrong with a definition before AWS has seen it. A rule looks at the definition and at
//! the facts beside it; a fact that is not at hand silences the rules that need it.

mod containers;
mod health;
mod images;
mod logs;
mod network;
mod secrets;
mod task;
mod text;

use std::fmt;

use serde::Serialize;

use crate::catalog::Service;
use crate::decide::definition::Definition;
use crate::decide::outputs::{Architecture, Outputs};

/// What is known beside the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it shall be registered.
    pub target: Option<Target>,
    /// Of the first container: a definition of ours has one.
    pub image: Option<ImageFacts>,
    pub service: Option<ServiceFacts>,
    /// How long a deploy watches a rollout before it gives up.
    pub rollout_seconds_max: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub region: String,
    pub account_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Empty where the image has no `USER`.
    pub user: String,
    pub architecture: Architecture,
    /// Paths of the files in it, from the root.
    pub files: Vec<String>,
    pub entrypoint: Vec<String>,
}

/// What the ECS service that will run the definition expects of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    /// The container that the load balancer sends requests to.
    pub container_name: String,
    pub container_port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will fail, or lose something.
    Error,
    Warning,
    Advice,
}

/// One component that lint has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub subject: String,
    /// Stable: what a report and its reader name the rule by.
    pub code: &'static str,
    pub severity: Severity,
    pub place: String,
    /// What is wrong, and why that matters.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Facts {
    /// What the outputs say about a service.
    pub fn of(outputs: &Outputs, service: Service) -> Self {
        let target = Target {
            region: outputs.region.clone(),
            account_id: outputs.account_id.clone(),
        };
        let service = ServiceFacts {
            container_name: service.name().to_owned(),
            container_port: outputs.service(service).port,
        };
        Self {
            target: Some(target),
            service: Some(service),
            ..Self::default()
        }
    }
}

/// Every finding, in the order of the rules. Each names the subject first: a service or a file.
pub fn lint(subject: impl fmt::Display, definition: &Definition, facts: &Facts) -> Vec<Finding> {
    let subject = subject.to_string();
    let input = &Input { definition, facts };
    let rests = text::template_rests(input);
    let is_rest = |place: &str| rests.iter().any(|rest| rest.place == place);
    let mut findings = Vec::new();
    for rule in RULES {
        for fault in (rule.check)(input) {
            // What a placeholder would become is not known: only its being there is wrong.
            if rule.code != TEMPLATE_REST && is_rest(&fault.place) {
                continue;
            }
            findings.push(Finding {
                subject: subject.clone(),
                code: rule.code,
                severity: rule.severity,
                place: fault.place,
                reason: format!("{} ({})", fault.what, rule.why),
                remedy: fault.remedy,
            });
        }
    }
    findings
}

/// How many of these are errors.
pub fn errors(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count()
}

/// What a rule looks at.
struct Input<'a> {
    definition: &'a Definition,
    facts: &'a Facts,
}

struct Rule {
    code: &'static str,
    severity: Severity,
    /// Why it matters: what AWS does about it.
    why: &'static str,
    check: fn(&Input<'_>) -> Vec<Fault>,
}

/// What a rule found: where, what, and what to write instead.
struct Fault {
    place: String,
    what: String,
    remedy: String,
}

fn fault(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault {
        place: place.into(),
        what: what.into(),
        remedy: remedy.into(),
    }
}

const fn error(code: &'static str, why: &'static str, check: fn(&Input<'_>) -> Vec<Fault>) -> Rule {
    Rule {
        code,
        severity: Severity::Error,
        why,
        check,
    }
}

const fn warning(
    code: &'static str,
    why: &'static str,
    check: fn(&Input<'_>) -> Vec<Fault>,
) -> Rule {
    Rule {
        code,
        severity: Severity::Warning,
        why,
        check,
    }
}

const fn advice(
    code: &'static str,
    why: &'static str,
    check: fn(&Input<'_>) -> Vec<Fault>,
) -> Rule {
    Rule {
        code,
        severity: Severity::Advice,
        why,
        check,
    }
}

const TEMPLATE_REST: &str = "T52";

/// Codes that are not here belong to rules that need AWS, or a setting that no file of this
/// repository gives to xtask.
const RULES: &[Rule] = &[
    error(
        "T01",
        "ECS refuses it: no Fargate configuration exists",
        task::fargate_pair,
    ),
    error("T02", "Fargate does not run it", task::fargate_shape),
    error("T03", "ECS refuses it", network::host_port),
    error(
        "T04",
        "ECS cannot start the task without one",
        task::execution_role_missing,
    ),
    error(
        "T05",
        "the task stops at its start: invalid ARN format",
        secrets::segments,
    ),
    warning(
        "T06",
        "ECS may look for another secret: not found, or access denied",
        secrets::suffix,
    ),
    error(
        "T09",
        "the task stops at its start: the parameter is not found",
        secrets::parameter,
    ),
    error(
        "T10",
        "one environment would read the secrets of another",
        secrets::other_place,
    ),
    warning(
        "T11",
        "everybody who may describe tasks can read it",
        secrets::plain_text,
    ),
    error(
        "T12",
        "ECS refuses it, or takes either value",
        secrets::same_name,
    ),
    error(
        "T13",
        "the task does not start, or nobody finds its log",
        logs::awslogs_options,
    ),
    error("T16", "ECS refuses it", logs::driver),
    advice(
        "T17",
        "since June 2025 lines are lost when its buffer is full, before the task blocked",
        logs::mode,
    ),
    error(
        "T18",
        "the check never succeeds, so the deploy fails",
        health::program_missing,
    ),
    warning(
        "T19",
        "ECS ignores the HEALTHCHECK of an image",
        health::missing,
    ),
    error(
        "T20",
        "ECS refuses it, or the check is of no use",
        health::ranges,
    ),
    warning(
        "T21",
        "the deploy gives up before ECS has noticed",
        health::slower_than_the_deploy,
    ),
    error(
        "T23",
        "it stops at its start, although Docker lets it run",
        network::privileged_port,
    ),
    warning(
        "T24",
        "whoever breaks into it is root",
        containers::root_user,
    ),
    error(
        "T25",
        "what runs cannot be repeated, and a rollback pulls something else",
        images::by_tag,
    ),
    warning(
        "T26",
        "the tasks of one deployment may differ",
        images::inconsistent_version,
    ),
    error("T27", "exec format error", images::other_architecture),
    error(
        "T28",
        "ECS refuses it, or the task never starts",
        containers::dependencies,
    ),
    warning(
        "T29",
        "its crash stops the task",
        containers::essential_by_default,
    ),
    error("T30", "ECS refuses it", containers::timeouts),
    warning(
        "T33",
        "the shell does not pass SIGTERM on: every stop ends with SIGKILL",
        images::shell_form,
    ),
    warning(
        "T34",
        "whoever breaks into it can change its files",
        containers::writable_root,
    ),
    error("T36", "ECS refuses it", containers::unsupported),
    advice(
        "T37",
        "whoever breaks into it can do more",
        containers::capabilities_kept,
    ),
    advice(
        "T38",
        "under load it runs out of file descriptors",
        containers::few_files,
    ),
    error("T39", "ECS refuses it", task::ephemeral_storage),
    error("T40", "ECS refuses it", task::sums),
    error(
        "T41",
        "ECS refuses the service, or the load balancer answers 5xx",
        network::load_balancer,
    ),
    warning(
        "T50",
        "what ECS says of a revision cannot be registered",
        text::read_only_keys,
    ),
    error(
        "T51",
        "it would be lost without a word, or refused",
        text::keys,
    ),
    error(
        TEMPLATE_REST,
        "it would go live as it stands",
        text::template_rests,
    ),
    error(
        "T53",
        "the task does not start, or may do too much",
        task::roles,
    ),
    error(
        "T58",
        "ECS ignores or refuses it",
        containers::environment_files,
    ),
    error("T59", "ECS refuses it", text::names),
];

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Advice => "advice",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            code,
            severity,
            place,
            reason,
            remedy,
        } = self;
        write!(
            formatter,
            "{subject} {code} {severity} {place}: {reason}; {remedy}"
        )
    }
}

#[cfg(test)]
mod tests;
