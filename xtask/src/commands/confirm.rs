//! Nothing but the local AWS is changed without a yes.

use std::time::Duration;

use anyhow::Result;

use crate::failure::Failure;
use crate::world::Desk;

/// `yes` is the flag; else the user is asked at a terminal. Anything but a yes is a refusal.
pub async fn confirm(desk: &Desk<'_>, yes: bool, what: &str) -> Result<()> {
    let environment = &desk.environment.name;
    let question = format!("{environment}: {what}?");
    if desk.environment.emulated || yes || desk.report.ask(&question).await {
        return Ok(());
    }
    Err(
        Failure::refused(format!("not confirmed: {what} on {environment}"))
            .hint("answer y at a terminal, or give --yes")
            .into(),
    )
}

/// Credentials that end before the work must have: nothing can be rolled back without them.
pub fn warn_of_expiry(desk: &Desk<'_>, limit: Duration) {
    let Some(end) = desk.connector.credentials_end() else {
        return;
    };
    let latest = desk.clock.now() + limit;
    if end < latest {
        let text = format!(
            "they end at {end:.0}, and this may take until {latest:.0}, its rollback included; cut off \
             by their end it stays as it is then (exit code 22): sign in again first, or ask for a \
             longer session"
        );
        desk.report.warn("credentials", &text);
    }
}
