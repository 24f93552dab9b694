//! ECS's deployment alarms are off during a rollback: one that the failed release set off would make
//! ECS fail the rollback too, and return to the last completed deployment, which may be the very
//! release that is rolled back.
//!
//! Rests on this: AWS's reference says of `deploymentConfiguration` in `UpdateService` that it
//! starts no deployment, and ECS keeps the names of alarms that are turned off (the Terraform provider's test
//! `TestAccECSService_alarmsUpdate` finds no difference afterwards). So the record notes whose
//! alarms are off, and ECS has the rest.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::Release;
use crate::catalog::Component;
use crate::decide::release::plan::Snapshot;
use crate::decide::release::rollout::{Alarms, ServiceState};
use crate::failure::{self, Kind};
use crate::world::{ServiceUpdate, World};

/// The services whose alarms an earlier release turned off, and did not live to turn on again.
pub async fn left_without_alarms(
    world: &World<'_>,
    snapshot: &Snapshot,
) -> Result<BTreeSet<Component>> {
    let off = |state: &ServiceState| alarms_of(state).is_some_and(|alarms| !alarms.enabled);
    let mut components: BTreeSet<Component> = snapshot.services.keys().copied().collect();
    components.retain(|component| off(&snapshot.services[component].state));
    if components.is_empty() {
        return Ok(components);
    }
    let newest = world.ledger.newest().await?;
    // Somebody who is at work turns them on himself.
    let newest = newest.filter(|record| !record.held(world.clock.now()));
    let noted = newest.map(|record| record.without_alarms);
    components.retain(|component| {
        noted
            .as_ref()
            .is_some_and(|noted| noted.contains(component))
    });
    Ok(components)
}

impl Release<'_> {
    /// What to send in the call that begins the rollback of a service; `None` where no alarm
    /// watches it.
    pub(super) async fn turn_alarms_off(
        &mut self,
        component: Component,
        state: &ServiceState,
    ) -> Result<Option<Alarms>> {
        let Some(alarms) = alarms_of(state).filter(|alarms| alarms.enabled) else {
            return Ok(None);
        };
        // Noted before it is done: whoever goes on after us turns them on again.
        self.record.without_alarms.insert(component);
        match self.save().await {
            Err(error) if failure::is(&error, Kind::Expired) => return Err(error),
            // The closing of the record writes it once more: the rollback goes on.
            Err(error) => self.world.report.warn("release", &format!("{error:#}")),
            Ok(()) => {}
        }
        self.world
            .report
            .line(component.name(), "its alarms are off for the rollback");
        Ok(Some(Alarms {
            enabled: false,
            ..alarms.clone()
        }))
    }

    /// Turns on what the record says is off. What fails stays noted in it.
    pub(super) async fn turn_alarms_on(&mut self) -> Result<()> {
        if self.record.without_alarms.is_empty() {
            return Ok(());
        }
        let newest = self.world.ledger.newest().await?;
        let later = newest.filter(|newest| newest.number > self.record.number);
        // A later release has taken these over, and may be rolling back.
        let theirs = later.map_or_else(BTreeSet::new, |later| later.without_alarms);
        let mut result = Ok(());
        for component in self.record.without_alarms.clone() {
            if theirs.contains(&component) {
                continue;
            }
            let on = self.turn_on(component).await;
            match on.with_context(|| format!("turn on the alarms of {component}")) {
                Ok(()) => drop(self.record.without_alarms.remove(&component)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Sent even where a snapshot says that they are on: it may be older than our own call.
    async fn turn_on(&self, component: Component) -> Result<()> {
        let world = self.world;
        let state = world.cluster.describe_service(component).await?;
        let Some(alarms) = alarms_of(&state) else {
            return Ok(());
        };
        let on = ServiceUpdate {
            alarms: Some(Alarms {
                enabled: true,
                ..alarms.clone()
            }),
            ..ServiceUpdate::default()
        };
        world.cluster.update_service(component, &on).await?;
        world
            .report
            .line(component.name(), "its alarms are on again");
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

fn alarms_of(state: &ServiceState) -> Option<&Alarms> {
    state
        .alarms
        .as_ref()
        .filter(|alarms| !alarms.names.is_empty())
}
