//! A catalog as it was written: what could be read of it, and every fault with its file, its line
//! and what is right.

use std::fmt;

use super::{Catalog, CatalogEntry, FILE, read, whole};
use crate::decide::definition::document::Document;
use crate::decide::definition::strict::{self, JsonError};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("{}", lines(.0))]
    Faults(Vec<CatalogFault>),
}

impl CatalogError {
    /// Whether it has a word that this program does not know and a newer one may.
    pub fn may_be_newer(&self) -> bool {
        match self {
            Self::Json(_) => false,
            Self::Faults(faults) => faults.iter().any(|fault| fault.is_unknown_word),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFault {
    file: String,
    line: Option<usize>,
    /// Empty for a file as a whole.
    path: String,
    message: String,
    is_unknown_word: bool,
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(formatter, ": {}", self.path)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

fn lines(faults: &[CatalogFault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// An entry, with the paths of what others may contradict. An invalid name is kept.
#[derive(Debug, Clone)]
pub struct DraftEntry {
    /// Such as `components[1]`.
    pub path: String,
    pub entry: CatalogEntry,
    /// Of `routes` and `calls` of the entry, in their order.
    pub(super) route_paths: Vec<String>,
    pub(super) call_paths: Vec<String>,
}

/// What was read of a catalog. It is one only without faults.
pub struct CatalogDraft<'a> {
    text: &'a str,
    /// In the order of the file.
    pub entries: Vec<DraftEntry>,
    /// Names of entries of which not even the kind is known.
    pub(super) unread: Vec<String>,
    faults: Vec<CatalogFault>,
}

impl<'a> CatalogDraft<'a> {
    /// Fails only where the text is not a JSON object.
    pub fn read(text: &'a str) -> Result<Self, CatalogError> {
        let document = strict::parse_object(FILE, text)?;
        let mut draft = Self {
            text,
            entries: Vec::new(),
            unread: Vec::new(),
            faults: Vec::new(),
        };
        read::entries(&mut draft, &document);
        whole::check(&mut draft);
        Ok(draft)
    }

    /// The catalog, unless anything is wrong.
    pub fn finish(mut self) -> Result<Catalog, CatalogError> {
        let entries = whole::in_order(&mut self);
        if self.faults.is_empty() {
            return Ok(Catalog { entries });
        }
        self.faults
            .sort_by_key(|fault| (fault.file != FILE, fault.line));
        Err(CatalogError::Faults(self.faults))
    }

    /// Whether there is a service of this name, or an entry of which the kind is not known.
    pub fn names_service(&self, name: &str) -> bool {
        let mut services = self.entries.iter().filter_map(|it| it.entry.as_service());
        services.any(|entry| entry.service.name() == name) || self.is_unread(name)
    }

    pub(super) fn is_unread(&self, name: &str) -> bool {
        self.unread.iter().any(|it| it == name)
    }

    pub fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(CatalogFault {
            file: FILE.to_owned(),
            line: Some(Document::parse(self.text).position(path).line),
            path: path.to_owned(),
            message: message.into(),
            is_unknown_word: false,
        });
    }

    /// A word that is not one of those that belong there.
    pub(super) fn unknown_word(&mut self, path: &str, message: impl Into<String>) {
        self.fault(path, message);
        if let Some(fault) = self.faults.last_mut() {
            fault.is_unknown_word = true;
        }
    }

    /// A fault of another file, which the catalog needs.
    pub fn fault_of_file(&mut self, file: impl Into<String>, message: impl Into<String>) {
        self.faults.push(CatalogFault {
            file: file.into(),
            line: None,
            path: String::new(),
            message: message.into(),
            is_unknown_word: false,
        });
    }
}
