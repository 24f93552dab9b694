//! The service deployment of an update, by its own name. Where it cannot be read the service itself
//! is followed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::evidence::without_arn;
use super::{Release, ReleaseError};
use crate::catalog::Service;
use crate::decide::release::cause::{self, Cause};
use crate::decide::release::deployment::{DeploymentStatus, NewestDeployment, ServiceDeployment};
use crate::decide::release::snapshot::{Revision, ServiceState, StoppedTask};
use crate::failure::{self, Kind};
use crate::ports::Context;
use crate::report::ReleaseEvent;

/// What is watched of one rollout, and what was seen of it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) followed: Followed,
    /// The newest event of the service from before the rollout.
    pub(super) known_event: Option<String>,
    /// The last that was seen of the service deployment.
    pub(super) deployment: Option<ServiceDeployment>,
    /// Why targets were unhealthy meanwhile: later they are gone.
    pub(super) unhealthy: BTreeSet<String>,
    pub(super) early_stop: EarlyStop,
    /// A task of the new revision was healthy.
    pub(super) was_healthy: bool,
    /// Why its deployment was stopped before ECS gave it up.
    pub(super) stopped_for: Option<Cause>,
}

/// What is done where tasks die of one cause that does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyStop {
    /// ECS is asked to go back to what it completed last.
    GoBack,
    /// There is nothing that it could go back to: a first release.
    Fail,
    /// It is the way back itself: only the watching ends, and ECS goes on trying.
    GiveUp,
}

impl Watch {
    pub(super) fn of(followed: Followed, early_stop: EarlyStop, before: &ServiceState) -> Self {
        Self {
            followed,
            known_event: before.events.first().map(|event| event.id.clone()),
            deployment: None,
            unhealthy: BTreeSet::new(),
            early_stop,
            was_healthy: false,
            stopped_for: None,
        }
    }

    /// What ECS told last, where that is why the rollout does not go on.
    pub(super) fn hindrance<'s>(&self, state: &'s ServiceState) -> Option<&'s str> {
        let newest = state.events.first()?;
        let hinders = ["unable to", "failed to"];
        let is_news = self.known_event.as_ref() != Some(&newest.id)
            && hinders.iter().any(|it| newest.message.contains(it));
        is_news.then_some(newest.message.as_str())
    }
}

/// The service deployment that is followed.
#[derive(Debug, Clone)]
pub(super) enum Followed {
    /// Its name is not known.
    Unknown,
    /// The one that is newer than this.
    After(Option<String>),
    Named(String),
    /// One on which ECS goes back by itself.
    WayBack(String),
}

/// How far back service deployments are listed: one that is followed is younger.
const DEPLOYMENTS_SINCE: Duration = Duration::from_hours(24);
/// So many tasks that died of one lasting cause show that the next dies too.
const TASKS_TO_STOP: i32 = 2;

impl Release<'_> {
    /// For the service deployment that the next update begins.
    pub(super) async fn next_deployment(
        &mut self,
        service: Service,
    ) -> Result<Followed, ReleaseError> {
        let newest = self.newest_deployment(service).await?;
        Ok(Followed::After(newest.map(|newest| newest.arn)))
    }

    async fn newest_deployment(
        &mut self,
        service: Service,
    ) -> Result<Option<NewestDeployment>, ReleaseError> {
        let Context { cluster, clock, .. } = self.context;
        let (outputs, since) = (self.outputs, clock.now() - DEPLOYMENTS_SINCE);
        self.asked(async || {
            cluster
                .newest_service_deployment(outputs, service, since)
                .await
        })
        .await
    }

    /// Whether ECS gave up the newest deployment, of one of these revisions: then what it runs is
    /// what it went back to by itself, which may be older than what is known. Whoever else changes the
    /// service begins a newer one.
    pub(super) async fn went_back_from(&self, service: Service, revisions: &[&Revision]) -> bool {
        let Context { cluster, clock, .. } = self.context;
        let (outputs, since) = (self.outputs, clock.now() - DEPLOYMENTS_SINCE);
        let newest = cluster.newest_service_deployment(outputs, service, since);
        let newest = newest.await.ok().flatten();
        let Some(ours) = newest.filter(|it| revisions.contains(&&it.revision)) else {
            return false;
        };
        let found = cluster.describe_service_deployment(&ours.arn).await;
        matches!(found, Ok(Some(found)) if found.is_given_up())
    }

    /// What became of the service deployment so far. `None`: it is not known.
    pub(super) async fn service_deployment(
        &mut self,
        service: Service,
        revision: &Revision,
        followed: &mut Followed,
    ) -> Result<Option<ServiceDeployment>, ReleaseError> {
        let cluster = self.context.cluster;
        if let Followed::After(before) = followed {
            let newest = self.newest_deployment(service).await?.filter(|newest| {
                newest.revision == *revision && before.as_ref() != Some(&newest.arn)
            });
            if let Some(newest) = newest {
                self.forward.insert(service, newest.arn.clone());
                *followed = Followed::Named(newest.arn);
            }
        }
        let (Followed::Named(arn) | Followed::WayBack(arn)) = followed else {
            return Ok(None);
        };
        let found = self.asked(async || cluster.describe_service_deployment(arn).await);
        let found = found.await?;
        Ok(match followed {
            Followed::WayBack(_) => found.map(ServiceDeployment::way_back),
            _ => found,
        })
    }

    /// Stops a deployment of which two tasks died of one cause that does not pass, and no task
    /// became healthy. Returns the cause where nothing is left to wait for.
    pub(super) async fn stop_early(
        &mut self,
        service: Service,
        goal: &Revision,
        state: &ServiceState,
        watch: &mut Watch,
    ) -> Result<Option<Cause>, ReleaseError> {
        let cluster = self.context.cluster;
        let Some(primary) = state.primary().filter(|it| it.revision == *goal) else {
            return Ok(None);
        };
        // One that runs may be healthy, or become it.
        let none_is_healthy = primary.running == 0 && !watch.was_healthy;
        let deployment = watch
            .deployment
            .as_ref()
            .filter(|it| it.status == DeploymentStatus::InProgress && none_is_healthy);
        let (Some(deployment), None) = (deployment, &watch.stopped_for) else {
            return Ok(None);
        };
        // The circuit breaker does not count on a way back.
        let failures = match watch.followed {
            Followed::WayBack(_) => primary.failed,
            _ => deployment.failures,
        };
        if failures < TASKS_TO_STOP || failures < primary.failed {
            return Ok(None);
        }
        let newest = failures.unsigned_abs() as usize;
        let cause = self.lasting_cause(service, goal, newest, watch).await?;
        let Some(cause) = cause else { return Ok(None) };
        watch.stopped_for = Some(cause.clone());
        if watch.early_stop == EarlyStop::GiveUp {
            return Ok(Some(cause));
        }
        self.context.report.emit(ReleaseEvent::StoppingDeployment {
            component: service.into(),
            cause: cause.kind,
            detail: cause.detail.clone(),
        });
        if watch.early_stop == EarlyStop::Fail {
            return Ok(Some(cause));
        }
        let stopped = self.change(async || cluster.stop_service_deployment(&deployment.arn).await);
        match stopped.await {
            // ECS gives it up by itself, only later.
            Err(error @ ReleaseError::Failed(_)) => self.ignore(error.text()),
            stopped => stopped?,
        }
        Ok(None)
    }

    /// The lasting cause that the newest tasks of a revision died of. Older ones are of another
    /// deployment of it.
    pub(super) async fn lasting_cause(
        &self,
        service: Service,
        revision: &Revision,
        newest: usize,
        watch: &Watch,
    ) -> Result<Option<Cause>, ReleaseError> {
        let (cluster, outputs) = (self.context.cluster, self.outputs);
        let tasks = self.answered(async || cluster.stopped_tasks(outputs, service, revision).await);
        let mut tasks = match tasks.await {
            // Without them no cause is known.
            Err(ReleaseError::Failed(_)) => return Ok(None),
            tasks => tasks?,
        };
        tasks.retain(StoppedTask::is_evidence);
        tasks.truncate(newest);
        let cause = cause::lasting(&tasks, &watch.unhealthy);
        Ok(cause.map(|cause| Cause {
            detail: without_arn(&cause.detail),
            ..cause
        }))
    }

    /// Asks about service deployments until AWS refuses that.
    async fn asked<T>(
        &mut self,
        call: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<Option<T>, ReleaseError> {
        if !self.asks_deployments {
            return Ok(None);
        }
        let refused = RefCell::new(None);
        let found = self.answered(async || match call().await {
            Err(error) if !is_temporary(&error) => {
                refused.replace(Some(error));
                Ok(None)
            }
            answer => answer,
        });
        let found = found.await?;
        if let Some(error) = refused.into_inner() {
            self.asks_deployments = false;
            let error = format!("{error:#}");
            self.context
                .report
                .emit(ReleaseEvent::DeploymentsNotRead { error });
        }
        Ok(found)
    }
}

/// Whether an error ends the release, or is retried, wherever it occurs.
fn is_temporary(error: &anyhow::Error) -> bool {
    failure::is(error, Kind::Unanswered) || failure::is(error, Kind::Expired)
}
