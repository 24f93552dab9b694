//! Settings from the environment. All of them are read before any error is reported, and all
//! errors are reported at once, before a port is bound. Variables and files come from what the
//! caller passes in.

pub(crate) mod base;
pub(crate) mod reader;
mod setting;

pub use base::{Base, MetricsOutput, Signatures};
pub use reader::{Reader, SettingError, SettingsSource, known_to};
pub use setting::{Setting, SettingKind, document, table};
