//! Findings that somebody has looked at and accepted, with the reason, in a file beside the
//! definitions. One that fits no finding is a finding itself.

use serde::Deserialize;

use super::{Finding, Severity};
use crate::decide::definition::document::Document;

/// The file's name, in the folder of the definitions.
pub const FILE: &str = "lint-suppressions.json";

const UNUSED: &str = "T72";

/// Where the suppressions of a definition are.
pub fn path_beside(definition: &str) -> String {
    match definition.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{FILE}"),
        None => FILE.to_owned(),
    }
}

/// The file's contents, and which of them fitted a finding.
#[derive(Debug, Clone, Default)]
pub struct Suppressions {
    entries: Vec<Suppression>,
    is_used: Vec<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suppression {
    code: String,
    /// The JSON path of the finding; `[*]` is any index.
    path: String,
    /// The service or the name of the file, where it is about one of them only.
    #[serde(default)]
    subject: Option<String>,
    reason: String,
}

impl Suppressions {
    /// Parses the text of `file`, which is only named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let entries: Vec<Suppression> =
            serde_json::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        let without = entries.iter().position(|it| it.reason.trim().is_empty());
        if let Some(index) = without {
            return Err(format!("{file}: [{index}] has no reason"));
        }
        let is_used = vec![false; entries.len()];
        Ok(Self { entries, is_used })
    }

    /// The findings that no entry accepts.
    #[must_use]
    pub fn apply(&mut self, findings: Vec<Finding>) -> Vec<Finding> {
        let mut left = findings;
        left.retain(|finding| {
            let mut is_accepted = false;
            for (entry, is_used) in self.entries.iter().zip(&mut self.is_used) {
                if entry.fits(finding) {
                    *is_used = true;
                    is_accepted = true;
                }
            }
            !is_accepted
        });
        left
    }

    /// One finding for each entry that fitted none. `text` is that of `file`.
    pub fn unused(&self, file: &str, text: &str) -> Vec<Finding> {
        let document = Document::parse(text);
        let unused = self
            .is_used
            .iter()
            .enumerate()
            .filter(|(_, is_used)| !**is_used);
        unused
            .map(|(index, _)| {
                let Suppression { code, path, .. } = &self.entries[index];
                let json_path = format!("[{index}]");
                Finding {
                    subject: file.to_owned(),
                    code: UNUSED,
                    severity: Severity::Warning,
                    position: Some(document.position(&json_path)),
                    json_path,
                    reason: format!(
                        "{code} finds nothing at {path} (it would hide the next fault)"
                    ),
                    remedy: "remove it".to_owned(),
                    edit: None,
                }
            })
            .collect()
    }
}

impl Suppression {
    fn fits(&self, finding: &Finding) -> bool {
        let name = finding.subject.rsplit('/').next();
        self.code == finding.code
            && fits(&self.path, &finding.json_path)
            && self
                .subject
                .as_deref()
                .is_none_or(|subject| Some(subject) == name)
    }
}

fn fits(pattern: &str, json_path: &str) -> bool {
    let mut parts = pattern.split("[*]");
    let Some(mut rest) = parts.next().and_then(|first| json_path.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match index.and_then(|(_, tail)| tail.strip_prefix(part)) {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(subject: &str, json_path: &str) -> Finding {
        Finding {
            subject: subject.to_owned(),
            code: "T33",
            severity: Severity::Warning,
            json_path: json_path.to_owned(),
            position: None,
            reason: String::new(),
            remedy: String::new(),
            edit: None,
        }
    }

    #[test]
    fn a_finding_is_accepted_by_code_path_and_subject() {
        let text = r#"[
            { "code": "T33", "path": "containerDefinitions[*].command", "reason": "a script" },
            { "code": "T33", "path": "family", "subject": "a.json", "reason": "so" },
            { "code": "T34", "path": "cpu", "reason": "so" }
        ]"#;
        let mut suppressions = Suppressions::parse("x", text).unwrap();
        let findings = vec![
            finding("a", "containerDefinitions[12].command"),
            finding("a", "containerDefinitions[12].commands"),
            finding("b/a.json", "family"),
            finding("b.json", "family"),
            finding("a", "cpu"),
        ];
        let left = suppressions.apply(findings);
        let left: Vec<&str> = left.iter().map(|it| it.json_path.as_str()).collect();
        assert_eq!(left, ["containerDefinitions[12].commands", "family", "cpu"]);
        let unused = suppressions.unused("x", text);
        assert_eq!(unused.len(), 1);
        assert!(
            unused[0]
                .to_string()
                .starts_with("x:4:13 T72 warning [2]: T34 finds nothing")
        );
    }

    #[test]
    fn a_suppression_needs_a_reason() {
        let error = |text| Suppressions::parse("x", text).unwrap_err();
        let blank = r#"[{ "code": "T33", "path": "cpu", "reason": " " }]"#;
        assert_eq!(error(blank), "x: [0] has no reason");
        assert!(error(r#"[{ "code": "T33", "path": "cpu" }]"#).contains("missing field `reason`"));
    }
}
