//! Engines that are broken on purpose, and for each a script that finds it.

use xtask::decide::release::deployment::{DeploymentStatus, ServiceDeployment};
use xtask::decide::release::snapshot::{RolloutState, ServiceState};
use xtask::ports::ServiceUpdate;

use super::faults::{InjectedFault, PlannedFault, PortCall};
use super::process::SimulatedProcess;
use super::script::{Beside, Meanwhile, Script, SimulatedCommand, StartState, When};
use crate::model::{EcsCall, ImageScript, Millis, RolloutStatus, Runs, UpdateCall};
use crate::world::components::AXON;
use crate::world::{STALENESS, short};

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
    /// It goes back in the order in which it went forward.
    WrongOrderBack,
    /// It never sends a desired count of 0.
    DesiredNotSentBack,
    /// It tells every failure as 22.
    EveryFailureIsDetached,
}

impl BrokenEngine {
    pub(super) const ALL: [Self; 10] = [
        Self::NoGuard,
        Self::NoLookAfterOpening,
        Self::OneStaleLookBelieved,
        Self::StableTakenForSuccess,
        Self::GoesBackWithoutLock,
        Self::BeatOnlyWhileFollowing,
        Self::CloseWithoutToken,
        Self::WrongOrderBack,
        Self::DesiredNotSentBack,
        Self::EveryFailureIsDetached,
    ];
}

impl BrokenEngine {
    /// A run that finds it, whatever the seed decides.
    pub(super) fn script(self, seed: u64) -> Script {
        let plain = Script {
            push_time: Some(500),
            ..Script::plain(seed)
        };
        let taken_over = |when, faults| Script {
            beside: Some(Beside {
                when,
                command: SimulatedCommand::Deploy,
                take_over: true,
            }),
            ..plain.clone().with_faults(faults)
        };
        let slow = |call| PlannedFault::once(InjectedFault::Slow, call, 0).lasting(2_000);
        let asleep = |call, nth| PlannedFault::once(InjectedFault::Asleep, call, nth);
        match self {
            // Its beat is not confirmed any more from the opening on.
            Self::NoGuard => Script {
                images: [(AXON, ImageScript::SlowStart)].into(),
                ..plain.with_faults([PlannedFault::always(
                    InjectedFault::Unanswered,
                    PortCall::Beat,
                )])
            },
            Self::NoLookAfterOpening => Script {
                meanwhile: vec![(When::At(PortCall::Open, 0), Meanwhile::Hotfix(AXON))],
                ..plain.with_faults([
                    slow(PortCall::RegisterTaskDefinition),
                    slow(PortCall::Write),
                    slow(PortCall::ListServiceDeployments),
                ])
            },
            Self::OneStaleLookBelieved => Script {
                edited: vec![AXON.into()],
                meanwhile: vec![(When::At(PortCall::Open, 0), Meanwhile::Hotfix(AXON))],
                ..plain.with_faults([
                    // The first one is the plan's.
                    PlannedFault::once(InjectedFault::Stale, PortCall::DescribeServices, 1)
                        .lasting(STALENESS),
                    slow(PortCall::RegisterTaskDefinition),
                    slow(PortCall::Write),
                    slow(PortCall::ListServiceDeployments),
                ])
            },
            Self::StableTakenForSuccess | Self::EveryFailureIsDetached => Script {
                images: [(AXON, ImageScript::NotPulled)].into(),
                ..plain
            },
            Self::DesiredNotSentBack => Script {
                base: StartState::Applied,
                images: [(AXON, ImageScript::NotPulled)].into(),
                ..plain
            },
            // It wakes up when the other one has replaced its deployment.
            Self::GoesBackWithoutLock => taken_over(
                When::At(PortCall::UpdateService, 0),
                [asleep(PortCall::ListServiceDeployments, 1).lasting(120_000)],
            ),
            // Nothing is looked at while images are pushed.
            Self::BeatOnlyWhileFollowing => Script {
                push_time: Some(40_000),
                ..plain
            },
            Self::CloseWithoutToken => Script {
                push_time: Some(40_000),
                ..taken_over(
                    When::At(PortCall::Close, 0),
                    [asleep(PortCall::Close, 0).lasting(60_000)],
                )
            },
            Self::WrongOrderBack => plain.with_faults([PlannedFault::always(
                InjectedFault::Unanswered,
                PortCall::Dispatch,
            )]),
        }
    }
}

impl SimulatedProcess {
    /// What an engine that is broken takes the answer about a service for.
    pub(super) fn believe(&self, name: &str, stale: Millis, answer: &mut ServiceState) {
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
                    answer.deployments[0].revision = goal.parse().unwrap();
                }
            }
            Some(BrokenEngine::DesiredNotSentBack) if facts.stopped.contains(name) => {
                (answer.desired, answer.running, answer.pending) = (0, 0, 0);
                answer.deployments.truncate(1);
                let primary = &mut answer.deployments[0];
                primary.state = RolloutState::Completed;
                (primary.desired, primary.running, primary.pending) = (0, 0, 0);
            }
            _ => {}
        });
    }

    /// What an engine that is broken takes a service deployment for.
    pub(super) fn believe_deployment(&self, found: ServiceDeployment) -> ServiceDeployment {
        if self.broken != Some(BrokenEngine::StableTakenForSuccess) {
            return found;
        }
        let (name, _) = short(&found.arn).split_once('/').unwrap();
        let now = self.sim.now();
        let goal = self.facts(|it| it.goals.get(name).cloned());
        let answer = self.sim.state().model.answer_now(name);
        let primary = &answer.deployments[0];
        let is_stable =
            primary.rollout == RolloutStatus::Completed && primary.running == answer.desired;
        if !is_stable || goal.is_none_or(|(at, _)| now <= at + 3_000) {
            return found;
        }
        ServiceDeployment {
            status: DeploymentStatus::Successful,
            ..found
        }
    }

    /// What an engine that is broken sends, and what it remembers of it.
    pub(super) fn send(&self, service: &str, call: &mut ServiceUpdate) {
        let now = self.sim.now();
        if self.broken == Some(BrokenEngine::WrongOrderBack) {
            self.send_those_before_back(service, call);
        }
        self.facts(|facts| {
            facts.has_updated = true;
            if let Some(revision) = &call.revision {
                let goal = (now, revision.to_string());
                facts.goals.insert(service.to_owned(), goal);
            }
            if self.broken == Some(BrokenEngine::DesiredNotSentBack) && call.desired == Some(0) {
                call.desired = None;
                facts.stopped.insert(service.to_owned());
            }
        });
    }

    /// The revision that a broken engine takes an answer's for.
    pub(super) fn believe_revision(&self, service: &str, revision: &mut String) {
        if self.broken == Some(BrokenEngine::StableTakenForSuccess) {
            let goal = self.facts(|it| it.goals.get(service).cloned());
            if let Some((_, goal)) = goal {
                *revision = goal;
            }
        }
    }

    /// What was changed before the service of this call goes back before it does.
    fn send_those_before_back(&self, service: &str, call: &ServiceUpdate) {
        let (before, goals) = self.facts(|it| (it.before.clone(), it.goals.clone()));
        let before = before.unwrap_or_default().0;
        let ran = |name: &str| match &before[name] {
            Runs::Whole(revision) => Some(revision.clone()),
            _ => None,
        };
        let sent = call.revision.as_ref().map(ToString::to_string);
        let goes_back = sent.is_some() && sent == ran(service);
        let changed = goals.into_iter().filter(|(name, _)| name != service);
        for (name, _) in changed.filter(|_| goes_back) {
            if let Some(revision) = ran(&name) {
                self.send_at_once(name, revision);
            }
        }
    }

    fn send_at_once(&self, service: String, revision: String) {
        let update = UpdateCall {
            service,
            revision: Some(revision),
            ..UpdateCall::default()
        };
        let mut state = self.sim.state();
        let update = EcsCall::Update(update);
        drop(state.model.call(self.actor(), false, &update));
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
                self.send_at_once(name, revision);
            }
        }
    }
}

fn is_stable(answer: &ServiceState) -> bool {
    let primary = &answer.deployments[0];
    primary.state == RolloutState::Completed && primary.running == answer.desired
}
