//! Engines that are broken on purpose. Each has to be found by the seeds of the suite.

use xtask::decide::release::deployment::{DeploymentStatus, ServiceDeployment};

use super::process::SimulatedProcess;
use crate::model::{EcsCall, Millis, RolloutStatus, Runs, ServiceAnswer, UpdateCall};

/// What is broken at the ports: the engine itself has no switch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokenEngine {
    /// It changes things whether or not it has the lock.
    NoGuard,
    /// From the plan to its first update it sees what the plan saw.
    NoLookAfterOpening,
    /// One stale look is believed, so that looking again shows the same.
    OneStaleLookBelieved,
    /// It takes any service that is stable for one that runs what it brought.
    StableTakenForSuccess,
    /// It goes back although another run has the lock.
    GoesBackWithoutLock,
    /// It raises its beat only while it looks at a rollout.
    BeatOnlyWhileFollowing,
    /// It closes the record of whoever has the lock.
    CloseWithoutToken,
    /// It never sends a desired count of 0.
    DesiredNotSentBack,
    /// It tells every failure as 22.
    EveryFailureIsDetached,
}

impl BrokenEngine {
    pub(super) const ALL: [Self; 9] = [
        Self::NoGuard,
        Self::NoLookAfterOpening,
        Self::OneStaleLookBelieved,
        Self::StableTakenForSuccess,
        Self::GoesBackWithoutLock,
        Self::BeatOnlyWhileFollowing,
        Self::CloseWithoutToken,
        Self::DesiredNotSentBack,
        Self::EveryFailureIsDetached,
    ];
}

impl SimulatedProcess {
    /// What an engine that is broken takes the answer about a service for.
    pub(super) fn believe(&self, name: &str, stale: Millis, answer: &mut ServiceAnswer) {
        let now = self.sim.now();
        self.facts(|facts| match self.broken {
            Some(BrokenEngine::NoLookAfterOpening) if !facts.has_updated => {
                let first = facts.looks.entry(name.to_owned());
                *answer = first.or_insert((now, answer.clone())).1.clone();
            }
            Some(BrokenEngine::OneStaleLookBelieved) => {
                if stale > 0 {
                    facts.looks.insert(name.to_owned(), (now, answer.clone()));
                }
                let believed = facts.looks.get(name);
                if let Some((_, seen)) = believed.filter(|(at, _)| now < at + 15_000) {
                    *answer = seen.clone();
                }
            }
            Some(BrokenEngine::StableTakenForSuccess) => {
                if let Some((at, goal)) = facts.goals.get(name)
                    && now > at + 3_000
                    && is_stable(answer)
                {
                    answer.deployments.truncate(1);
                    answer.deployments[0].revision.clone_from(goal);
                }
            }
            Some(BrokenEngine::DesiredNotSentBack) if facts.stopped.contains(name) => {
                (answer.desired, answer.running, answer.pending) = (0, 0, 0);
                answer.deployments.truncate(1);
                let primary = &mut answer.deployments[0];
                primary.rollout = RolloutStatus::Completed;
                (primary.desired, primary.running, primary.pending) = (0, 0, 0);
            }
            _ => {}
        });
    }

    /// What an engine that is broken takes a service deployment for.
    pub(super) fn believe_deployment(
        &self,
        name: &str,
        answer: &ServiceAnswer,
        found: ServiceDeployment,
    ) -> ServiceDeployment {
        let now = self.sim.now();
        let goal = self.facts(|it| it.goals.get(name).cloned());
        let is_over = goal.is_some_and(|(at, _)| now > at + 3_000) && is_stable(answer);
        if self.broken != Some(BrokenEngine::StableTakenForSuccess) || !is_over {
            return found;
        }
        ServiceDeployment {
            status: DeploymentStatus::Successful,
            ..found
        }
    }

    /// What an engine that is broken sends, and what it remembers of it.
    pub(super) fn send(&self, call: &mut UpdateCall) {
        let now = self.sim.now();
        self.facts(|facts| {
            facts.has_updated = true;
            if let Some(revision) = &call.revision {
                let goal = (now, revision.clone());
                facts.goals.insert(call.service.clone(), goal);
            }
            if self.broken == Some(BrokenEngine::DesiredNotSentBack) && call.desired == Some(0) {
                call.desired = None;
                facts.stopped.insert(call.service.clone());
            }
        });
    }

    /// The revision that a broken engine takes an answer's for.
    pub(super) fn believe_revision(&self, service: &str, revision: String) -> String {
        if self.broken != Some(BrokenEngine::StableTakenForSuccess) {
            return revision;
        }
        self.facts(|it| {
            it.goals
                .get(service)
                .map_or(revision, |(_, goal)| goal.clone())
        })
    }

    /// What an engine does that goes back without its lock.
    pub(super) fn go_back_without_lock(&self) {
        let is_lost = self.facts(|it| it.lost_lock);
        if self.broken != Some(BrokenEngine::GoesBackWithoutLock) || !is_lost {
            return;
        }
        let before = self.facts(|it| it.before.clone());
        let changed = self.facts(|it| it.goals.clone());
        for (name, runs) in before.unwrap_or_default().0 {
            if let (Runs::Whole(revision), true) = (runs, changed.contains_key(&name)) {
                let update = UpdateCall {
                    service: name,
                    revision: Some(revision),
                    ..UpdateCall::default()
                };
                let mut state = self.sim.state();
                drop(
                    state
                        .model
                        .call(self.actor(), false, &EcsCall::Update(update)),
                );
            }
        }
    }
}

fn is_stable(answer: &ServiceAnswer) -> bool {
    let primary = &answer.deployments[0];
    primary.rollout == RolloutStatus::Completed && primary.running == answer.desired
}
