//! The only code that changes an environment: look, decide, act, report; every wait is bounded.
//!
//! One release is carried out here from "opened" to "closed": whatever goes wrong on the way,
//! everything that it changed is taken back in reverse order and the record says so.

mod evidence;
mod function;
mod service;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::Instant;

use crate::catalog::{SERVICES, Thing};
use crate::decide::plan::{Change, Look, Plan, ServiceLook, Step};
use crate::decide::release::{LEASE, Record, State};
use crate::decide::rollout::Outcome;
use crate::failure::{Failure, Kind};
use crate::world::{ProbeRequest, World};

/// How often a moving thing is looked at. A rollout's end is noticed within this and one request.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);
/// After an update ECS has this long to bring its tasks up.
pub const ROLLOUT_LIMIT: Duration = Duration::from_mins(15);
/// A running service has this long to prove itself.
const PROOF_LIMIT: Duration = Duration::from_secs(30);
const LEASE_RENEWAL: Duration = Duration::from_mins(1);

/// What a record says about a release besides what it changed.
#[derive(Debug, Clone)]
pub struct About {
    pub who: String,
    pub host: String,
    pub why: String,
    pub commit: Option<String>,
    pub dirty: bool,
}

/// Why a release can't go on.
enum Trouble {
    /// A thing failed. The report's lines explain it.
    Failed {
        thing: Option<Thing>,
        reason: String,
        evidence: Vec<String>,
    },
    /// Somebody else is at work: nothing is taken back.
    Usurped { thing: Option<Thing>, by: String },
    /// What runs is not what the plan stands on. Nothing was changed yet.
    MovedOn { how: String },
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed {
            thing: None,
            reason: format!("{error:#}"),
            evidence: Vec::new(),
        }
    }
}

/// Looks at all that runs, at one moment.
pub async fn look(world: &World<'_>) -> Result<Look> {
    let service = async |thing: Thing| -> Result<(Thing, ServiceLook)> {
        let state = world.cluster.look(thing).await?;
        let revision = state
            .primary()
            .map_or_else(String::new, |first| first.revision.clone());
        let registered = world.cluster.revision(&revision).await?;
        Ok((
            thing,
            ServiceLook {
                state,
                revision,
                registered,
            },
        ))
    };
    let (function, services) = tokio::try_join!(
        world.functions.look(),
        futures_util::future::try_join_all(SERVICES.map(service))
    )?;
    Ok(Look {
        services: services.into_iter().collect(),
        function,
    })
}

/// Opens a release, applies the plan and closes the release. Ctrl-C stops the watching, not AWS.
pub async fn carry_out(world: &World<'_>, plan: &Plan, about: About) -> Result<Record> {
    let mut release = Release::open(*world, plan, about).await?;
    let ended = tokio::select! {
        ended = release.run(plan) => ended,
        () = world.interrupt.wait() => return release.leave().await,
    };
    ended?;
    Ok(release.record)
}

/// Opens a record: whoever creates the next number holds the environment.
pub async fn open_record(
    world: &World<'_>,
    about: About,
    things: BTreeMap<Thing, crate::decide::release::Entry>,
) -> Result<Record> {
    let newest = world.ledger.newest().await?;
    let now = world.clock.now();
    let mut why = about.why;
    if let Some(newest) = &newest {
        if newest.held(now) {
            return Err(held(newest).into());
        }
        if newest.abandoned(now) {
            why = format!("{why}, after {} was abandoned", newest.number);
        }
    }
    let record = Record {
        number: newest.map_or(1, |newest| newest.number + 1),
        state: State::InProgress,
        until: now + LEASE,
        opened: now,
        closed: None,
        who: about.who,
        host: about.host,
        why,
        commit: about.commit,
        dirty: about.dirty,
        things,
    };
    if world.ledger.create(&record).await? {
        return Ok(record);
    }
    let holder = world.ledger.read(record.number).await?;
    Err(holder.map_or_else(
        || {
            Failure::refused(format!(
                "release {} was opened by somebody else",
                record.number
            ))
        },
        |holder| held(&holder),
    ))?
}

fn held(holder: &Record) -> Failure {
    Failure::refused(format!(
        "{} is in progress since {}",
        holder.about(),
        holder.opened
    ))
    .hint(format!(
        "wait for it, or, if nobody is at work on it, until its time is over at {}",
        holder.until
    ))
}

struct Release<'w> {
    world: World<'w>,
    record: Record,
    renewed: Instant,
}

impl<'w> Release<'w> {
    async fn open(world: World<'w>, plan: &Plan, about: About) -> Result<Self> {
        let record = open_record(&world, about, plan.entries()).await?;
        let text = format!("{} opened", record.number);
        world.report.line("release", &text);
        Ok(Self {
            world,
            record,
            renewed: Instant::now(),
        })
    }

    /// The story of a release. What it returns as an error is told already, and the record closed.
    async fn run(&mut self, plan: &Plan) -> Result<()> {
        let mut changed = Vec::new();
        let trouble = match self.forward(plan, &mut changed).await {
            Ok(()) => return self.close(State::Landed).await,
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Failed {
                thing,
                reason,
                evidence,
            } => self.failed(plan, &changed, thing, &reason, &evidence).await,
            Trouble::Usurped { thing, by } => self.usurped(thing, &by).await,
            Trouble::MovedOn { how } => {
                self.close(State::Back).await?;
                Err(
                    Failure::refused(format!("the state moved on since the plan: {how}"))
                        .hint("look at the new plan: cargo xtask plan")
                        .into(),
                )
            }
        }
    }

    async fn forward(&mut self, plan: &Plan, changed: &mut Vec<Thing>) -> Result<(), Trouble> {
        let moved = plan.moved_on(&look(&self.world).await?);
        if !moved.is_empty() {
            return Err(Trouble::MovedOn {
                how: moved.join(", "),
            });
        }
        for artefact in &plan.pushes {
            let size = crate::report::megabytes(artefact.packed_bytes);
            self.world
                .report
                .live(artefact.thing.name(), &format!("pushing {size}"));
            self.world.registry.push(artefact).await?;
            self.world.report.line(
                artefact.thing.name(),
                &format!("pushed {}", artefact.digest),
            );
        }
        for step in &plan.steps {
            if step.change == Change::Keep {
                continue;
            }
            self.guard().await?;
            changed.push(step.thing);
            if step.thing.is_service() {
                self.change_service(step).await?;
            } else {
                self.change_function(step).await?;
            }
            self.set_outcome(step.thing, Outcome::Landed).await?;
        }
        if plan.steps.iter().any(|step| step.change != Change::Keep) {
            self.dispatch().await?;
        }
        Ok(())
    }

    /// A real dispatch, through the load balancer, the whole way and back.
    async fn dispatch(&self) -> Result<(), Trouble> {
        let correlation_id = format!("release-{}", self.record.number);
        let url = format!("{}/dispatch", self.world.site.base_url);
        let headers = [("X-Correlation-ID".to_owned(), correlation_id.clone())].into();
        let request = ProbeRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: "",
        };
        let started = Instant::now();
        loop {
            self.world.report.live("dispatch", &format!("POST {url}"));
            let heard = match self.world.probe.send(request).await {
                Ok(answer) if answer.status == 200 => {
                    let echoed = answer.headers.get("x-correlation-id");
                    if echoed == Some(&correlation_id) {
                        self.world
                            .report
                            .line("dispatch", &format!("answered 200: {}", answer.body));
                        return Ok(());
                    }
                    format!("200 without the correlation id {correlation_id}")
                }
                Ok(answer) => format!("{} {}", answer.status, answer.body),
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > PROOF_LIMIT {
                return Err(Trouble::Failed {
                    thing: None,
                    reason: format!("a dispatch was not answered: {heard}"),
                    evidence: Vec::new(),
                });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Takes everything back, in reverse order, tells the whole in one block and closes the record.
    async fn failed(
        &mut self,
        plan: &Plan,
        changed: &[Thing],
        thing: Option<Thing>,
        reason: &str,
        evidence: &[String],
    ) -> Result<()> {
        let what = thing.map_or_else(|| "the release".to_owned(), |thing| thing.to_string());
        self.world
            .report
            .warn(&what, &format!("failed: {reason}; taking back"));
        let mut told = vec![format!("release {} failed", self.record.number)];
        told.push(format!("  what        {what}"));
        told.push(format!("  why         {reason}"));
        told.extend(evidence.iter().map(|line| format!("  {line}")));
        let mut by_hand = Vec::new();
        let steps = plan
            .steps
            .iter()
            .rev()
            .filter(|step| changed.contains(&step.thing));
        for step in steps {
            match self.take_back(step).await {
                Ok(()) => {
                    told.push(format!("  put back    {} to {}", step.thing, step.parent));
                    self.set_outcome(step.thing, Outcome::RolledBack).await?;
                }
                Err(error) => {
                    told.push(format!("  NOT BACK    {}: {error:#}", step.thing));
                    by_hand.push(self.by_hand(step));
                    self.set_outcome(step.thing, Outcome::Stuck).await?;
                }
            }
        }
        if changed.is_empty() {
            told.push("  put back    nothing: it had changed nothing that runs".to_owned());
        }
        self.world.report.block(&told.join("\n"));
        let message = format!("release {} failed: {what}: {reason}", self.record.number);
        if by_hand.is_empty() {
            self.close(State::Back).await?;
            return Err(Failure::new(Kind::Back, message)
                .hint("everything is back where it was; mend the cause and deploy again")
                .into());
        }
        self.close(State::Stuck).await?;
        Err(Failure::new(Kind::NotBack, message)
            .hint(by_hand.join("\n"))
            .into())
    }

    async fn take_back(&mut self, step: &Step) -> Result<()> {
        self.guard().await.map_err(|trouble| match trouble {
            Trouble::Usurped { by, .. } => anyhow!("usurped by {by}"),
            Trouble::Failed { reason: text, .. } | Trouble::MovedOn { how: text } => anyhow!(text),
        })?;
        if step.thing.is_service() {
            self.take_back_service(step).await
        } else {
            self.take_back_function(step).await
        }
    }

    fn by_hand(&self, step: &Step) -> String {
        let site = self.world.site;
        if step.thing.is_service() {
            let service = &site.service(step.thing).ecs_service;
            format!(
                "aws ecs update-service --cluster {} --service {service} --task-definition {}",
                site.cluster, step.parent
            )
        } else {
            format!(
                "aws lambda update-alias --function-name {} --name {} --function-version {}",
                site.function.name, site.function.alias, step.parent
            )
        }
    }

    async fn usurped(&mut self, thing: Option<Thing>, by: &str) -> Result<()> {
        if let Some(thing) = thing {
            self.set_outcome(thing, Outcome::Usurped).await?;
        }
        self.close(State::Usurped).await?;
        let message = format!("release {} was usurped: {by}", self.record.number);
        Err(Failure::new(Kind::Usurped, message)
            .hint("nothing was taken back; see `cargo xtask status` and `cargo xtask releases`")
            .into())
    }

    /// The user stopped watching. What AWS was told to do goes on, and the record says so.
    async fn leave(&mut self) -> Result<Record> {
        for entry in self.record.things.values_mut() {
            if entry.after != entry.before && entry.outcome.is_none() {
                entry.outcome = Some(Outcome::LeftRunning);
            }
        }
        self.close(State::Left).await?;
        let message = format!(
            "stopped watching release {}; what was begun in AWS goes on",
            self.record.number
        );
        Err(Failure::new(Kind::StoppedWatching, message)
            .hint(
                "cargo xtask status      # what runs now\n\
                 cargo xtask deploy      # go on to the end\n\
                 cargo xtask rollback    # back to the last release that landed",
            )
            .into())
    }

    /// Before each change: nobody has opened a later release.
    async fn guard(&mut self) -> Result<(), Trouble> {
        let newest = self.world.ledger.newest().await?;
        match newest {
            Some(newest) if newest.number > self.record.number => Err(Trouble::Usurped {
                thing: None,
                by: newest.about(),
            }),
            _ => Ok(()),
        }
    }

    /// A holder that works renews its time, so that it is not taken for dead.
    async fn renew(&mut self) -> Result<()> {
        if self.renewed.elapsed() > LEASE_RENEWAL {
            self.save().await?;
        }
        Ok(())
    }

    async fn set_outcome(&mut self, thing: Thing, outcome: Outcome) -> Result<()> {
        if let Some(entry) = self.record.things.get_mut(&thing) {
            entry.outcome = Some(outcome);
            if outcome == Outcome::RolledBack {
                entry.after.clone_from(&entry.before);
            }
        }
        self.save().await
    }

    async fn close(&mut self, state: State) -> Result<()> {
        self.record.state = state;
        self.record.closed = Some(self.world.clock.now());
        self.save().await?;
        let text = format!("{} closed: {}", self.record.number, state.text());
        self.world.report.line("release", &text);
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        self.renewed = Instant::now();
        if self.record.state == State::InProgress {
            self.record.until = self.world.clock.now() + LEASE;
        }
        let number = self.record.number;
        let saved = self.world.ledger.overwrite(&self.record).await;
        saved.with_context(|| format!("write release {number} into the ledger"))
    }
}
