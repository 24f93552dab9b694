//! What a service's program reads from its environment, as `--settings --format json` prints it and
//! its `settings.json` keeps it. A test of the service compares the two, so nothing has to run here.

use http::Uri;
use http::uri::Authority;
use serde::Deserialize;
use serde_json::Value;
use tracing_subscriber::filter::Targets;

/// The settings of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramSettings {
    pub settings: Vec<ProgramSetting>,
    /// What is wrong with the document. What is right in it counts all the same.
    pub faults: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProgramSetting {
    pub name: String,
    #[serde(flatten)]
    pub kind: ValueKind,
    #[serde(default)]
    pub required: bool,
    /// A wrong value is passed over with a warning.
    #[serde(default)]
    pub lenient: bool,
    /// One of the two is needed, and both are refused.
    pub instead_of: Option<String>,
    /// What has to be set where this one is.
    #[serde(default)]
    pub needs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ValueKind {
    Integer {
        minimum: u64,
        maximum: Option<u64>,
    },
    Choice {
        values: Vec<String>,
    },
    /// From 0 to 1.
    Ratio,
    Url,
    Arn,
    LogFilter,
    HostAndPort,
    FunctionAlias,
    /// What only the program can check.
    #[serde(other)]
    Other,
}

impl ProgramSettings {
    /// Where a service's document is, below the root.
    pub fn path(folder: &str) -> String {
        format!("{folder}/settings.json")
    }

    pub fn parse(text: &str) -> Self {
        let members: Vec<Value> = match serde_json::from_str(text) {
            Ok(members) => members,
            Err(error) => {
                return Self {
                    settings: Vec::new(),
                    faults: vec![error.to_string()],
                };
            }
        };
        let mut document = Self::default();
        for (index, member) in members.into_iter().enumerate() {
            match ProgramSetting::deserialize(member) {
                Ok(setting) => document.settings.push(setting),
                Err(error) => document.faults.push(format!("[{index}]: {error}")),
            }
        }
        document
    }

    pub fn find(&self, name: &str) -> Option<&ProgramSetting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

impl ValueKind {
    /// What a value should be, where it is not.
    pub fn fault(&self, value: &str) -> Option<String> {
        let (fits, expected) = match self {
            Self::Integer { minimum, maximum } => {
                let number = value.parse().ok().filter(|number: &u64| number >= minimum);
                let fits = number.is_some_and(|it| maximum.is_none_or(|maximum| it <= maximum));
                let expected = maximum.map_or_else(
                    || format!("a number of at least {minimum}"),
                    |maximum| format!("a number from {minimum} to {maximum}"),
                );
                (fits, expected)
            }
            Self::Choice { values } => {
                let fits = values.iter().any(|known| known == value);
                (fits, values.join(" or "))
            }
            Self::Ratio => {
                let number: Option<f64> = value.parse().ok();
                let fits = number.is_some_and(|number| (0.0..=1.0).contains(&number));
                (fits, "a number from 0 to 1".to_owned())
            }
            Self::Url => {
                let is_absolute = |url: Uri| {
                    matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
                };
                let expected = "a URL that begins with http:// or https://".to_owned();
                (value.parse().is_ok_and(is_absolute), expected)
            }
            Self::Arn => (value.starts_with("arn:"), "an ARN".to_owned()),
            Self::LogFilter => {
                let expected = "a level, or a list like info,service_kit=debug".to_owned();
                (is_log_filter(value), expected)
            }
            Self::HostAndPort => (is_host_and_port(value), "host:port".to_owned()),
            Self::FunctionAlias => {
                let expected = "name and alias, like demo-policy:live".to_owned();
                (is_function_alias(value), expected)
            }
            Self::Other => return None,
        };
        (!fits).then_some(expected)
    }
}

/// What the services' kit takes: no part may be left out, since an empty one stands for `error`.
fn is_log_filter(text: &str) -> bool {
    let is_named = |it: &str| !it.is_empty() && !it.contains(char::is_whitespace);
    let mut parts = text.split(',');
    parts.all(|part| part.split('=').all(is_named)) && text.parse::<Targets>().is_ok()
}

fn is_host_and_port(text: &str) -> bool {
    let is_whole = |it: Authority| !it.host().is_empty() && it.port_u16().is_some();
    !text.contains('@') && text.parse().is_ok_and(is_whole)
}

fn is_function_alias(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    text.split(':').count() == 2 && text.split(':').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_in_a_document_counts_and_the_rest_is_told() {
        let document = ProgramSettings::parse(
            r#"[
            {"name": "PORT", "type": "integer", "minimum": 0, "maximum": 65535, "new": 1},
            {"type": "url"},
            {"name": "LEVEL"},
            {"name": "MODE", "type": "choice", "values": "on"},
            7,
            {"name": "FORM", "type": "of a later version", "required": true}
        ]"#,
        );
        let names: Vec<_> = { document.settings.iter() }.map(|it| &*it.name).collect();
        assert_eq!(names, ["PORT", "FORM"]);
        let places: Vec<_> = { document.faults.iter() }.map(|it| &it[..4]).collect();
        assert_eq!(places, ["[1]:", "[2]:", "[3]:", "[4]:"], "{document:?}");
        assert!(document.find("FORM").unwrap().kind.fault("any").is_none());
        assert!(document.find("PORT").unwrap().kind.fault("65536").is_some());
    }

    #[test]
    fn a_text_that_is_no_list_has_one_fault() {
        for text in ["", "[", "{}", "null", "[1"] {
            let document = ProgramSettings::parse(text);
            assert_eq!(
                (document.settings.len(), document.faults.len()),
                (0, 1),
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_is_what_its_kind_says() {
        let kind = |text: &str| serde_json::from_str::<ValueKind>(text).unwrap();
        for (text, right, wrong) in [
            (
                r#"{"type": "integer", "minimum": 1}"#,
                &["1", "18446744073709551615"][..],
                &["0", "", "-1", "1.5", "x", "1 "][..],
            ),
            (
                r#"{"type": "choice", "values": ["emf", "off"]}"#,
                &["emf"],
                &["EMF", "", "on"],
            ),
            (
                r#"{"type": "url"}"#,
                &["http://x", "https://x:1/a?b"],
                &["x", "/a", "ftp://x", "http:", "x:80"],
            ),
            (
                r#"{"type": "ratio"}"#,
                &["0", "0.25", "1.0"],
                &["1.1", "-0.1", "x", "NaN"],
            ),
            (r#"{"type": "arn"}"#, &["arn:aws:x"], &["x", ""]),
        ] {
            for value in right {
                assert_eq!(kind(text).fault(value), None, "{text} {value}");
            }
            for value in wrong {
                assert!(kind(text).fault(value).is_some(), "{text} {value}");
            }
        }
    }

    #[test]
    fn a_text_has_the_form_of_its_kind() {
        let wrong_of = |kind: &ValueKind, values: &str| {
            let wrong = values.split(' ').filter(|it| kind.fault(it).is_some());
            wrong.collect::<Vec<_>>().join(" ")
        };
        let filters = "info WARN,service_kit=debug off,orbit info,= info, a=b=c a= =info a=loud";
        let wrong = wrong_of(&ValueKind::LogFilter, filters);
        assert_eq!(wrong, "info,= info, a=b=c a= =info a=loud");
        assert!(ValueKind::LogFilter.fault("info, orbit=debug").is_some());
        let places = "h.internal:8080 [::1]:80 h h: :80 h:99999 http://h:80 u@h:80";
        let wrong = wrong_of(&ValueKind::HostAndPort, places);
        assert_eq!(wrong, "h h: :80 h:99999 http://h:80 u@h:80");
        let functions = "demo-governance:live a_1:b demo-governance :live a: a:b:c a.b:c";
        let wrong = wrong_of(&ValueKind::FunctionAlias, functions);
        assert_eq!(wrong, "demo-governance :live a: a:b:c a.b:c");
    }
}
