//! Reads settings one by one and collects their errors.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use http::Uri;
use secrecy::SecretString;

/// Where settings are read from.
pub struct SettingsSource<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// What is wrong with one setting. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    pub setting: String,
    pub problem: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.setting, self.problem)
    }
}

/// Reads settings and collects their errors. Where a value is invalid, reading goes on with a
/// placeholder that is never used, because `finish` then returns the errors.
pub struct Reader<'a> {
    source: &'a SettingsSource<'a>,
    errors: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a SettingsSource<'a>) -> Self {
        Self {
            source,
            errors: Vec::new(),
        }
    }

    /// An empty variable counts as unset: templates often pass on an unset variable as an empty
    /// one.
    pub fn text(&self, setting: &str) -> Option<String> {
        (self.source.variable)(setting).filter(|value| !value.is_empty())
    }

    pub fn secret(&self, setting: &str) -> Option<SecretString> {
        self.text(setting).map(SecretString::from)
    }

    /// `expected` describes a valid value, for the error.
    pub fn parsed<T: FromStr>(&mut self, setting: &str, expected: &str) -> Option<T> {
        let text = self.text(setting)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.error(setting, format!("expected {expected}, got {text:?}"));
        }
        value
    }

    /// An absolute `http` or `https` URL.
    pub fn url(&mut self, setting: &str) -> Option<Uri> {
        let expected = "a URL that begins with http:// or https://";
        let url: Uri = self.parsed(setting, expected)?;
        let absolute = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        if !absolute {
            self.error(setting, format!("expected {expected}, got \"{url}\""));
        }
        absolute.then_some(url)
    }

    pub fn file(&mut self, setting: &str) -> Option<Vec<u8>> {
        let path = self.text(setting)?;
        match (self.source.file)(Path::new(&path)) {
            Ok(content) => Some(content),
            Err(error) => {
                self.error(setting, format!("{path:?} cannot be read: {error}"));
                None
            }
        }
    }

    pub fn error(&mut self, setting: &str, problem: impl Into<String>) {
        self.errors.push(SettingError {
            setting: setting.to_owned(),
            problem: problem.into(),
        });
    }

    pub fn finish<T>(self, value: T) -> Result<T, Vec<SettingError>> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }
}
