//! ECS's deployment alarms are off during a rollback: one that the failed release set off would
//! make ECS fail the rollback too, and return to the last completed deployment, which may be the
//! very release that is rolled back.
//!
//! A change of `deploymentConfiguration` alone starts no deployment (AWS's reference of
//! `UpdateService`), and ECS keeps the names of alarms that are turned off (the Terraform
//! provider's test `TestAccECSService_alarmsUpdate` finds no difference afterwards). So the record
//! only has to note whose alarms are off.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::{Release, ReleaseError};
use crate::catalog::Service;
use crate::decide::release::record::Record;
use crate::decide::release::snapshot::{Alarms, ServiceState, Snapshot};
use crate::ports::{Context, ServiceUpdate};
use crate::report::RollbackEvent;

/// The services whose alarms an earlier release turned off and, since it was interrupted, did not
/// turn on again.
pub fn left_without_alarms(newest: Option<&Record>, snapshot: &Snapshot) -> BTreeSet<Service> {
    let Some(newest) = newest else {
        return BTreeSet::new();
    };
    let off = |state: &ServiceState| state.watched_by().is_some_and(|alarms| !alarms.enabled);
    let found = snapshot.services.iter();
    let found = found
        .filter(|(service, found)| off(&found.state) && newest.without_alarms.contains(service));
    found.map(|(service, _)| *service).collect()
}

impl Release<'_> {
    /// What to send in the call that begins the rollback of a service; `None` where no alarm
    /// watches it.
    pub(super) async fn turn_alarms_off(
        &mut self,
        service: Service,
        state: &ServiceState,
    ) -> Result<Option<Alarms>, ReleaseError> {
        let Some(alarms) = state.watched_by().filter(|alarms| alarms.enabled) else {
            return Ok(None);
        };
        // Noted first: where this run is interrupted, the next release turns them on again.
        self.record.without_alarms.insert(service);
        match self.save().await {
            // The closing of the record writes it once more: the rollback goes on.
            Err(error @ ReleaseError::Failed(_)) => self.ignore(error.text()),
            saved => saved?,
        }
        self.context.report.emit(RollbackEvent::AlarmsOff {
            component: service.into(),
        });
        Ok(Some(Alarms {
            enabled: false,
            ..alarms.clone()
        }))
    }

    /// Turns on what the record says is off. What fails stays noted in it.
    pub(super) async fn turn_alarms_on(&mut self) -> Result<(), ReleaseError> {
        if self.record.without_alarms.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        for service in self.record.without_alarms.clone() {
            match self.turn_on(service).await {
                Ok(()) => drop(self.record.without_alarms.remove(&service)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Sent even where a snapshot says that they are on: it may be older than our own call.
    async fn turn_on(&self, service: Service) -> Result<(), ReleaseError> {
        let Context {
            cluster, report, ..
        } = self.context;
        let state = self.service_state(service).await?;
        let Some(alarms) = state.watched_by() else {
            return Ok(());
        };
        let on = ServiceUpdate {
            alarms: Some(Alarms {
                enabled: true,
                ..alarms.clone()
            }),
            ..ServiceUpdate::default()
        };
        self.change(async || {
            let update = cluster.update_service(self.outputs, service, &on);
            let updated = update.await;
            updated.with_context(|| format!("turn on the alarms of {service}"))
        })
        .await?;
        report.emit(RollbackEvent::AlarmsOn {
            component: service.into(),
        });
        Ok(())
    }

    /// For a message about what is left as it is.
    pub(super) fn without_alarms(&self) -> String {
        let names: Vec<_> = self
            .record
            .without_alarms
            .iter()
            .map(|it| it.name())
            .collect();
        if names.is_empty() {
            return String::new();
        }
        let names = names.join(" and ");
        format!("; the alarms of {names} are off until the next deploy or rollback")
    }
}
