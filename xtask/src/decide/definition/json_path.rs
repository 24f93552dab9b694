//! The line of a JSON path in the text of a template.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The line, counted from 1, of a path such as `containerDefinitions[0].secrets[1].valueFrom`. A
/// path that does not exist (a key may be missing) has the line of its closest existing parent.
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut found: &RawValue = serde_json::from_str(text).ok()?;
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        let next = match step.parse::<usize>() {
            Ok(index) => items(found).and_then(|items| items.get(index).copied()),
            Err(_) => members(found).and_then(|members| members.get(step).copied()),
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    // A raw value borrows from the text, so its address gives its offset.
    let offset = found
        .get()
        .as_ptr()
        .addr()
        .checked_sub(text.as_ptr().addr())?;
    let before = text.get(..offset)?;
    Some(before.matches('\n').count() + 1)
}

fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

fn members(value: &RawValue) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"family\": \"axon\",\n  \"containers\": [\n    {\n      \"name\": \"a\",\n      \
        \"secrets\": [\n        { \"name\": \"x\" },\n        { \"name\": \"y\" }\n      ]\n    }\n  ]\n}\n";

    #[test]
    fn a_path_has_keys_and_indices() {
        assert_eq!(line_of(TEXT, "family"), Some(2));
        assert_eq!(line_of(TEXT, "containers[0].name"), Some(5));
        assert_eq!(line_of(TEXT, "containers[0].secrets[1].name"), Some(8));
    }

    #[test]
    fn a_missing_path_has_the_line_of_its_parent() {
        assert_eq!(line_of(TEXT, "containers[0].secrets[7].name"), Some(6));
        assert_eq!(line_of(TEXT, "containers[0].user"), Some(4));
        assert_eq!(line_of(TEXT, "cpu"), Some(1));
        assert_eq!(line_of("no JSON", "cpu"), None);
    }
}
