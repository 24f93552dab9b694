//! Reads settings one by one, and collects what they are and what is wrong with them.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use http::Uri;
use secrecy::SecretString;

use super::setting::Setting;

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
    known: Vec<Setting>,
    errors: Vec<SettingError>,
    warnings: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a SettingsSource<'a>) -> Self {
        Self {
            source,
            known: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What is set, where it is valid. An empty variable counts as unset: templates often pass on an
    /// unset variable as an empty one.
    pub fn text(&mut self, setting: &Setting) -> Option<String> {
        self.add(setting);
        let Some(text) = self.variable(setting) else {
            if setting.required {
                self.error(setting.name, "not set");
            }
            return None;
        };
        let is_fit = setting.kind.fits(&text);
        if !is_fit {
            self.unexpected(setting, &text);
        }
        is_fit.then_some(text)
    }

    pub fn is_set(&mut self, setting: &Setting) -> bool {
        self.add(setting);
        self.variable(setting).is_some()
    }

    fn variable(&self, setting: &Setting) -> Option<String> {
        (self.source.variable)(setting.name).filter(|value| !value.is_empty())
    }

    pub fn secret(&mut self, setting: &Setting) -> Option<SecretString> {
        self.text(setting).map(SecretString::from)
    }

    /// The value, or the default.
    pub fn parsed<T: FromStr>(&mut self, setting: &Setting) -> Option<T> {
        let set = self.text(setting);
        let text = set.as_deref().or(setting.default)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.unexpected(setting, text);
        }
        value
    }

    pub fn url(&mut self, setting: &Setting) -> Option<Uri> {
        self.parsed(setting)
    }

    pub fn file(&mut self, setting: &Setting) -> Option<Vec<u8>> {
        let path = self.text(setting)?;
        match (self.source.file)(Path::new(&path)) {
            Ok(content) => Some(content),
            Err(error) => {
                self.error(setting.name, format!("{path:?} cannot be read: {error}"));
                None
            }
        }
    }

    /// Notes a setting that something else reads: the runtime, or the SDK.
    pub fn add(&mut self, setting: &Setting) {
        if !self.known.iter().any(|known| known.name == setting.name) {
            self.known.push(*setting);
        }
    }

    fn unexpected(&mut self, setting: &Setting, text: &str) {
        let expected = setting.kind.expected();
        let problem = format!("expected {expected}, got {text:?}");
        if setting.lenient {
            self.warnings.push(SettingError {
                setting: setting.name.to_owned(),
                problem: format!("{problem}, which is passed over"),
            });
        } else {
            self.error(setting.name, problem);
        }
    }

    /// What is wrong and does not keep the service from running.
    pub fn take_warnings(&mut self) -> Vec<SettingError> {
        std::mem::take(&mut self.warnings)
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

/// All settings that `read` reads where none is set.
pub fn known_to<S>(read: impl FnOnce(&mut Reader<'_>) -> S) -> Vec<Setting> {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| Err(io::ErrorKind::NotFound.into()),
    };
    let mut reader = Reader::new(&source);
    drop(read(&mut reader));
    reader.known
}
