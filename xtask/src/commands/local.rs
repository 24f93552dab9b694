//! `local`: starts and stops the local AWS, or deletes its state.

use anyhow::Result;

use super::doctor::require_local;
use crate::ports::{Began, LocalAws, Machine};
use crate::report::{MachineEvent, Report};

pub async fn up(machine: &dyn Machine, report: &Report, aws: &dyn LocalAws) -> Result<()> {
    if !aws.is_up().await {
        require_local(machine).await?;
    }
    let began = aws.up().await?;
    if began == Began::Started {
        report.emit(MachineEvent::LocalSettling);
        if !aws.settled().await {
            report.emit(MachineEvent::LocalUnsettled);
        }
    }
    report.emit(MachineEvent::LocalUp {
        endpoint: aws.endpoint(),
        started: began == Began::Started,
    });
    Ok(())
}

pub async fn down(report: &Report, aws: &dyn LocalAws) -> Result<()> {
    aws.down().await?;
    report.emit(MachineEvent::LocalDown { state_kept: true });
    Ok(())
}

pub async fn reset(report: &Report, aws: &dyn LocalAws) -> Result<()> {
    aws.reset().await?;
    report.emit(MachineEvent::LocalDown { state_kept: false });
    Ok(())
}
