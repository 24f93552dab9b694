//! Takes the services down as the source document does: desired count 0, wait, deregister the
//! revisions that ran.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::observe::primary_revision;
use super::{About, Confirmed, End, Release, ReleaseError, observe_with_retired, under_lock};
use crate::catalog::{Catalog, Function, Service};
use crate::decide::outputs::Outputs;
use crate::decide::release::pace::LookPace;
use crate::decide::release::record::{Entries, Record, RecordKind};
use crate::decide::release::rollout::Outcome;
use crate::decide::release::snapshot::{Revision, Snapshot};
use crate::ports::{Context, ServiceUpdate};
use crate::report::ReleaseEvent;

/// Tasks get `stopTimeout` to end; after this something is wrong.
const STOP_LIMIT: Duration = Duration::from_mins(4);

/// What a stop would change, and on top of which snapshot.
pub struct StopPlan {
    /// What is up, and its revision. Callers come first, so that no dispatch meets a service that
    /// is gone.
    pub services: Vec<(Service, Revision)>,
    /// Functions that nothing calls any more. There is nothing to stop.
    functions: Vec<Function>,
    snapshot: Snapshot,
}

impl StopPlan {
    /// Takes down every service; functions stay.
    pub fn new(catalog: &Catalog, snapshot: Snapshot) -> Self {
        let mut order = catalog.services();
        order.reverse();
        Self {
            services: running(order, &snapshot),
            functions: Vec::new(),
            snapshot,
        }
    }

    /// Takes down what the catalog retires and Terraform has not removed yet.
    pub fn retiring(catalog: &Catalog, snapshot: Snapshot) -> Self {
        let mut retired = catalog.retired();
        retired.reverse();
        let services = retired.iter().filter_map(|it| it.service()).collect();
        let functions = retired.iter().filter_map(|it| it.function());
        let functions = functions.filter(|it| snapshot.functions.contains_key(it));
        Self {
            services: running(services, &snapshot),
            functions: functions.collect(),
            snapshot,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.functions.is_empty()
    }

    /// What it takes at most.
    pub fn time_limit(&self) -> Duration {
        self.services.iter().map(|_| STOP_LIMIT).sum()
    }

    /// Nothing runs of these components afterwards.
    fn entries(&self) -> Entries {
        let mut entries = Entries::of(&self.snapshot);
        for (service, _) in &self.services {
            if let Some(entry) = entries.services.get_mut(service) {
                entry.after = None;
            }
        }
        for function in &self.functions {
            if let Some(entry) = entries.functions.get_mut(function) {
                entry.after = None;
            }
        }
        entries
    }
}

/// Those that are up.
fn running(order: Vec<Service>, snapshot: &Snapshot) -> Vec<(Service, Revision)> {
    let found = |service| Some((service, snapshot.services.get(&service)?));
    let found = order.into_iter().filter_map(found);
    found
        .filter(|(_, found)| found.state.desired > 0)
        .map(|(service, found)| (service, found.revision.clone()))
        .collect()
}

pub async fn stop(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &StopPlan,
    about: About,
    _: Confirmed,
) -> anyhow::Result<Record> {
    let opening = (about, RecordKind::Stop, plan.entries());
    under_lock(context, outputs, opening, async |release| {
        release.run_stop(plan).await
    })
    .await
}

impl Release<'_> {
    async fn run_stop(&mut self, plan: &StopPlan) -> End {
        match self.stop_all(plan).await {
            Ok(()) => End::succeeded(),
            // What was stopped stays so.
            Err(ReleaseError::Failed(failure)) if failure.component.is_some() => {
                self.stop_watching(&format!("{:#}", failure.error))
            }
            Err(error) => {
                if let ReleaseError::Superseded {
                    component: Some(component),
                    ..
                } = error
                {
                    let outcome = Outcome::Superseded;
                    self.record.entries.conclude(component, outcome);
                }
                self.ended_by(error)
            }
        }
    }

    async fn stop_all(&mut self, plan: &StopPlan) -> Result<(), ReleaseError> {
        let (context, outputs) = (self.context, self.outputs);
        self.ensure_unchanged(&plan.snapshot, async || {
            observe_with_retired(&context, outputs).await
        })
        .await?;
        for (service, _) in &plan.services {
            let component = (*service).into();
            let stopped = self.stop_service(*service, &plan.snapshot).await;
            stopped.map_err(|error| error.of(component))?;
            let noted = self.set_outcome(component, Outcome::Succeeded).await;
            noted.map_err(|error| match error {
                error @ ReleaseError::Failed(_) => error.of(component),
                error => error,
            })?;
        }
        // Autoscaling, or somebody, may have raised a count again.
        match self.ensure_as_recorded().await {
            // All is stopped: a look that fails is no news.
            Err(error @ ReleaseError::Failed(_)) => self.ignore(error.text()),
            looked => looked?,
        }
        Ok(())
    }

    async fn stop_service(
        &mut self,
        service: Service,
        snapshot: &Snapshot,
    ) -> Result<(), ReleaseError> {
        let Context {
            cluster, report, ..
        } = self.context;
        // A rollout may fail meanwhile: ECS goes back to a deployment that it has beside it.
        let deployments = snapshot.services[&service].state.deployments.iter();
        let known: Vec<&Revision> = deployments.map(|it| &it.revision).collect();
        let state = self.runs_one_of(service, &known).await?;
        let revision = &primary_revision(service, &state)?;
        // Another count alone starts no deployment: no alarm watches this.
        let none = ServiceUpdate {
            revision: Some(revision.clone()),
            desired: Some(0),
            ..ServiceUpdate::default()
        };
        // No tasks desired twice is the same as once.
        self.change(async || cluster.update_service(self.outputs, service, &none).await)
            .await?;
        let started = Instant::now();
        let mut pace = LookPace::new(self.context.environment.emulated);
        loop {
            let state = self.service_state(service).await?;
            if state.running == 0 && state.pending == 0 {
                break;
            }
            if started.elapsed() > STOP_LIMIT {
                let limit = STOP_LIMIT.as_secs();
                let count = state.running;
                return Err(anyhow!("{service} has {count} tasks after {limit} s").into());
            }
            report.emit(ReleaseEvent::Stopping {
                component: service.into(),
                running: state.running,
            });
            self.ensure_lock_not_lost().await?;
            self.rest(&mut pace, state).await;
        }
        self.change(async || cluster.deregister_task_definition(revision).await)
            .await?;
        report.emit(ReleaseEvent::Stopped {
            component: service.into(),
            revision: revision.to_string(),
        });
        Ok(())
    }
}
