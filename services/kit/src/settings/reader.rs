//! Reads settings one by one and collects what is wrong with them.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use http::Uri;
use secrecy::SecretString;

/// The world that settings are read from.
pub struct Environment<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// One thing that is wrong with one setting. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub setting: String,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.setting, self.what)
    }
}

/// Reads settings one by one and remembers what is wrong. Where a value is wrong, reading goes on
/// with a stand-in that nobody gets to see, because `finish` answers with the faults.
pub struct Reader<'a> {
    environment: &'a Environment<'a>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a Environment<'a>) -> Self {
        Self {
            environment,
            faults: Vec::new(),
        }
    }

    /// An empty variable counts as none: an unset one arrives so through many a template.
    pub fn text(&self, setting: &str) -> Option<String> {
        (self.environment.variable)(setting).filter(|value| !value.is_empty())
    }

    pub fn secret(&self, setting: &str) -> Option<SecretString> {
        self.text(setting).map(SecretString::from)
    }

    /// `expected` says what the value should look like.
    pub fn parsed<T: FromStr>(&mut self, setting: &str, expected: &str) -> Option<T> {
        let text = self.text(setting)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(setting, format!("expected {expected}, got {text:?}"));
        }
        value
    }

    /// An absolute `http` or `https` URL.
    pub fn url(&mut self, setting: &str) -> Option<Uri> {
        let expected = "a URL that begins with http:// or https://";
        let url: Uri = self.parsed(setting, expected)?;
        let absolute = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        if !absolute {
            self.fault(setting, format!("expected {expected}, got \"{url}\""));
        }
        absolute.then_some(url)
    }

    pub fn file(&mut self, setting: &str) -> Option<Vec<u8>> {
        let path = self.text(setting)?;
        match (self.environment.file)(Path::new(&path)) {
            Ok(content) => Some(content),
            Err(error) => {
                self.fault(setting, format!("{path:?} cannot be read: {error}"));
                None
            }
        }
    }

    pub fn fault(&mut self, setting: &str, what: impl Into<String>) {
        self.faults.push(Fault {
            setting: setting.to_owned(),
            what: what.into(),
        });
    }

    pub fn finish<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(self.faults)
        }
    }
}
