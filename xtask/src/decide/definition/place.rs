//! Where in a template's text something stands that a finding names.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The line, counted from 1, of a place such as `containerDefinitions[0].secrets[1].valueFrom`.
/// What is not in the text (the finding may be that it is missing) stands where its parent does.
pub fn line_of(text: &str, place: &str) -> Option<usize> {
    let mut found: &RawValue = serde_json::from_str(text).ok()?;
    for step in place.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        let next = match step.parse::<usize>() {
            Ok(index) => items(found).and_then(|items| items.get(index).copied()),
            Err(_) => members(found).and_then(|members| members.get(step).copied()),
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    // A raw value is a part of the text itself.
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
    fn a_place_is_found_by_names_and_numbers() {
        assert_eq!(line_of(TEXT, "family"), Some(2));
        assert_eq!(line_of(TEXT, "containers[0].name"), Some(5));
        assert_eq!(line_of(TEXT, "containers[0].secrets[1].name"), Some(8));
    }

    #[test]
    fn what_is_missing_stands_where_its_parent_does() {
        assert_eq!(line_of(TEXT, "containers[0].secrets[7].name"), Some(6));
        assert_eq!(line_of(TEXT, "containers[0].user"), Some(4));
        assert_eq!(line_of(TEXT, "cpu"), Some(1));
        assert_eq!(line_of("no JSON", "cpu"), None);
    }
}
