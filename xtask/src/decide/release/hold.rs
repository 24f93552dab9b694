//! A hold: no release but a rollback until somebody lifts it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub who: String,
    #[serde(rename = "where")]
    pub host: String,
    pub why: String,
    pub since: Timestamp,
}

impl Hold {
    /// One line with reason, user, host and time.
    pub fn about(&self) -> String {
        let Self {
            who,
            host,
            why,
            since,
        } = self;
        format!("{why} ({who}@{host}, {since:.0})")
    }
}
