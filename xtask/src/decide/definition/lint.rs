//! Rules that find faults of a definition before it is registered. A rule reads the definition and
//! the facts about its environment; where a fact is unknown, the rules that need it find nothing.

mod arn;
mod containers;
mod fargate;
pub mod file;
mod health;
mod images;
mod logs;
pub mod mend;
mod network;
pub mod pages;
mod placeholders;
mod platform;
mod references;
pub mod sarif;
mod secrets;
mod settings;
mod structure;
pub mod suppressions;
mod task;
mod volumes;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::catalog::Service;
use crate::decide::artifact::types::ImageFacts;
use crate::decide::definition::Definition;
use crate::decide::definition::container::ContainerDefinition;
use crate::decide::definition::document::{Edit, Position};
use crate::decide::definition::model::{self, ModelFault};
use crate::decide::definition::settings::ProgramSettings;
use crate::decide::outputs::Outputs;
use placeholders::Placeholder;
pub use platform::LaunchType;
use platform::TaskPlatform;
use secrets::Reference;

/// What is known besides the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where the definition will be registered.
    pub target: Option<AwsTarget>,
    /// The image of the containers that name it, or else of the first one and those that have the
    /// same.
    pub image: Option<ImageFacts>,
    /// What containers call that image.
    pub image_name: Option<String>,
    pub service: Option<ServiceFacts>,
    /// What the service's program reads from its environment.
    pub settings: Option<ProgramSettings>,
    /// Variables that the environment gives to services which may not read them.
    pub extra_variables: BTreeSet<String>,
    /// How long a deploy waits for a rollout.
    pub rollout_seconds_max: Option<i64>,
    /// What will run it, where the definition does not say so.
    pub launch_type: Option<LaunchType>,
    /// Rendering would have refused an unresolved `${`, so one that is left is meant.
    pub is_rendered: bool,
    /// The definition was printed by ECS, with the keys that it adds.
    pub is_described: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsTarget {
    pub region: String,
    pub account_id: String,
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
    /// AWS refuses it, or the task fails at its start.
    Error,
    /// Something is lost, or at risk.
    Warning,
    /// Good practice, which most definitions do not follow everywhere.
    Advice,
}

/// One fault that a rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub subject: String,
    /// Identifies the rule; never changes its meaning.
    pub code: &'static str,
    pub severity: Severity,
    pub json_path: String,
    /// Where that is in the file, if the definition is one.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// What is wrong, and its consequence.
    pub reason: String,
    /// How to fix it.
    pub remedy: String,
    /// The same as a change of the text, where nobody has to think about it.
    #[serde(skip)]
    pub edit: Option<Edit>,
}

impl Facts {
    /// The facts that the outputs of Terraform contain about a service. Services run on Fargate.
    pub fn of(outputs: &Outputs, service: Service) -> Self {
        let target = AwsTarget {
            region: outputs.region.clone(),
            account_id: outputs.account_id.clone(),
        };
        let output = outputs.service(service);
        let service = ServiceFacts {
            container_name: service.name().to_owned(),
            container_port: output.port,
        };
        Self {
            extra_variables: output.environment.keys().cloned().collect(),
            target: Some(target),
            service: Some(service),
            launch_type: Some(LaunchType::Fargate),
            is_rendered: true,
            ..Self::default()
        }
    }
}

/// All findings, in the order of the rules. `subject` is the service or the file.
pub fn lint(subject: impl fmt::Display, definition: &Definition, facts: &Facts) -> Vec<Finding> {
    let subject = subject.to_string();
    let input = &Input::new(definition, facts);
    let mut findings = Vec::new();
    for rule in RULES {
        // The value is unknown until the placeholder is resolved, so no rule about values applies.
        let is_about_value = !OF_UNRESOLVED_VALUES.contains(&rule.code);
        for fault in (rule.check)(input) {
            if is_about_value && input.unresolved.contains(&fault.json_path) {
                continue;
            }
            findings.push(Finding {
                subject: subject.clone(),
                code: rule.code,
                severity: fault.severity.unwrap_or(rule.severity),
                json_path: fault.json_path,
                position: None,
                reason: format!("{} ({})", fault.what, rule.why),
                remedy: fault.remedy,
                edit: fault.edit,
            });
        }
    }
    findings
}

/// The number of errors.
pub fn errors(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count()
}

/// What a rule reads.
struct Input<'a> {
    definition: &'a Definition,
    facts: &'a Facts,
    containers: Vec<ContainerDefinition<'a>>,
    platform: TaskPlatform,
    references: Vec<Reference<'a>>,
    /// Whether the container of the same index uses the image of the facts.
    uses_image: Vec<bool>,
    /// Where the definition differs from the API model.
    model_faults: Vec<ModelFault>,
    /// Values that are to be filled in.
    placeholders: Vec<Placeholder<'a>>,
    /// Their paths.
    unresolved: BTreeSet<String>,
}

impl<'a> Input<'a> {
    fn new(definition: &'a Definition, facts: &'a Facts) -> Self {
        let containers = definition.containers();
        let platform = TaskPlatform::of(&definition.root(), &containers, facts);
        let mut input = Self {
            definition,
            facts,
            references: secrets::references(&containers),
            uses_image: images::uses(&containers, facts),
            containers,
            platform,
            model_faults: model::faults(&definition.root()),
            placeholders: Vec::new(),
            unresolved: BTreeSet::new(),
        };
        input.placeholders = placeholders::find(&input);
        let paths = input.placeholders.iter();
        input.unresolved = paths.map(|it| it.node.json_path()).collect();
        input
    }
}

impl<'a> Input<'a> {
    /// The image of a container, where it is known.
    fn image(&self, index: usize) -> Option<&'a ImageFacts> {
        let image = self.facts.image.as_ref()?;
        self.uses_image.get(index)?.then_some(image)
    }

    /// The containers whose image is known.
    fn with_image(&self) -> Vec<(&ContainerDefinition<'a>, &'a ImageFacts)> {
        let containers = self.containers.iter().enumerate();
        containers
            .filter_map(|(index, container)| Some((container, self.image(index)?)))
            .collect()
    }
}

struct Rule {
    code: &'static str,
    severity: Severity,
    /// The consequence: how AWS reacts to it.
    why: &'static str,
    check: fn(&Input<'_>) -> Vec<LintFault>,
}

/// What a rule found, and how to fix it.
struct LintFault {
    json_path: String,
    what: String,
    remedy: String,
    /// Where it differs from the rule's.
    severity: Option<Severity>,
    edit: Option<Edit>,
}

impl LintFault {
    fn warning(mut self) -> Self {
        self.severity = Some(Severity::Warning);
        self
    }

    fn edit(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    fn advice(mut self) -> Self {
        self.severity = Some(Severity::Advice);
        self
    }
}

fn fault(
    json_path: impl Into<String>,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> LintFault {
    LintFault {
        json_path: json_path.into(),
        what: what.into(),
        remedy: remedy.into(),
        severity: None,
        edit: None,
    }
}

const fn error(
    code: &'static str,
    why: &'static str,
    check: fn(&Input<'_>) -> Vec<LintFault>,
) -> Rule {
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
    check: fn(&Input<'_>) -> Vec<LintFault>,
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
    check: fn(&Input<'_>) -> Vec<LintFault>,
) -> Rule {
    Rule {
        code,
        severity: Severity::Advice,
        why,
        check,
    }
}

/// Rules that are about keys, about placeholders themselves, about what a value is for, or about
/// the part of it that is there.
const OF_UNRESOLVED_VALUES: [&str; 7] = ["T05", "T11", "T25", "T50", "T51", "T52", "T71"];

/// The codes come from a longer list of rules. The missing ones need a call to AWS, or a setting
/// that no file of this repository holds.
const RULES: &[Rule] = &[
    error("T01", "ECS rejects it", task::fargate_pair),
    error("T02", "what runs the task does not take it", task::shape),
    error("T03", "ECS rejects it", network::host_port),
    error(
        "T04",
        "ECS cannot start the task without one",
        task::execution_role_missing,
    ),
    error(
        "T05",
        "the task fails to start: invalid ARN format",
        secrets::segments,
    ),
    warning(
        "T06",
        "ECS may look for another secret: not found, or access denied",
        secrets::suffix,
    ),
    error(
        "T09",
        "the task fails to start: the parameter is not found",
        secrets::parameter,
    ),
    error(
        "T10",
        "one environment would read the secrets of another",
        secrets::other_environment,
    ),
    warning(
        "T11",
        "readable by every principal that may describe task definitions",
        secrets::plain_text,
    ),
    error(
        "T12",
        "ECS rejects it, or uses either value",
        secrets::same_name,
    ),
    error(
        "T13",
        "the task does not start, or its log cannot be found",
        logs::awslogs_options,
    ),
    error("T16", "ECS rejects it", logs::driver),
    advice(
        "T17",
        "the default has been non-blocking since June 2025: lines are dropped when the buffer is full",
        logs::mode,
    ),
    error(
        "T18",
        "the check never succeeds, so the deploy fails",
        health::program_missing,
    ),
    advice(
        "T19",
        "ECS ignores the HEALTHCHECK of an image",
        health::missing,
    ),
    error(
        "T20",
        "ECS rejects it, or the check has no effect",
        health::ranges,
    ),
    warning(
        "T21",
        "the deploy times out before ECS reports the failure",
        health::slower_than_the_deploy,
    ),
    error(
        "T23",
        "the container fails to start on Fargate, although Docker runs it",
        network::privileged_port,
    ),
    advice(
        "T24",
        "an attacker in the container is root",
        containers::root_user,
    ),
    advice(
        "T25",
        "a tag can move, so a rollback may pull another image",
        images::by_tag,
    ),
    warning(
        "T26",
        "the tasks of one deployment may run different images",
        images::inconsistent_version,
    ),
    error("T27", "exec format error", images::other_architecture),
    error(
        "T28",
        "ECS rejects it, or the task never starts",
        containers::dependencies,
    ),
    warning(
        "T29",
        "its exit stops the task",
        containers::essential_by_default,
    ),
    error("T30", "ECS rejects it", containers::timeouts),
    warning(
        "T33",
        "the shell does not pass SIGTERM on: every stop ends with SIGKILL",
        images::shell_form,
    ),
    advice(
        "T34",
        "an attacker in the container can change its files",
        containers::writable_root,
    ),
    error("T36", "ECS rejects it", fargate::unsupported),
    advice(
        "T37",
        "an attacker in the container keeps more rights",
        containers::capabilities_kept,
    ),
    advice(
        "T38",
        "the container runs out of file descriptors under load",
        containers::few_files,
    ),
    error("T39", "ECS rejects it", task::ephemeral_storage),
    error("T40", "ECS rejects it", task::sums),
    error(
        "T41",
        "ECS rejects the service, or the load balancer answers 5xx",
        network::load_balancer,
    ),
    error(
        "T50",
        "DescribeTaskDefinition returns it, RegisterTaskDefinition rejects it",
        structure::read_only_keys,
    ),
    error(
        "T51",
        "the SDK drops it silently, or ECS rejects it",
        structure::keys_and_types,
    ),
    error(
        "T52",
        "it would be deployed as written",
        placeholders::unresolved,
    ),
    error(
        "T53",
        "the task does not start, or has too many permissions",
        task::roles,
    ),
    error(
        "T58",
        "ECS ignores or rejects it",
        containers::environment_files,
    ),
    error("T59", "ECS rejects it", structure::names),
    error("T61", "ECS rejects it", structure::required),
    error("T62", "ECS rejects it", structure::choices),
    error("T63", "ECS rejects it", structure::ranges),
    error("T64", "ECS rejects it", references::unresolved),
    error("T65", "ECS rejects it", logs::firelens_pair),
    error(
        "T66",
        "ECS rejects it, or one takes the place of the other",
        references::duplicates,
    ),
    error("T67", "ECS rejects it", volumes::volumes),
    error("T68", "ECS rejects it", fargate::windows),
    warning("T69", "ECS takes it for tcp", structure::protocol),
    error("T70", "ECS rejects it", containers::variable_names),
    warning(
        "T71",
        "rules judge the rest of it only",
        placeholders::templates,
    ),
    error("T73", "the task stops at its start", images::entry_point),
    warning(
        "T74",
        "whoever can pull the image can read it",
        images::leaks,
    ),
    advice(
        "T75",
        "they raise the rights of whoever gets into the container",
        images::setuid,
    ),
    advice("T76", "each start of a task pulls it", images::size),
    warning("T77", "rules about its files find nothing", images::unread),
    error("T78", "the program does not take it", settings::values),
    error("T79", "the program does not start", settings::missing),
    warning("T80", "it has no effect", settings::unknown),
    warning(
        "T81",
        "rules about what the program reads see only a part of it",
        settings::unread,
    ),
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
            json_path,
            position,
            reason,
            remedy,
            edit: _,
        } = self;
        write!(formatter, "{subject}")?;
        if let Some(Position { line, column }) = position {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(
            formatter,
            " {code} {severity} {json_path}: {reason}; {remedy}"
        )
    }
}

#[cfg(test)]
mod tests;
