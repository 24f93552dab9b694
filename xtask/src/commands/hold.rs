//! `hold`, `unhold`: whether an environment takes releases.

use anyhow::Result;
use serde_json::json;

use crate::decide::release::hold::Hold;
use crate::failure::Failure;
use crate::ports::Context;
use crate::release::confirm;
use crate::report::LockEvent;

pub async fn hold(context: &Context<'_>, why: &str, yes: bool) -> Result<()> {
    let _confirmed = confirm(context, yes, "hold all releases").await?;
    let hold = of_user(context, why);
    // One that is lifted meanwhile is no reason to refuse.
    while !context.ledger.set_hold(&hold).await? {
        refuse(context).await?;
    }
    let hold = hold.about();
    context.report.data(&json!({ "hold": hold }), "");
    context.report.emit(LockEvent::HoldSet { hold });
    Ok(())
}

pub async fn unhold(context: &Context<'_>, yes: bool) -> Result<()> {
    let _confirmed = confirm(context, yes, "let releases go on").await?;
    lift(context).await?;
    context.report.data(&json!({ "hold": null }), "");
    Ok(())
}

/// Lifts a hold, if there is one.
pub(super) async fn lift(context: &Context<'_>) -> Result<()> {
    let hold = context.ledger.lift_hold().await?.map(|hold| hold.about());
    context.report.emit(LockEvent::HoldLifted { hold });
    Ok(())
}

/// A hold by whoever runs this command.
pub(super) fn of_user(context: &Context<'_>, why: &str) -> Hold {
    Hold {
        who: context.user.name.clone(),
        host: context.user.host.clone(),
        why: why.to_owned(),
        since: context.clock.now(),
    }
}

/// Tells a hold that stands, to somebody who changes nothing.
pub(super) async fn tell(context: &Context<'_>) -> Result<()> {
    if let Some(hold) = context.ledger.hold().await? {
        let hold = hold.about();
        context.report.emit(LockEvent::Held { hold });
    }
    Ok(())
}

/// While an environment is held, nothing is released.
pub(super) async fn refuse(context: &Context<'_>) -> Result<()> {
    let Some(hold) = context.ledger.hold().await? else {
        return Ok(());
    };
    Err(held(context, &hold).into())
}

fn held(context: &Context<'_>, hold: &Hold) -> Failure {
    let environment = &context.environment.name;
    let text = format!("{environment} takes no release: {}", hold.about());
    Failure::refused(text).hint(format!(
        "cargo xtask unhold --env {environment}                # releases go on\n\
         cargo xtask deploy --lift-hold --env {environment}    # the same with this release"
    ))
}
