//! `verify`: checks the acceptance criteria. It changes nothing in the environment, and checks
//! every criterion even if others fail.

mod alone;
mod released;
mod signed;
mod stubs;
mod suites;

use anyhow::Result;

use crate::catalog::{Component, Service};
use crate::decide::acceptance::responses::{HttpResponse, HttpResult};
use crate::decide::acceptance::{
    self, AXON, Check, Criterion, GOVERNANCE, ORBIT, Observations, failed, table,
};
use crate::decide::outputs::Outputs;
use crate::failure::{self, Failure, Kind};
use crate::ports::{Containers, Context, Probe, ProbeRequest, Toolchain};
use crate::report::CommandEvent;

/// Which criteria are checked.
#[derive(Clone, Copy)]
pub enum VerifyScope<'a> {
    /// Images alone, tests, and what is deployed.
    Whole(Tools<'a>),
    /// Only what is deployed: nothing is built or run here.
    Deployed,
}

/// What builds and runs on this machine.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub containers: &'a dyn Containers,
    pub toolchain: &'a dyn Toolchain,
}

pub async fn verify(
    context: &Context<'_>,
    outputs: &Outputs,
    scope: VerifyScope<'_>,
) -> Result<()> {
    let mut health = Observations::default();
    let mut checks = match scope {
        VerifyScope::Whole(tools) => {
            let alone = alone::check(context, outputs, tools.containers).await?;
            health = alone.health;
            let mut checks = judged(context, alone.checks);
            checks.extend(judged(
                context,
                suites::check(context, tools.toolchain).await,
            ));
            checks
        }
        VerifyScope::Deployed => {
            let through = released::check_through_balancer(context, outputs).await;
            let mut checks = judged(context, through);
            let left_out = [
                Criterion::Images,
                Criterion::UnitTests,
                Criterion::IntegrationTests,
            ];
            let why = "--deployed leaves out what builds or runs tests";
            let left_out = left_out.map(|criterion| Check::skip(criterion, why));
            checks.extend(judged(context, left_out));
            checks
        }
    };
    checks.extend(judged(
        context,
        released::check(context, outputs, health).await,
    ));
    conclude(context, &checks)
}

/// Reports what is checked now.
fn looking(context: &Context<'_>, subject: &str, at: &str) {
    context.report.emit(CommandEvent::Looking {
        subject: subject.to_owned(),
        at: at.to_owned(),
    });
}

/// Reports criteria as soon as they are judged.
fn judged(context: &Context<'_>, checks: impl IntoIterator<Item = Check>) -> Vec<Check> {
    let checks: Vec<Check> = checks.into_iter().collect();
    for check in &checks {
        context.report.emit(CommandEvent::Criterion {
            number: check.number,
            name: check.name.to_owned(),
            status: check.status.word().to_owned(),
            seen: check.seen.clone(),
            remedy: check.remedy.clone(),
        });
    }
    checks
}

fn conclude(context: &Context<'_>, checks: &[Check]) -> Result<()> {
    context.report.data(&checks, &table(checks));
    let failed = failed(checks);
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of {} criteria failed",
        failed.len(),
        acceptance::ALL.len()
    );
    Err(Failure::new(Kind::CheckFailed, message).into())
}

/// A criterion that could not be checked.
fn unseen(criterion: Criterion, error: &anyhow::Error, remedy: &str) -> Check {
    let hint = failure::of(error).and_then(|failure| failure.hint.as_deref());
    Check::fail(criterion, &format!("{error:#}"), hint.unwrap_or(remedy))
}

/// Why what the requirements say of axon and orbit cannot be checked: one of the components is
/// retired, deleted or not created yet.
fn not_there(context: &Context<'_>, outputs: &Outputs) -> Option<String> {
    let components = context.catalog.components();
    let required: [Component; 3] = [AXON.into(), ORBIT.into(), GOVERNANCE.into()];
    let is_there = |it: &Component| components.contains(it) && outputs.has(*it);
    let missing = required.iter().find(|it| !is_there(it))?;
    Some(format!("there is no {missing} in this environment"))
}

/// The commands that show the logs of these services.
fn logs_of(services: &[Service]) -> String {
    let commands = services.iter().map(|it| format!("cargo xtask logs {it}"));
    commands.collect::<Vec<_>>().join("\n")
}

async fn ask(probe: &dyn Probe, request: ProbeRequest<'_>) -> HttpResult {
    let answer = probe.send(request).await;
    let mut answer = answer.map_err(|error| format!("no answer: {error:#}"))?;
    Ok(HttpResponse {
        status: answer.status,
        correlation_id: answer.headers.remove("x-correlation-id"),
        task_revision: answer.headers.remove("x-task-revision"),
        body: answer.body,
    })
}
