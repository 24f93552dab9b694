//! Nothing but the local AWS is changed without a yes.

use std::time::Duration;

use anyhow::Result;

use crate::failure::Failure;
use crate::ports::Context;
use crate::report::ReleaseEvent;

/// Proof that the user agreed to a change: only `confirm` makes one, and every function of the
/// engine that changes an environment takes one.
#[must_use]
pub struct Confirmed(());

/// `yes` is the flag; else the user is asked at a terminal. Anything but a yes is a refusal.
pub async fn confirm(context: &Context<'_>, yes: bool, what: &str) -> Result<Confirmed> {
    let environment = &context.environment.name;
    let question = format!("{environment}: {what}?");
    if context.environment.emulated || yes || context.report.ask(&question).await {
        return Ok(Confirmed(()));
    }
    Err(
        Failure::refused(format!("not confirmed: {what} on {environment}"))
            .hint("answer y at a terminal, or give --yes")
            .into(),
    )
}

/// Warns where the credentials may end before the work does: without them nothing can be rolled
/// back.
pub fn warn_of_expiry(context: &Context<'_>, limit: Duration) {
    let Some(end) = context.credentials_end else {
        return;
    };
    let latest = context.clock.now() + limit;
    if end < latest {
        context.report.emit(ReleaseEvent::CredentialsEndEarly {
            end,
            needed_until: latest,
        });
    }
}
