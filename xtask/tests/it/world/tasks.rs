//! The tasks of all services, as far as signing keys are concerned: each reads its secret at times
//! of its own, logs which version it has, and signs and verifies with it. After every change each
//! task of a service calls each task of those that its entry of the catalog calls.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use xtask::catalog::{CatalogEntry, Service};
use xtask::ports::{LogLine, WallClock};

use super::secrets::StoredVersion;
use super::{Fake, FakeState, secret_arn};

/// The delay of a line of the log.
const LOG_DELAY: Duration = Duration::from_secs(4);
/// How long a request that was signed may be on its way.
const IN_FLIGHT: Duration = Duration::from_secs(5);
/// From SIGTERM to the end: requests still come in, and the secret is not read again.
const DRAIN: Duration = Duration::from_secs(25);

pub(super) struct Task {
    service: Service,
    pub(super) id: String,
    has: StoredVersion,
    had: Option<(Instant, StoredVersion)>,
    lines: Vec<(Instant, LogLine)>,
    ends: Option<Instant>,
}

impl Fake {
    /// Starts two tasks of each service. `chance` is the seed of when they read their secrets.
    pub(crate) fn start_tasks(&self, chance: u64) {
        let services = self.state().catalog.services();
        let twice = services.iter().chain(&services);
        for (index, service) in twice.enumerate() {
            self.start_task(
                *service,
                chance.wrapping_mul(101).wrapping_add(index as u64 * 67),
            );
        }
    }

    fn start_task(&self, service: Service, chance: u64) {
        let id = {
            let mut state = self.state();
            let of_it = state.tasks.iter().filter(|task| task.service == service);
            let id = format!("{service}-{}", of_it.count());
            let Some(has) = state.read_as_task(service) else {
                return;
            };
            state.tasks.push(Task {
                service,
                id: id.clone(),
                has,
                had: None,
                lines: Vec::new(),
                ends: None,
            });
            state.log_version(&id, "the secret is loaded", WallClock::now(self));
            state.calls_each_other();
            id
        };
        // The jitter is a tenth.
        let refresh = self.state().secret_refresh;
        let period = refresh * 9 / 10 + refresh * u32::try_from(chance * 7 % 21).unwrap() / 100;
        let first = refresh * u32::try_from(chance * 13 % 101).unwrap() / 100;
        let fake = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(first).await;
            while fake.state().refresh(&id, WallClock::now(&fake)) {
                tokio::time::sleep(period).await;
            }
        });
    }

    /// One task of a service is replaced by a new one: as in a rollout, the old one drains.
    pub(crate) fn replace_task(&self, service: Service, chance: u64) {
        self.start_task(service, chance);
        let mut state = self.state();
        let mut tasks = state.tasks.iter_mut();
        let oldest = tasks.find(|task| task.service == service && task.ends.is_none());
        oldest.unwrap().ends = Some(Instant::now() + DRAIN);
    }
}

impl FakeState {
    pub(super) fn tasks_alive(&self, service: Service) -> impl Iterator<Item = &Task> {
        let alive = |task: &&Task| task.ends.is_none_or(|ends| Instant::now() < ends);
        let of_it = self
            .tasks
            .iter()
            .filter(move |task| task.service == service);
        of_it.filter(alive)
    }

    fn read_as_task(&mut self, service: Service) -> Option<StoredVersion> {
        let stale_for = self.stale_for.max(self.stale_for_tasks);
        self.read_secret(&secret_arn(service), stale_for)
    }

    /// Answers whether the task will do so again.
    fn refresh(&mut self, id: &str, now: Timestamp) -> bool {
        let task = self.tasks.iter().find(|task| task.id == id).unwrap();
        if task.ends.is_some() {
            return false;
        }
        let service = task.service;
        let keeps = self.keeps_its_secret == Some(service);
        let Some(read) = self.read_as_task(service).filter(|_| !keeps) else {
            return true;
        };
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        if task.has.id != read.id {
            let had = std::mem::replace(&mut task.has, read);
            task.had = Some((Instant::now(), had));
            self.log_version(id, "the secret has changed", now);
            self.calls_each_other();
        }
        true
    }

    fn log_version(&mut self, id: &str, message: &str, now: Timestamp) {
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        let line = LogLine {
            id: format!("{id} {}", task.lines.len()),
            at: now,
            stream: format!("ecs/{}/{id}", task.service),
            text: json!({ "message": message, "version_id": task.has.id }).to_string(),
        };
        task.lines.push((Instant::now(), line));
    }

    pub(super) fn task_lines(&self, group: &str, from: Timestamp, text: &str) -> Vec<LogLine> {
        let of_group = self
            .tasks
            .iter()
            .filter(|it| group.ends_with(it.service.name()));
        let lines = of_group.flat_map(|task| &task.lines);
        let arrived = lines.filter(|(at, _)| at.elapsed() >= LOG_DELAY);
        let mut found: Vec<_> = arrived
            .map(|(_, line)| line.clone())
            .filter(|line| line.at >= from && line.text.contains(text))
            .collect();
        found.sort_by_key(|line| line.at);
        found
    }

    fn calls_each_other(&mut self) {
        let mut lost = Vec::new();
        let entries = self.catalog.entries().iter();
        for entry in entries.filter_map(CatalogEntry::as_service) {
            for service in entry.called_services() {
                for caller in self.tasks_alive(entry.service) {
                    for called in self.tasks_alive(service) {
                        lost.extend(caller.calls_lost(called));
                    }
                }
            }
        }
        self.lost.extend(lost);
    }
}

impl Task {
    /// Its calls of another task that does not know the key that they are signed with.
    fn calls_lost(&self, called: &Task) -> Vec<String> {
        let mut lost = Vec::new();
        let had = self.had.as_ref();
        let on_its_way = had.filter(|(at, _)| at.elapsed() < IN_FLIGHT);
        for signs in std::iter::once(&self.has).chain(on_its_way.map(|(_, had)| had)) {
            let known = [
                &called.has.document["sigv4_access_key_id"],
                &called.has.document["sigv4_previous_access_key_id"],
            ];
            let key: &Value = &signs.document["sigv4_access_key_id"];
            if !known.contains(&key) {
                let ids = [&self.id, &signs.id, &called.id, &called.has.id];
                lost.push(format!("{ids:?}"));
            }
        }
        lost
    }
}
