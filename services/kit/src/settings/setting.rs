//! One setting as it is read, checked, printed by `--settings`, and compared with a task definition
//! by `cargo xtask lint`.

use std::fmt;

use http::Uri;
use serde::Serialize;
use tracing_subscriber::filter::Targets;

use crate::ConnectTo;

/// A variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: &'static str,
    #[serde(flatten)]
    pub kind: SettingKind,
    /// What counts where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'static str>,
    /// The same in words, where it depends on other settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<&'static str>,
    pub required: bool,
    /// Instead of this one, where one of them is needed and both are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<&'static str>,
    /// What has to be set where this one is.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub needs: &'static [&'static str],
    /// A wrong value is a warning, and counts as none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
    /// Its value is never shown.
    pub secret: bool,
    pub about: &'static str,
}

/// What a value may be. `Text` may have a form that only the program checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SettingKind {
    Integer {
        minimum: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        maximum: Option<u64>,
    },
    Choice {
        values: &'static [&'static str],
    },
    /// A number from 0 to 1.
    Ratio,
    /// Absolute, of `http` or `https`.
    Url,
    Arn,
    /// What `Targets` of `tracing` parses, with no part left out.
    LogFilter,
    HostAndPort,
    /// Name and alias of a Lambda. A bare name would run `$LATEST`, which no release has tested.
    FunctionAlias,
    /// The path of a file that can be read.
    File,
    Text {
        form: &'static str,
    },
}

impl Setting {
    pub const fn new(name: &'static str, kind: SettingKind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            otherwise: None,
            required: false,
            instead_of: None,
            needs: &[],
            lenient: false,
            secret: false,
            about,
        }
    }

    /// A row of `table`.
    fn row(&self) -> String {
        let default = match (self.default, self.otherwise) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(otherwise)) => otherwise.to_owned(),
            (None, None) if self.required => "needed".to_owned(),
            (None, None) => "none".to_owned(),
        };
        let kind = if self.secret {
            format!("secret, {}", self.kind)
        } else {
            self.kind.to_string()
        };
        format!("| `{}` | {kind} | {default} | {} |", self.name, self.about)
    }
}

impl SettingKind {
    pub const fn at_least(minimum: u64) -> Self {
        let maximum = None;
        Self::Integer { minimum, maximum }
    }

    pub const fn text(form: &'static str) -> Self {
        Self::Text { form }
    }

    pub(super) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Integer { minimum, maximum } => {
                let number = value.parse().ok().filter(|number: &u64| number >= minimum);
                number.is_some_and(|number| maximum.is_none_or(|maximum| number <= maximum))
            }
            Self::Choice { values } => values.contains(&value),
            Self::Ratio => { value.parse().ok() }.is_some_and(|it: f64| (0.0..=1.0).contains(&it)),
            Self::Url => value.parse().is_ok_and(|url: Uri| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
            }),
            Self::Arn => value.starts_with("arn:"),
            Self::LogFilter => is_log_filter(value),
            Self::HostAndPort => value.parse::<ConnectTo>().is_ok(),
            Self::FunctionAlias => is_function_alias(value),
            Self::File | Self::Text { .. } => true,
        }
    }

    /// A valid value in words, for an error.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Integer {
                minimum,
                maximum: Some(maximum),
            } => format!("a number from {minimum} to {maximum}"),
            Self::Integer { minimum, .. } => format!("a number of at least {minimum}"),
            Self::Choice { values } => values.join(" or "),
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::Url => "a URL that begins with http:// or https://".to_owned(),
            Self::Arn => "an ARN".to_owned(),
            Self::LogFilter | Self::HostAndPort | Self::FunctionAlias => self.to_string(),
            Self::File => "a file".to_owned(),
            Self::Text { form } => (*form).to_owned(),
        }
    }
}

impl fmt::Display for SettingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer {
                minimum,
                maximum: Some(maximum),
            } => write!(formatter, "{minimum} to {maximum}"),
            Self::Integer { minimum, .. } => write!(formatter, "number from {minimum}"),
            Self::Choice { values } => write!(formatter, "`{}`", values.join("`, `")),
            Self::Ratio => formatter.write_str("0 to 1"),
            Self::Url => formatter.write_str("URL"),
            Self::Arn => formatter.write_str("ARN"),
            Self::LogFilter => {
                formatter.write_str("a level, or a list like `info,service_kit=debug`")
            }
            Self::HostAndPort => formatter.write_str("host:port"),
            Self::FunctionAlias => formatter.write_str("name and alias, like `demo-policy:live`"),
            Self::File => formatter.write_str("file"),
            Self::Text { form } => formatter.write_str(form),
        }
    }
}

/// `Targets` takes an empty part for the level `error`, which would silence all else, and a space for
/// a part of a name.
fn is_log_filter(text: &str) -> bool {
    let is_whole = |part: &str| {
        let is_named = |it: &str| !it.is_empty() && !it.contains(char::is_whitespace);
        part.split('=').all(is_named)
    };
    text.split(',').all(is_whole) && text.parse::<Targets>().is_ok()
}

fn is_function_alias(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    text.split(':').count() == 2 && text.split(':').all(is_name)
}

/// A table in Markdown, as the README has it.
pub fn table(settings: &[Setting]) -> String {
    let head = "| variable | value | default | is |\n| --- | --- | --- | --- |\n";
    let rows = settings.iter().map(|setting| setting.row() + "\n");
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// A JSON array, one member a line.
pub fn document(settings: &[Setting]) -> String {
    let lines: Vec<String> = settings
        .iter()
        .map(|setting| serde_json::to_string(setting).expect("texts and numbers are JSON"))
        .collect();
    format!("[\n  {}\n]\n", lines.join(",\n  "))
}
