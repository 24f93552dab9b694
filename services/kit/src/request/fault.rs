//! Whose fault it is that a request failed.

use http::StatusCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFault {
    Caller,
    Us,
    /// Of what was called for it.
    Target,
}

impl RequestFault {
    /// `None` where it did not fail.
    pub(crate) fn of(status: StatusCode, is_targets: bool) -> Option<Self> {
        if is_targets {
            Some(Self::Target)
        } else if status.is_client_error() {
            Some(Self::Caller)
        } else {
            status.is_server_error().then_some(Self::Us)
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Us => "us",
            Self::Target => "target",
        }
    }
}
