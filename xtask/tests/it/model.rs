//! ECS and its load balancer as a state machine: a time, a seed and calls in, answers out. It has no
//! clock and does no I/O. It shares no code with the engine that is tested against it, so that one
//! mistake is not made in both.
//!
//! Where AWS's documents leave open what happens, each possible thing does, by the seed (`Undecided`).

mod answers;
mod chance;
pub(crate) mod contract;
mod deployments;
mod ecs;
mod images;
mod scheduler;
mod targets;
mod tasks;
mod tests;
mod transcripts;
mod truth;

pub(crate) use answers::{ServiceAnswer, TaskAnswer};
pub(crate) use chance::Chance;
pub(crate) use deployments::{RolloutStatus, ServiceDeploymentAnswer, ServiceDeploymentStatus};
pub(crate) use ecs::{AlarmSettings, EcsCall, EcsModel, UpdateCall};
pub(crate) use images::ImageScript;
pub(crate) use tasks::TaskStatus;
pub(crate) use truth::{Actor, Runs, ServiceChange};

/// Milliseconds since the beginning of a run.
pub(crate) type Millis = u64;

/// A time that never comes.
const NEVER: Millis = Millis::MAX;
