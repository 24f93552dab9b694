//! When the next step of a rotation may be taken: once the same documents have been read for a
//! while, and every task that it rests on has the one that is its own. Secrets Manager and ECS are
//! eventually consistent, for services as for us, so one read is no proof.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::catalog::{CatalogEntry, Service, ServiceEntry};
use crate::decide::outputs::Outputs;
use crate::decide::release::rotation::{
    Rotation, RotationError, RotationStep, SecretReplacement, SigningPair, SigningService,
};
use crate::decide::release::snapshot::ServiceState;
use crate::failure::{Failure, Kind};
use crate::ports::{Context, SecretVersion};
use crate::report::SecretsEvent;

/// The services' own default.
const REFRESH_DEFAULT: Duration = Duration::from_mins(5);
/// Above the jitter of a refresh, the time that it may take, and the way of a line into the log.
const REFRESH_SPREAD: f64 = 1.1;
const MARGIN: Duration = Duration::from_mins(1);
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// So long every read finds the same. Above the time for which AWS's answers are older than what
/// was written, and that of a request on its way which a caller signed with its former key.
const STEADY: Duration = Duration::from_secs(10);
/// Clocks of AWS and of what it runs: a line is read from this much before the version.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);
/// The field by which services name the version that they have read.
const VERSION_FIELD: &str = "version_id";

/// All secrets, as they were read at one time.
pub(super) type FoundSecrets = BTreeMap<Service, SecretVersion>;

pub(super) struct RotationWatch<'a> {
    context: &'a Context<'a>,
    outputs: &'a Outputs,
    /// The services that Terraform has made, also those that a release has yet to retire.
    entries: Vec<&'a ServiceEntry>,
    /// The new pair, unless a rotation is in progress already.
    fresh: SigningPair,
    /// The new pair, once a step was decided on.
    new: Option<SigningPair>,
    /// How long it may take until every task has read its secret again.
    limit: Duration,
    /// When a read last found a version that was new.
    changed: Instant,
    /// Since when every read has found nothing that speaks against the next step.
    clear_since: Option<Instant>,
    newest: BTreeMap<Service, SecretVersion>,
    /// Versions that are known to have been replaced.
    replaced: BTreeSet<String>,
}

/// What speaks against the next step.
enum Obstacle {
    /// A secret that is answered with a version that was replaced.
    Stale(Service),
    /// Tasks, of how many, that have not said that they have their secret's version.
    Late(Service, Vec<String>, usize),
}

impl<'a> RotationWatch<'a> {
    pub(super) fn new(context: &'a Context<'a>, outputs: &'a Outputs, fresh: SigningPair) -> Self {
        let entries = context.catalog.entries().iter();
        let entries = entries.filter_map(CatalogEntry::as_service);
        let made = |entry: &&ServiceEntry| outputs.services.contains_key(&entry.service);
        Self {
            context,
            outputs,
            entries: entries.filter(made).collect(),
            fresh,
            new: None,
            limit: REFRESH_DEFAULT,
            changed: Instant::now(),
            clear_since: None,
            newest: BTreeMap::new(),
            replaced: BTreeSet::new(),
        }
    }

    pub(super) async fn read(&self) -> Result<FoundSecrets> {
        let read = async |service| anyhow::Ok((service, self.read_secret(service).await?));
        let found = try_join_all(self.services().map(read)).await?;
        Ok(found.into_iter().collect())
    }

    fn services(&self) -> impl Iterator<Item = Service> {
        self.entries.iter().map(|entry| entry.service)
    }

    async fn read_secret(&self, service: Service) -> Result<SecretVersion> {
        let arn = &self.outputs.service(service).secret_arn;
        let found = self.context.secrets.get_secret_value(arn).await?;
        Ok(found.ok_or_else(|| {
            Failure::not_ready(format!("the secret of {service} has no value"))
                .hint(self.init_command())
        })?)
    }

    fn init_command(&self) -> String {
        let environment = &self.context.environment.name;
        format!("cargo xtask secrets init --env {environment}")
    }

    pub(super) fn rotation<'b>(&self, found: &'b FoundSecrets) -> Result<Rotation<'b>> {
        let services = self.entries.iter().map(|entry| SigningService {
            service: entry.service,
            calls: entry.called_services().collect(),
            document: &found[&entry.service].document,
        });
        Ok(Rotation::of(services.collect()).map_err(|error| self.cannot_rotate(&error))?)
    }

    /// The pair that all are to have, and what the secrets ask for next.
    pub(super) fn next_step(&self, found: &FoundSecrets) -> Result<(SigningPair, RotationStep)> {
        let rotation = self.rotation(found)?;
        let new = self.new.as_ref().or_else(|| rotation.in_progress());
        let new = new.unwrap_or(&self.fresh);
        let step = rotation.next_step(new);
        let step = step.map_err(|error| self.cannot_rotate(&error))?;
        Ok((new.clone(), step))
    }

    fn cannot_rotate(&self, error: &RotationError) -> Failure {
        let arn = |service| &self.outputs.service(service).secret_arn;
        let hint = match error {
            RotationError::NoPair if self.context.environment.emulated => self.init_command(),
            RotationError::NoPair => {
                let command = "aws secretsmanager list-secret-version-ids --secret-id";
                let list = |service| format!("{command} {}    # one that had it\n", arn(service));
                let lists: String = self.services().map(list).collect();
                lists + "or give all the same sigv4_access_key_id and sigv4_secret_access_key"
            }
            RotationError::Ciphertext(service) => format!(
                "aws secretsmanager put-secret-value --secret-id {}    # the pair as plain text: \
                 a secret is encrypted as a whole",
                arn(*service)
            ),
            RotationError::Entangled(services) => {
                format!(
                    "give all callers of {} the same one of its pairs",
                    services[0]
                )
            }
        };
        Failure::not_ready(error.to_string()).hint(hint)
    }

    /// Before the polls for one step.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let services: Vec<_> = self.services().collect();
        let cluster = self.context.cluster;
        let states = cluster.describe_services(self.outputs, &services).await?;
        let ask = states.values().map(|state| self.refresh_interval(state));
        let intervals = try_join_all(ask).await?;
        let longest = intervals.into_iter().max().unwrap_or(REFRESH_DEFAULT);
        self.limit = longest.mul_f64(REFRESH_SPREAD) + MARGIN;
        (self.changed, self.clear_since) = (Instant::now(), None);
        Ok(())
    }

    /// As the definition has it that runs now.
    async fn refresh_interval(&self, state: &ServiceState) -> Result<Duration> {
        let cluster = self.context.cluster;
        let Some(primary) = state.primary() else {
            return Ok(REFRESH_DEFAULT);
        };
        let registered = cluster.describe_task_definition(&primary.revision).await?;
        let setting = registered.as_ref().and_then(|registered| {
            let environment = registered.definition.container()?.environment();
            environment.get("SECRET_REFRESH_MS")?.parse().ok()
        });
        Ok(setting.map_or(REFRESH_DEFAULT, Duration::from_millis))
    }

    /// One poll: the next step, where nothing has spoken against it for a while.
    pub(super) async fn poll(&mut self) -> Result<Option<(FoundSecrets, RotationStep)>> {
        let polled = Instant::now();
        let found = self.read().await?;
        let next = self.next_step(&found);
        if self.learn(&found) {
            (self.changed, self.clear_since) = (polled, None);
        }
        let waits_for = next.as_ref().map_or(&[][..], |(_, step)| &step.waits_for);
        let Some(obstacle) = self.obstacle(&found, waits_for).await? else {
            let clear_since = *self.clear_since.get_or_insert_with(Instant::now);
            if polled.saturating_duration_since(clear_since) < STEADY {
                return Ok(None);
            }
            let (new, step) = next?;
            self.new = Some(new);
            return Ok(Some((found, step)));
        };
        self.clear_since = None;
        let waited = polled.saturating_duration_since(self.changed);
        let left = self.limit.saturating_sub(waited);
        if left.is_zero() {
            return Err(self.gave_up(&obstacle, &found).into());
        }
        if let Obstacle::Late(service, missing, count) = obstacle {
            self.context.report.emit(SecretsEvent::RotationWaiting {
                component: service.into(),
                tasks_ready: count - missing.len(),
                tasks: count,
                seconds_left: left.as_secs(),
            });
        }
        Ok(None)
    }

    /// Takes in what is newer than all that was read before; answers whether anything is.
    fn learn(&mut self, found: &FoundSecrets) -> bool {
        let mut learned = false;
        for (service, version) in found {
            let known = self.newest.get(service);
            if known.is_none_or(|known| known.created < version.created) {
                if let Some(known) = self.newest.insert(*service, version.clone()) {
                    self.replaced.insert(known.id);
                }
                learned = true;
            }
        }
        learned
    }

    async fn obstacle(
        &self,
        found: &FoundSecrets,
        waits_for: &[Service],
    ) -> Result<Option<Obstacle>> {
        let mut versions = found.iter();
        let stale = versions.find(|(service, version)| {
            self.replaced.contains(&version.id) || self.newest[service].id != version.id
        });
        if let Some((service, _)) = stale {
            return Ok(Some(Obstacle::Stale(*service)));
        }
        let cluster = self.context.cluster;
        for service in waits_for {
            let running = cluster.running_tasks(self.outputs, *service).await?;
            let count = running.len();
            let missing = self.without(*service, &found[service], running).await?;
            if !missing.is_empty() {
                return Ok(Some(Obstacle::Late(*service, missing, count)));
            }
        }
        Ok(None)
    }

    /// The tasks whose log does not have the version, or has another one after it.
    async fn without(
        &self,
        service: Service,
        version: &SecretVersion,
        mut running: Vec<String>,
    ) -> Result<Vec<String>> {
        let group = &self.outputs.service(service).log_group;
        let from = version.created - CLOCK_SKEW;
        let logs = self.context.logs;
        let lines = logs.mentions(group, from, VERSION_FIELD).await?;
        let has = |task: &String| {
            let of_task = lines.iter().rfind(|line| line.stream.ends_with(&**task));
            of_task.is_some_and(|line| line.text.contains(&version.id))
        };
        running.retain(|task| !has(task));
        Ok(running)
    }

    /// `false`: the secret is another version by now than the one that was found.
    pub(super) async fn replace(
        &mut self,
        found: &FoundSecrets,
        replacement: &SecretReplacement,
    ) -> Result<bool> {
        let SecretReplacement {
            service, document, ..
        } = replacement;
        let version = &found[service].id;
        let arn = &self.outputs.service(*service).secret_arn;
        let again = "nothing has to be put back: run it again";
        let replaced = self.context.secrets.replace(arn, version, document).await;
        let replaced = replaced.context(again)?;
        self.replaced.insert(version.clone());
        Ok(replaced)
    }

    /// Nothing has to be put back: what is called has every key that its callers may sign with.
    fn gave_up(&self, obstacle: &Obstacle, found: &FoundSecrets) -> Failure {
        let limit = self.limit.as_secs();
        let environment = &self.context.environment.name;
        let (message, hint) = match obstacle {
            Obstacle::Late(service, missing, _) => (
                format!(
                    "{service} did not take its secret up within {limit} s: {} have not logged \
                     version {}",
                    missing.join(", "),
                    found[service].id
                ),
                format!(
                    "nothing has to be put back; `cargo xtask secrets rotate --env {environment}` \
                     goes on from here\n\
                     cargo xtask logs {service} --env {environment}    \
                     # why a secret cannot be read; RUST_LOG must let info through\n\
                     or start the tasks anew, if their lines are older than the log keeps"
                ),
            ),
            Obstacle::Stale(service) => (
                format!(
                    "the secret of {service} is answered with version {}, which was replaced, \
                     for {limit} s",
                    found[service].id
                ),
                format!(
                    "aws secretsmanager list-secret-version-ids --secret-id {}    \
                     # whether AWSCURRENT was moved back\n\
                     cargo xtask secrets rotate --env {environment}    # goes on from what is there",
                    self.outputs.service(*service).secret_arn
                ),
            ),
        };
        Failure::new(Kind::StoppedWatching, message).hint(hint)
    }
}
