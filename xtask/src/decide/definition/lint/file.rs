//! A file that somebody gives to lint: a definition by itself, wrapped in `taskDefinition`, as
//! `describe-task-definition` prints it, or one that is not whole.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::arn::Arn;
use super::{AwsTarget, Facts, Finding, Severity, lint};
use crate::decide::definition::Definition;
use crate::decide::definition::document::{Document, Position, SyntaxFault};

/// The code of what cannot be read.
pub const NOT_JSON: &str = "T00";

const WRAPPER: &str = "taskDefinition";
const CONTAINERS: &str = "containerDefinitions";

/// All findings about the text of a file. `None`: it is no definition.
pub fn lint_text(subject: impl fmt::Display, text: &str, facts: &Facts) -> Option<Vec<Finding>> {
    let subject = subject.to_string();
    let mut document = Document::parse(text);
    let mut inner = document.value.take();
    let is_wrapped =
        inner.get(CONTAINERS).is_none() && inner.get(WRAPPER).is_some_and(Value::is_object);
    if is_wrapped {
        inner = inner[WRAPPER].take();
    }
    let is_definition = inner.get(CONTAINERS).is_some() || inner.get("family").is_some();
    if !is_definition && (document.faults.is_empty() || !text.contains(CONTAINERS)) {
        return None;
    }
    let faults = document.faults.iter();
    let mut findings: Vec<Finding> = faults.map(|fault| not_json(&subject, fault)).collect();
    if is_definition {
        let facts = facts_of(&inner, is_wrapped, facts);
        for mut finding in lint(&subject, &Definition(inner), &facts) {
            if is_wrapped {
                finding.json_path = if finding.json_path.is_empty() {
                    WRAPPER.to_owned()
                } else {
                    format!("{WRAPPER}.{}", finding.json_path)
                };
            }
            finding.position = Some(document.position(&finding.json_path));
            findings.push(finding);
        }
    }
    Some(findings)
}

/// What to say of a file that was given as a definition and is none.
pub fn not_a_definition(subject: impl fmt::Display, text: &str) -> Vec<Finding> {
    let subject = subject.to_string();
    let faults = Document::parse(text).faults;
    if !faults.is_empty() {
        return faults
            .iter()
            .map(|fault| not_json(&subject, fault))
            .collect();
    }
    let position = Position { line: 1, column: 1 };
    let message = format!("not a task definition: neither {CONTAINERS} nor {WRAPPER}");
    vec![not_json(&subject, &SyntaxFault { position, message })]
}

/// What to say of a file of a folder that could not be read, for this reason.
pub fn unreadable(subject: &str, reason: String) -> Finding {
    let position = Position { line: 1, column: 1 };
    let message = reason;
    not_json(subject, &SyntaxFault { position, message })
}

fn not_json(subject: &str, fault: &SyntaxFault) -> Finding {
    Finding {
        subject: subject.to_owned(),
        code: NOT_JSON,
        severity: Severity::Error,
        json_path: String::new(),
        position: Some(fault.position),
        reason: format!("{} (the AWS CLI reads none of it)", fault.message),
        remedy: "write a definition in JSON".to_owned(),
        edit: None,
    }
}

/// A definition that ECS printed says itself where it is registered.
fn facts_of<'a>(definition: &Value, is_wrapped: bool, facts: &'a Facts) -> Cow<'a, Facts> {
    let arn = definition.get("taskDefinitionArn").and_then(Value::as_str);
    let own = arn
        .and_then(Arn::parse)
        .filter(|arn| super::arn::is_account(arn.account));
    let own = own.filter(|_| facts.target.is_none());
    if own.is_none() && is_wrapped == facts.is_described {
        return Cow::Borrowed(facts);
    }
    let mut facts = facts.clone();
    facts.is_described = is_wrapped;
    facts.target = facts.target.or_else(|| {
        own.map(|arn| AwsTarget {
            region: arn.region.to_owned(),
            account_id: arn.account.to_owned(),
        })
    });
    Cow::Owned(facts)
}
