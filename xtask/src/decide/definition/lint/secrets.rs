//! Rules about secrets: references that ECS cannot resolve, and credentials in plain text.

use std::collections::HashMap;

use super::arn::{self, Arn};
use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;
use crate::decide::definition::credential::is_credential;
use crate::decide::definition::document::Edit;
use crate::decide::definition::node::Node;

/// The number of parts of `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`.
const WHOLE_SECRET_PARTS: usize = 7;
/// The number of parts with `:KEY:STAGE:VERSION` appended, each of which may be empty.
const SECRET_KEY_PARTS: usize = 10;

/// What a secret or an option of a log driver is read from.
pub(super) struct Reference<'a> {
    node: Node<'a>,
    text: &'a str,
    parts: Vec<&'a str>,
}

impl Reference<'_> {
    fn is_secret(&self) -> bool {
        self.parts.first() == Some(&"arn") && self.parts.get(2) == Some(&"secretsmanager")
    }
}

pub(super) fn references<'a>(containers: &[ContainerDefinition<'a>]) -> Vec<Reference<'a>> {
    let lists = containers.iter().flat_map(|container| {
        let logging = container.0.get("logConfiguration");
        let options = logging
            .map(|logging| logging.items("secretOptions"))
            .unwrap_or_default();
        container.0.items("secrets").into_iter().chain(options)
    });
    lists
        .filter_map(|secret| {
            let node = secret.get("valueFrom")?;
            let text = node.string()?;
            Some(Reference {
                node,
                text,
                parts: text.split(':').collect(),
            })
        })
        .collect()
}

/// T05
pub(super) fn segments(input: &Input<'_>) -> Vec<LintFault> {
    let found = input.references.iter().filter_map(|reference| {
        let parts = parts_of(reference)?;
        let is_wrong = parts != WHOLE_SECRET_PARTS && parts != SECRET_KEY_PARTS;
        is_wrong.then_some((reference, parts))
    });
    let faults = found.map(|(reference, parts)| {
        let what = format!(
            "{parts} parts, expected {WHOLE_SECRET_PARTS} for a secret or {SECRET_KEY_PARTS} for one of its keys"
        );
        if (WHOLE_SECRET_PARTS..SECRET_KEY_PARTS).contains(&parts) {
            let whole = format!("{}{}", reference.text, ":".repeat(SECRET_KEY_PARTS - parts));
            let remedy = format!("set {whole}");
            return fault(reference.node.json_path(), what, remedy).edit(Edit::Replace(whole));
        }
        let remedy = "set arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX:KEY::";
        fault(reference.node.json_path(), what, remedy)
    });
    faults.collect()
}

/// The number of parts. A placeholder of the whole ARN has those of an ARN.
fn parts_of(reference: &Reference<'_>) -> Option<usize> {
    if reference.is_secret() {
        return Some(reference.parts.len());
    }
    let ends = [("${", "}"), ("{{", "}}"), ("<", ">")];
    let tail = ends.iter().find_map(|(start, end)| {
        let (_, tail) = reference.text.strip_prefix(start)?.split_once(end)?;
        Some(tail)
    })?;
    let keys = tail.strip_prefix(':')?;
    Some(WHOLE_SECRET_PARTS + keys.split(':').count())
}

/// T06
pub(super) fn suffix(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    let secrets = input.references.iter();
    for reference in secrets.filter(|it| it.is_secret()) {
        let Some(name) = reference.parts.get(6) else {
            continue;
        };
        match without_suffix(name) {
            None => {
                let what = format!("{name} lacks the 6 characters that Secrets Manager adds");
                faults.push(fault(
                    reference.node.json_path(),
                    what,
                    "set the whole ARN of the secret",
                ));
            }
            Some(stem) if without_suffix(stem).is_some() => {
                let what = format!("the name {stem} itself ends in what looks like a suffix");
                faults.push(fault(reference.node.json_path(), what, "rename the secret"));
            }
            Some(_) => {}
        }
    }
    faults
}

/// Words of six letters with which names of secrets end.
const NO_SUFFIXES: [&str; 16] = [
    "access", "apikey", "client", "common", "config", "github", "google", "keycdn", "master",
    "oauth2", "params", "secret", "server", "shared", "stripe", "tokens",
];

fn without_suffix(name: &str) -> Option<&str> {
    let (stem, suffix) = name.rsplit_once('-')?;
    let is_suffix = suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_suffix && !NO_SUFFIXES.contains(&suffix)).then_some(stem)
}

/// T09: a reference that is not a secret is an SSM parameter, by name in the same Region or by ARN.
pub(super) fn parameter(input: &Input<'_>) -> Vec<LintFault> {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    let wrong = |reference: &Reference<'_>| match reference.parts[..] {
        ["arn", _, "ssm", _, _, resource] => !resource.starts_with("parameter/"),
        ["arn", ..] => true,
        _ => reference.text.is_empty() || !reference.text.bytes().all(in_name),
    };
    let others = input.references.iter().filter(|it| !it.is_secret());
    others
        .filter(|reference| wrong(reference))
        .map(|reference| {
            let what = format!("{} is neither a secret nor a parameter", reference.text);
            let remedy = "set arn:aws:ssm:REGION:ACCOUNT:parameter/NAME";
            fault(reference.node.json_path(), what, remedy)
        })
        .collect()
}

/// T10
pub(super) fn other_environment(input: &Input<'_>) -> Vec<LintFault> {
    let Some(target) = &input.facts.target else {
        return Vec::new();
    };
    let expected = [
        arn::partition(&target.region),
        target.region.as_str(),
        target.account_id.as_str(),
    ];
    let mut faults = Vec::new();
    for reference in &input.references {
        let Some(arn) = Arn::parse(reference.text) else {
            continue;
        };
        let found = [arn.partition, arn.region, arn.account];
        if found != expected {
            let what = format!("belongs to {}", found.join(":"));
            let kind = if reference.is_secret() {
                "secret"
            } else {
                "parameter"
            };
            let remedy = format!("use a {kind} of {}", expected.join(":"));
            faults.push(fault(reference.node.json_path(), what, remedy));
        }
    }
    faults
}

/// T11
pub(super) fn plain_text(input: &Input<'_>) -> Vec<LintFault> {
    let settings = input
        .containers
        .iter()
        .flat_map(|container| container.0.items("environment"));
    settings
        .filter_map(|setting| {
            let (name, value) = (setting.text("name")?, setting.text("value")?);
            is_credential(name, value).then(|| {
                let remedy = format!("move {name} to secrets, with the ARN of a secret");
                let what = format!("{name} looks like a credential in plain text");
                fault(setting.path_of("value"), what, remedy)
            })
        })
        .collect()
}

/// T12
pub(super) fn same_name(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for container in &input.containers {
        let mut variables = container.0.items("environment");
        variables.extend(container.0.items("secrets"));
        let mut indexes: HashMap<&str, usize> = HashMap::with_capacity(variables.len());
        for (index, item) in variables.iter().enumerate() {
            let Some(name) = item.text("name") else {
                continue;
            };
            let first = *indexes.entry(name).or_insert(index);
            if first != index {
                let what = format!("{name} is also defined in {}", variables[first].json_path());
                faults.push(fault(item.path_of("name"), what, "define it once"));
            }
        }
    }
    faults
}
