//! From the checkout, the outputs and what runs to a plan. Nothing here changes anything in AWS
//! but `outputs::ready`, which applies the environment's infrastructure.

pub mod about;
pub mod artifacts;
pub mod definitions;
pub mod deploy;
pub mod ledger;
pub mod outputs;
pub mod permissions;
pub mod rollback;

use anyhow::Result;

use crate::decide::release::plan::{Desired, Plan};
use crate::decide::release::record::{Record, ReleaseState};
use crate::ports::Context;
use crate::release::{self, Observed};

/// The plan of what is desired on top of what runs, with what earlier releases left to do.
async fn plan_of(context: &Context<'_>, desired: &Desired, found: Observed) -> Result<Plan> {
    let Observed { snapshot, newest } = found;
    let succeeded = ledger::succeeded_if_moving(context, &snapshot).await?;
    let unfinished = newest
        .as_ref()
        .filter(|newest| newest.state == ReleaseState::InProgress);
    let mut plan = Plan {
        without_alarms: release::left_without_alarms(newest.as_ref(), &snapshot),
        unfinished: unfinished.map(Record::about),
        newest: newest.as_ref().map_or(0, |newest| newest.number),
        ..Plan::new(
            &context.catalog.components(),
            desired,
            snapshot,
            succeeded.as_ref(),
        )
    };
    release::read_definitions(context, &mut plan).await?;
    Ok(plan)
}
