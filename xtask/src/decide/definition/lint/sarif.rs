//! Findings in SARIF 2.1.0, which editors and code hosts show beside the lines of a file.
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use super::pages::pages;
use super::{Finding, RULES, Severity};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One log with one run. `file_of` has the path of what a finding is about.
pub fn sarif(findings: &[&Finding], file_of: impl Fn(&Finding) -> String) -> Value {
    let pages = pages();
    let rules: Vec<Value> = pages
        .iter()
        .map(|page| {
            let rule = RULES.iter().find(|rule| rule.code == page.code);
            let severity = rule.map_or(Severity::Error, |rule| rule.severity);
            json!({
                "id": page.code,
                "shortDescription": { "text": page.title },
                "fullDescription": { "text": page.summary() },
                "help": { "text": page.text, "markdown": page.text },
                "helpUri": page.source(),
                "defaultConfiguration": { "level": level(severity) },
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let file = json!({ "uri": uri(&file_of(finding)) });
            let mut place = json!({ "artifactLocation": file });
            if let Some(position) = finding.position {
                let (line, column) = (position.line, position.column);
                place["region"] = json!({ "startLine": line, "startColumn": column });
            }
            let path = json!({ "fullyQualifiedName": finding.json_path });
            json!({
                "ruleId": finding.code,
                "ruleIndex": pages.iter().position(|page| page.code == finding.code),
                "level": level(finding.severity),
                "message": { "text": format!("{}; {}", finding.reason, finding.remedy) },
                "locations": [{ "physicalLocation": place, "logicalLocations": [path] }],
            })
        })
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "xtask lint", "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    }
}

/// A path as a reference of a URI, in which a space has no place.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
