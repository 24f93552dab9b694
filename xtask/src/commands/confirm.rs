//! Nothing but the local AWS is changed without a yes.

use anyhow::Result;

use crate::failure::Failure;
use crate::world::Desk;

/// `yes` is the flag; else the user is asked at a terminal. Anything but a yes is a refusal.
pub fn confirm(desk: &Desk<'_>, yes: bool, what: &str) -> Result<()> {
    let environment = &desk.environment.name;
    if desk.environment.emulated || yes || desk.report.ask(&format!("{environment}: {what}?")) {
        return Ok(());
    }
    Err(
        Failure::refused(format!("not confirmed: {what} on {environment}"))
            .hint("answer y at a terminal, or give --yes")
            .into(),
    )
}
