//! Rules about the text of a definition: keys, names and unresolved placeholders.

use super::{Input, LintFault, fault};
use crate::decide::artifact::types::Digest;
use crate::decide::definition::keys::{self, KeyFaultKind, READ_ONLY};
use crate::decide::definition::node::Node;

const NAME_LENGTH_MAX: usize = 255;

/// Words that are commonly written in place of a value.
const PLACEHOLDER_WORDS: [&str; 3] = ["REPLACE", "PLACEHOLDER", "{{"];

/// T50
pub(super) fn read_only_keys(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let present = READ_ONLY.iter().filter(|key| root.get(key).is_some());
    present
        .map(|key| fault(*key, "a read-only key", "remove it"))
        .collect()
}

/// T51
pub(super) fn keys(input: &Input<'_>) -> Vec<LintFault> {
    let faults = keys::faults(&input.definition.root()).into_iter();
    faults
        .map(|found| match found.kind {
            KeyFaultKind::Unknown { key, nearest } => {
                let remedy = nearest.map_or("remove it".to_owned(), |name| {
                    format!("did you mean `{name}`?")
                });
                fault(found.json_path, format!("unknown key `{key}`"), remedy)
            }
            KeyFaultKind::Type { expected } => fault(
                found.json_path,
                "the value has the wrong type",
                format!("set {expected}"),
            ),
        })
        .collect()
}

/// T52
pub(super) fn unresolved_placeholders(input: &Input<'_>) -> Vec<LintFault> {
    let strings = input.definition.root().strings();
    strings
        .into_iter()
        .filter_map(|(node, text)| {
            // The text itself may be a secret, so only the placeholder is shown.
            let what = placeholder_in(&node, text)?;
            Some(fault(node.json_path, what, "fill in the value"))
        })
        .collect()
}

fn placeholder_in(node: &Node<'_>, text: &str) -> Option<String> {
    let is_command = ["command[", "entryPoint["]
        .iter()
        .any(|key| node.json_path.contains(key));
    let is_setting =
        node.json_path.contains(".environment[") || node.json_path.contains("dockerLabels");
    if text.is_empty() {
        return (!is_command && !is_setting).then(|| "empty".to_owned());
    }
    // In a command, `${` belongs to the shell.
    let dollar = if is_command {
        None
    } else {
        between(text, "${", "}")
    };
    let placeholder = dollar
        .or_else(|| {
            PLACEHOLDER_WORDS
                .into_iter()
                .find(|word| text.contains(word))
        })
        .or_else(|| angle_brackets(text))?;
    Some(format!("unresolved placeholder `{placeholder}`"))
}

/// The first part of `text` that starts with `from` and ends with `to`, or the rest of the text
/// where `to` is missing.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let part = &text[text.find(from)?..];
    Some(part.find(to).map_or(part, |end| &part[..end + to.len()]))
}

/// A name in angle brackets such as `<account-id>`, but not `a < b` or `2>&1`.
fn angle_brackets(text: &str) -> Option<&str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte);
    text.match_indices('<').find_map(|(start, _)| {
        let part = between(&text[start..], "<", ">")?;
        let name = part.strip_prefix('<')?.strip_suffix('>')?;
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
        (is_name && name.bytes().all(inner)).then_some(part)
    })
}

/// T59
pub(super) fn names(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let containers = input.definition.containers();
    let named = containers.iter().map(|container| container.0.clone());
    let mut faults = Vec::new();
    for (node, key) in std::iter::once((root, "family")).chain(named.map(|node| (node, "name"))) {
        let name = node.text(key).unwrap_or_default();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.bytes().all(valid) {
            let what = format!("`{name}` is not a valid name");
            let remedy = format!("use 1 to {NAME_LENGTH_MAX} of A-Z, a-z, 0-9, _ and -");
            faults.push(fault(node.path_of(key), what, remedy));
        }
    }
    for container in &containers {
        let digest = container.image().and_then(|image| image.split_once('@'));
        if let Some((_, digest)) = digest.filter(|(_, digest)| Digest::parse(digest).is_none()) {
            let what = format!("{digest} is not a digest");
            let remedy = "use sha256: followed by 64 of 0-9 and a-f";
            faults.push(fault(container.0.path_of("image"), what, remedy));
        }
    }
    faults
}
