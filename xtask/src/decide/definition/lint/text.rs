//! Rules about how the definition is written: keys, names, and what a template left behind.

use super::{Fault, Input, fault};
use crate::decide::artifact::image::Digest;
use crate::decide::definition::keys::{self, KeyFaultKind, READ_ONLY};
use crate::decide::definition::node::Node;

const NAME_LENGTH_MAX: usize = 255;

/// Words that people leave where a value shall go.
const STAND_INS: [&str; 3] = ["REPLACE", "PLACEHOLDER", "{{"];

/// T50
pub(super) fn read_only_keys(input: &Input<'_>) -> Vec<Fault> {
    let root = input.definition.root();
    let present = READ_ONLY.iter().filter(|key| root.get(key).is_some());
    present
        .map(|key| fault(*key, "it is ECS's own", "leave it out"))
        .collect()
}

/// T51
pub(super) fn keys(input: &Input<'_>) -> Vec<Fault> {
    let faults = keys::faults(&input.definition.root()).into_iter();
    faults
        .map(|found| match found.kind {
            KeyFaultKind::Unknown { key, nearest } => {
                let remedy =
                    nearest.map_or("leave it out".to_owned(), |name| format!("write {name}"));
                fault(found.place, format!("ECS knows no {key}"), remedy)
            }
            KeyFaultKind::Type { expected } => fault(
                found.place,
                "its value is of another type",
                format!("write {expected}"),
            ),
        })
        .collect()
}

/// T52
pub(super) fn template_rests(input: &Input<'_>) -> Vec<Fault> {
    let strings = input.definition.root().strings();
    strings
        .into_iter()
        .filter_map(|(node, text)| {
            // The text itself may be a secret: only what is left of the template is shown.
            let what = rest(&node, text)?;
            Some(fault(node.place, what, "write the value"))
        })
        .collect()
}

fn rest(node: &Node<'_>, text: &str) -> Option<String> {
    let is_command = ["command[", "entryPoint["]
        .iter()
        .any(|key| node.place.contains(key));
    let is_setting = node.place.contains(".environment[") || node.place.contains("dockerLabels");
    if text.is_empty() {
        return (!is_command && !is_setting).then(|| "it is empty".to_owned());
    }
    // In a command, `${` is the shell's.
    let placeholder = if is_command {
        None
    } else {
        between(text, "${", "}")
    };
    let rest = placeholder
        .or_else(|| STAND_INS.into_iter().find(|word| text.contains(word)))
        .or_else(|| angle_brackets(text))?;
    Some(format!("{rest} is left of a template"))
}

/// The first part of a text from one mark to the other; to the text's end where that is missing.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let part = &text[text.find(from)?..];
    Some(part.find(to).map_or(part, |end| &part[..end + to.len()]))
}

/// `<account-id>`, and not `a < b` or `2>&1`.
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
pub(super) fn names(input: &Input<'_>) -> Vec<Fault> {
    let root = input.definition.root();
    let containers = input.definition.containers();
    let named = containers.iter().map(|container| container.0.clone());
    let mut faults = Vec::new();
    for (node, key) in std::iter::once((root, "family")).chain(named.map(|node| (node, "name"))) {
        let name = node.text(key).unwrap_or_default();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.bytes().all(valid) {
            let what = format!("`{name}` is no name");
            let remedy = format!("write 1 to {NAME_LENGTH_MAX} of A-Z, a-z, 0-9, _ and -");
            faults.push(fault(node.place_of(key), what, remedy));
        }
    }
    for container in &containers {
        let digest = container.image().and_then(|image| image.split_once('@'));
        if let Some((_, digest)) = digest.filter(|(_, digest)| Digest::parse(digest).is_none()) {
            let what = format!("{digest} is no digest");
            let remedy = "write sha256: and 64 of 0-9 and a-f";
            faults.push(fault(container.0.place_of("image"), what, remedy));
        }
    }
    faults
}
