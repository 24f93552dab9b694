//! The way back: everything that a release changed, in reverse order, told in one block.

use anyhow::Result;

use super::{End, Fault, Release, Trouble};
use crate::catalog::Thing;
use crate::decide::plan::{Plan, Step};
use crate::decide::release::State;
use crate::decide::rollout::Outcome;
use crate::failure::{self, Failure, Kind};

/// How the taking back of one thing ended.
pub(super) enum Return {
    Done,
    /// It is somebody else's now, and is left to them.
    Usurped {
        by: String,
    },
}

impl Release<'_> {
    pub(super) async fn failed(&mut self, plan: &Plan, changed: &[Thing], fault: &Fault) -> End {
        let what = fault
            .thing
            .map_or_else(|| "the release".to_owned(), |thing| thing.to_string());
        let reason = &fault.reason;
        let report = self.world.report;
        report.warn(&what, &format!("failed: {reason}; taking back"));
        let mut told = vec![format!("release {} failed", self.record.number)];
        told.push(format!("  what        {what}"));
        told.push(format!("  why         {reason}"));
        told.extend(fault.evidence.iter().map(|line| format!("  {line}")));
        let mut by_hand = Vec::new();
        let mut usurped = false;
        let steps = plan.steps.iter().rev();
        for step in steps.filter(|step| changed.contains(&step.thing)) {
            let outcome = match self.take_back(step).await {
                Ok(Return::Done) => {
                    told.push(format!("  put back    {} to {}", step.thing, goal(step)));
                    Outcome::RolledBack
                }
                Ok(Return::Usurped { by }) => {
                    usurped = true;
                    told.push(format!("  left alone  {}: usurped by {by}", step.thing));
                    Outcome::Usurped
                }
                Err(error) => {
                    told.push(format!("  NOT BACK    {}: {error:#}", step.thing));
                    if failure::is(&error, Kind::Expired) {
                        report.block(&told.join("\n"));
                        return End {
                            state: State::InProgress,
                            result: Err(self.expired(&format!("{error:#}"))),
                        };
                    }
                    by_hand.push(self.by_hand(step));
                    Outcome::Stuck
                }
            };
            if let Err(error) = self.set_outcome(step.thing, outcome).await {
                // The closing of the record writes it once more: the rest goes back first.
                report.warn("release", &format!("{error:#}"));
            }
        }
        if changed.is_empty() {
            told.push("  put back    nothing: it had changed nothing that runs".to_owned());
        }
        report.block(&told.join("\n"));
        let (state, kind, hint) = if !by_hand.is_empty() {
            (State::Stuck, Kind::NotBack, by_hand.join("\n"))
        } else if usurped {
            let hint = "what somebody else deployed was left alone; see `cargo xtask releases`";
            (State::Usurped, Kind::Usurped, hint.to_owned())
        } else {
            let hint = "everything is back where it was; mend the cause and deploy again";
            (State::Back, Kind::Back, hint.to_owned())
        };
        let message = format!("release {} failed: {what}: {reason}", self.record.number);
        End {
            state,
            result: Err(Failure::new(kind, message).hint(hint).into()),
        }
    }

    async fn take_back(&mut self, step: &Step) -> Result<Return> {
        match self.guard().await {
            Err(Trouble::Usurped { by, .. }) => return Ok(Return::Usurped { by }),
            Err(Trouble::Expired { how }) => {
                return Err(Failure::new(Kind::Expired, how).into());
            }
            Err(Trouble::Failed(Fault { reason, .. }) | Trouble::MovedOn { how: reason }) => {
                anyhow::bail!(reason);
            }
            Ok(()) => {}
        }
        if step.thing.is_service() {
            self.take_back_service(step).await
        } else {
            self.take_back_function(step).await
        }
    }

    fn by_hand(&self, step: &Step) -> String {
        let site = self.world.site;
        if !step.thing.is_service() {
            return format!(
                "aws lambda update-alias --function-name {} --name {} --function-version {}",
                site.function.name, site.function.alias, step.parent
            );
        }
        let to = if step.parent_desired == 0 {
            "--desired-count 0".to_owned()
        } else {
            format!("--task-definition {}", step.parent)
        };
        let service = &site.service(step.thing).ecs_service;
        let cluster = &site.cluster;
        format!("aws ecs update-service --cluster {cluster} --service {service} {to}")
    }
}

/// Where taking back goes to, for people.
fn goal(step: &Step) -> &str {
    if step.thing.is_service() && step.parent_desired == 0 {
        "none desired"
    } else {
        &step.parent
    }
}
