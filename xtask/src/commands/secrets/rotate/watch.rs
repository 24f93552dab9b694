//! When the next step of a rotation may be taken: once the same documents have been read for a
//! while, and every task that it rests on has the one that is its own. Secrets Manager and ECS are
//! eventually consistent, for services as for us, so one look is no proof.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::Instant;

use crate::catalog::{Component, SERVICES};
use crate::decide::release::rotation::{self, SigningPair, Step, StepError};
use crate::failure::{Failure, Kind};
use crate::world::{SecretVersion, World};

/// The services' own default.
const REFRESH_DEFAULT: Duration = Duration::from_mins(5);
/// Above the jitter of a refresh, the time that it may take, and the way of a line into the log.
const REFRESH_SPREAD: f64 = 1.1;
const MARGIN: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// So long every look finds the same. Above the time for which AWS's answers are older than what
/// was written, and that of a request on its way which orbit signed with its former key.
const STEADY: Duration = Duration::from_secs(10);
/// Clocks of AWS and of what it runs: a line is looked for from this much before the version.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);
/// The field by which services name the version that they have read.
const VERSION_FIELD: &str = "version_id";

/// Both secrets, as one look found them.
pub(super) struct Documents {
    pub(super) axon: SecretVersion,
    pub(super) orbit: SecretVersion,
}

impl Documents {
    pub(super) async fn read(world: &World<'_>) -> Result<Self> {
        let (axon, orbit) =
            tokio::try_join!(read(world, Component::Axon), read(world, Component::Orbit))?;
        Ok(Self { axon, orbit })
    }

    fn of(&self, component: Component) -> &SecretVersion {
        if component == Component::Axon {
            &self.axon
        } else {
            &self.orbit
        }
    }

    pub(super) fn next_step(
        &self,
        world: &World<'_>,
        outgoing: Option<&SigningPair>,
    ) -> Result<Step> {
        let step = rotation::next_step(&self.axon.document, &self.orbit.document, outgoing);
        Ok(step.map_err(|error| {
            let arn = |component| &world.outputs.service(component).secret_arn;
            let hint = match error {
                StepError::NoPair if world.environment.emulated => init(world),
                StepError::NoPair => format!(
                    "aws secretsmanager list-secret-version-ids --secret-id {}    # one that had it\n\
                     or give both secrets the same sigv4_access_key_id and sigv4_secret_access_key",
                    arn(Component::Orbit)
                ),
                StepError::Ciphertext(component) => format!(
                    "aws secretsmanager put-secret-value --secret-id {}    # the pair as plain text: \
                     a secret is encrypted as a whole",
                    arn(component)
                ),
            };
            Failure::not_ready(error.to_string()).hint(hint)
        })?)
    }
}

async fn read(world: &World<'_>, component: Component) -> Result<SecretVersion> {
    let found = world
        .secrets
        .get_secret_value(&world.outputs.service(component).secret_arn);
    Ok(found.await?.ok_or_else(|| {
        Failure::not_ready(format!("the secret of {component} has no value")).hint(init(world))
    })?)
}

fn init(world: &World<'_>) -> String {
    format!("cargo xtask secrets init --env {}", world.environment.name)
}

pub(super) struct Watch<'a> {
    world: &'a World<'a>,
    /// How long it may take until every task has read its secret again.
    limit: Duration,
    newest: BTreeMap<Component, SecretVersion>,
    /// Versions that are known to have been replaced.
    replaced: BTreeSet<String>,
}

/// What speaks against the next step.
enum Obstacle {
    /// A secret that is answered with a version that was replaced.
    Stale(Component),
    /// Tasks, of how many, that have not said that they have their secret's version.
    Late(Component, Vec<String>, usize),
}

impl<'a> Watch<'a> {
    pub(super) async fn new(world: &'a World<'a>) -> Result<Self> {
        let intervals = SERVICES.map(|component| refresh_interval(world, component));
        let intervals = futures_util::future::try_join_all(intervals).await?;
        let longest = intervals.into_iter().max().unwrap_or(REFRESH_DEFAULT);
        Ok(Self {
            world,
            limit: longest.mul_f64(REFRESH_SPREAD) + MARGIN,
            newest: BTreeMap::new(),
            replaced: BTreeSet::new(),
        })
    }

    /// Makes the document the version of the component in the place of the one that was found.
    pub(super) async fn replace(
        &mut self,
        component: Component,
        found: &Documents,
        document: &Value,
    ) -> Result<bool> {
        let version = &found.of(component).id;
        let arn = &self.world.outputs.service(component).secret_arn;
        let again = "nothing has to be put back: run it again";
        let replaced = self.world.secrets.replace(arn, version, document).await;
        let replaced = replaced.context(again)?;
        self.replaced.insert(version.clone());
        Ok(replaced)
    }

    /// The next step, once nothing speaks against it for a while.
    pub(super) async fn next_step(
        &mut self,
        outgoing: Option<&SigningPair>,
    ) -> Result<(Documents, Step)> {
        let mut changed = Instant::now();
        let mut clear_since = None;
        loop {
            let looked = Instant::now();
            let found = Documents::read(self.world).await?;
            let step = found.next_step(self.world, outgoing);
            if self.learn(&found) {
                (changed, clear_since) = (looked, None);
            }
            let awaited = step.as_ref().ok().and_then(|step| step.awaits());
            let Some(obstacle) = self.obstacle(&found, awaited).await? else {
                let clear_since = *clear_since.get_or_insert_with(Instant::now);
                if looked.saturating_duration_since(clear_since) >= STEADY {
                    return Ok((found, step?));
                }
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            };
            clear_since = None;
            let left = self
                .limit
                .saturating_sub(looked.saturating_duration_since(changed));
            if left.is_zero() {
                return Err(self.gave_up(&obstacle, &found).into());
            }
            if let Obstacle::Late(component, missing, count) = obstacle {
                let (have, left) = (count - missing.len(), left.as_secs());
                let text =
                    format!("{have} of {count} tasks have their new secret; {left} s at most");
                self.world.report.live(component.name(), &text);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Takes in what is newer than all that was read before; answers whether anything is.
    fn learn(&mut self, found: &Documents) -> bool {
        let mut learned = false;
        for component in SERVICES {
            let version = found.of(component);
            let known = self.newest.get(&component);
            if known.is_none_or(|known| known.created < version.created) {
                if let Some(known) = self.newest.insert(component, version.clone()) {
                    self.replaced.insert(known.id);
                }
                learned = true;
            }
        }
        learned
    }

    async fn obstacle(
        &self,
        found: &Documents,
        awaited: Option<Component>,
    ) -> Result<Option<Obstacle>> {
        let stale = SERVICES.into_iter().find(|component| {
            let version = found.of(*component);
            self.replaced.contains(&version.id) || self.newest[component].id != version.id
        });
        if stale.is_some() {
            return Ok(stale.map(Obstacle::Stale));
        }
        let Some(component) = awaited else {
            return Ok(None);
        };
        let running = self.world.cluster.running_tasks(component).await?;
        let count = running.len();
        let missing = without(self.world, component, found.of(component), running).await?;
        Ok((!missing.is_empty()).then_some(Obstacle::Late(component, missing, count)))
    }

    fn gave_up(&self, obstacle: &Obstacle, found: &Documents) -> Failure {
        let limit = self.limit.as_secs();
        match obstacle {
            Obstacle::Late(component, missing, _) => {
                let message = format!(
                    "{component} did not take its secret up within {limit} s: {} have not logged version {}",
                    missing.join(", "),
                    found.of(*component).id
                );
                stopped(self.world, &message)
            }
            Obstacle::Stale(component) => {
                let arn = &self.world.outputs.service(*component).secret_arn;
                let message = format!(
                    "the secret of {component} is answered with version {}, which was replaced, for {limit} s",
                    found.of(*component).id
                );
                let environment = &self.world.environment.name;
                Failure::new(Kind::StoppedWatching, message).hint(format!(
                    "aws secretsmanager list-secret-version-ids --secret-id {arn}    \
                     # whether somebody moved AWSCURRENT back\n\
                     cargo xtask secrets rotate --env {environment}    # goes on from what is there"
                ))
            }
        }
    }
}

/// The tasks whose log does not have the version, or has another one after it.
async fn without(
    world: &World<'_>,
    component: Component,
    version: &SecretVersion,
    mut running: Vec<String>,
) -> Result<Vec<String>> {
    let group = &world.outputs.service(component).log_group;
    let from = version.created - CLOCK_SKEW;
    let lines = world.logs.mentions(group, from, VERSION_FIELD).await?;
    let has = |task: &String| {
        let of_task = lines.iter().rfind(|line| line.stream.ends_with(&**task));
        of_task.is_some_and(|line| line.text.contains(&version.id))
    };
    running.retain(|task| !has(task));
    Ok(running)
}

/// As the definition has it that runs now.
async fn refresh_interval(world: &World<'_>, component: Component) -> Result<Duration> {
    let state = world.cluster.describe_service(component).await?;
    let Some(primary) = state.primary() else {
        return Ok(REFRESH_DEFAULT);
    };
    let registered = world
        .cluster
        .describe_task_definition(&primary.revision)
        .await?;
    let setting = registered.as_ref().and_then(|registered| {
        let environment = registered.definition.container()?.environment();
        environment.get("SECRET_REFRESH_MS")?.parse().ok()
    });
    Ok(setting.map_or(REFRESH_DEFAULT, Duration::from_millis))
}

/// Nothing has to be put back: axon has every key that orbit may sign with.
pub(super) fn stopped(world: &World<'_>, message: &str) -> Failure {
    let environment = &world.environment.name;
    Failure::new(Kind::StoppedWatching, message).hint(format!(
        "nothing has to be put back; `cargo xtask secrets rotate --env {environment}` goes on from here\n\
         cargo xtask logs axon --env {environment}    # why a secret cannot be read; RUST_LOG must let info through\n\
         or start the tasks anew, if their lines are older than the log keeps"
    ))
}
