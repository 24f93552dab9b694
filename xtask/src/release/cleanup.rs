//! Removes what earlier releases left behind, one thing after another, under the lock. What can't
//! be removed is told and left; the records go last, so that they name all that is left.

use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{About, Confirmed, End, Release, ReleaseError, observe, under_lock};
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::cleanup::{Batch, Inventory, Removal};
use crate::decide::release::record::{Entries, Record, RecordKind, ReleaseState};
use crate::decide::release::snapshot::Snapshot;
use crate::failure::Failure;
use crate::ports::Context;
use crate::report::CleanupEvent;

/// Between two calls that remove something: a cleanup takes no share of AWS's limits of calls that
/// a release would need.
const PACE: Duration = Duration::from_millis(250);

/// What a cleanup would remove, and on top of what.
pub struct CleanupPlan {
    pub removal: Removal,
    keep: usize,
    entries: Entries,
}

impl CleanupPlan {
    /// # Errors
    /// Where a service is in the middle of a rollout: what it goes back to is not known then.
    pub async fn new(context: &Context<'_>, outputs: &Outputs, keep: usize) -> Result<Self> {
        let observed = observe(context, outputs).await?;
        if !observed.snapshot.settled() {
            let text = "a service is in the middle of a rollout";
            return Err(Failure::refused(text)
                .hint("wait for its end: cargo xtask status")
                .into());
        }
        let inventory = inventory(context, outputs, &observed.snapshot).await?;
        Ok(Self {
            removal: Removal::of(&inventory, &observed.snapshot, keep),
            keep,
            entries: match observed.newest {
                Some(newest) => newest.entries.untouched(),
                None => Entries::of(&observed.snapshot),
            },
        })
    }
}

/// Everything that releases have left behind. A cleanup that holds the lock is no part of it.
async fn inventory(context: &Context<'_>, outputs: &Outputs, now: &Snapshot) -> Result<Inventory> {
    let mut records = context.ledger.records().await?;
    records.retain(|it| it.state != ReleaseState::InProgress);
    let services = now.services.keys().copied();
    let services = services.map(async |service| {
        let families = families(&records, service);
        let listed = families
            .iter()
            .map(|family| context.cluster.list_task_definitions(family));
        let (revisions, images) = tokio::try_join!(
            try_join_all(listed),
            context.registry.describe_images(outputs, service)
        )?;
        Ok::<_, anyhow::Error>((service, revisions.concat(), images))
    });
    let functions = now.functions.keys().copied();
    let functions = functions.map(async |function| {
        let of = outputs.function(function);
        let versions = context.functions.list_versions_by_function(of).await?;
        Ok::<_, anyhow::Error>((function, versions))
    });
    let (services, functions) = tokio::try_join!(try_join_all(services), try_join_all(functions))?;
    let mut found = Inventory::default();
    for (service, revisions, images) in services {
        found.revisions.insert(service, revisions);
        found.images.insert(service, images);
    }
    found.versions = functions.into_iter().collect();
    found.records = records;
    Ok(found)
}

/// The families of what was released of a service, without that of its placeholder.
fn families(records: &[Record], service: Service) -> Vec<String> {
    let entries = records
        .iter()
        .filter_map(|it| it.entries.services.get(&service));
    let after = entries.filter_map(|entry| entry.after.as_ref());
    let mut families: Vec<String> = after.map(|it| it.revision.family().to_owned()).collect();
    families.sort();
    families.dedup();
    families
}

pub async fn clean_up(
    context: &Context<'_>,
    outputs: &Outputs,
    plan: &CleanupPlan,
    about: About,
    _: Confirmed,
) -> Result<Record> {
    let opening = (about, RecordKind::Cleanup, plan.entries.clone());
    under_lock(context, outputs, opening, async |release| {
        release.run_cleanup(plan).await
    })
    .await
}

impl Release<'_> {
    async fn run_cleanup(&mut self, plan: &CleanupPlan) -> End {
        let error = match self.remove_all(plan).await {
            Ok(0) => return End::succeeded(),
            Ok(left) => anyhow!("{left} of {} could not be removed", plan.removal.names()),
            Err(ReleaseError::Failed(failure)) => failure.error,
            Err(error) => return self.ended_by(error),
        };
        End {
            state: ReleaseState::Failed,
            result: Err(error),
        }
    }

    /// Returns how much is left since AWS refused to remove it.
    async fn remove_all(&mut self, plan: &CleanupPlan) -> Result<usize, ReleaseError> {
        let (context, outputs) = (self.context, self.outputs);
        let now = self
            .answered(async || CleanupPlan::new(&context, outputs, plan.keep).await)
            .await?;
        if now.removal != plan.removal {
            let how = "another run has ended".to_owned();
            return Err(ReleaseError::MovedOn { how });
        }
        let mut left = 0;
        for batch in &plan.removal.remove {
            let (subject, names) = (batch.subject().to_owned(), batch.names());
            context.report.emit(match self.remove(batch).await {
                Ok(()) => CleanupEvent::Removed { subject, names },
                Err(error @ ReleaseError::Failed(_)) => {
                    left += names.len();
                    let error = error.text();
                    CleanupEvent::NotRemoved {
                        subject,
                        names,
                        error,
                    }
                }
                Err(error) => return Err(error),
            });
            sleep(PACE).await;
        }
        Ok(left)
    }

    async fn remove(&self, batch: &Batch) -> Result<(), ReleaseError> {
        let Context {
            cluster,
            registry,
            functions,
            ledger,
            ..
        } = self.context;
        let outputs = self.outputs;
        match batch {
            Batch::Revision { revision, .. } => {
                self.change(async || cluster.deregister_task_definition(revision).await)
                    .await
            }
            Batch::Images { service, digests } => {
                let service = *service;
                let delete = async || registry.batch_delete_image(outputs, service, digests).await;
                self.change(delete).await
            }
            Batch::Version { function, version } => {
                let function = outputs.function(*function);
                self.change(async || functions.delete_function(function, version).await)
                    .await
            }
            Batch::Records { numbers } => {
                let token = &self.record.token;
                self.as_holder(async || ledger.remove(token, numbers).await)
                    .await
            }
        }
    }
}
