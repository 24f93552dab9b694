//! The rollout of one service, from the update to an outcome: observations in, decisions out.
//!
//! What the service deployment says decides, where it is known. Of the service itself only
//! revisions, rollout states and counts are used: deployment ids, events and the length of the list
//! are not reliable, since a rollback may reuse an old deployment.

use serde::{Deserialize, Serialize};

use super::deployment::{DeploymentStatus, ServiceDeployment};
use super::snapshot::{Deployment, Revision, RolloutState, ServiceState};

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    RolledBack,
    RollbackFailed,
    Detached,
    Superseded,
}

impl Outcome {
    pub fn text(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled back",
            Self::RollbackFailed => "rollback failed",
            Self::Detached => "detached",
            Self::Superseded => "superseded",
        }
    }
}

/// The revision that a service is updated to, and what ran before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutGoal {
    pub revision: Revision,
    /// The revisions that ran before, to which the circuit breaker of ECS rolls back. More than one
    /// if an earlier rollout was in progress.
    pub previous: Vec<Revision>,
    /// The number of tasks that must run. `None`: autoscaling may change it meanwhile.
    pub desired: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutDecision {
    /// Observe again later.
    Wait,
    /// All tasks of the revision run: probe them.
    Probe,
    /// ECS goes back to what ran before by itself.
    RollingBack { reason: String },
    /// ECS went back and all of its tasks run.
    RolledBack { reason: String },
    /// The rollout failed, and ECS does not roll back.
    Failed { reason: String },
    /// Another revision is primary now.
    Superseded { by: String },
}

/// Follows the rollout of one service.
#[derive(Debug, Clone)]
pub struct Rollout {
    goal: RolloutGoal,
    /// A look may be older than our update: what ran before as the primary one means "gone back"
    /// only after our revision has been seen.
    seen: bool,
    reason: String,
}

impl Rollout {
    pub fn new(goal: RolloutGoal) -> Self {
        Self {
            goal,
            seen: false,
            reason: "its deployment failed".to_owned(),
        }
    }

    /// ECS goes back to this revision too.
    pub fn goes_back_to(&mut self, revision: Revision) {
        self.goal.previous.push(revision);
    }

    /// The decision that follows from an observation. `late`: the time limit is exceeded.
    pub fn observe(
        &mut self,
        state: &ServiceState,
        deployment: Option<&ServiceDeployment>,
        late: bool,
    ) -> RolloutDecision {
        let Some(primary) = state.primary().filter(|_| state.active) else {
            return RolloutDecision::Superseded {
                by: "nothing: the service does not exist".to_owned(),
            };
        };
        if let Some(failed) = state.failed(&self.goal.revision) {
            self.seen = true;
            if !failed.reason.is_empty() {
                self.reason.clone_from(&failed.reason);
            }
        }
        let status = deployment.map(|it| it.status);
        if let Some(ended) = deployment.filter(|it| it.is_given_up()) {
            self.seen = true;
            self.reason = ended.why();
        }
        if primary.revision == self.goal.revision {
            self.seen = true;
            return self.ours(state, primary, deployment, late);
        }
        // Of what ECS went back to no task runs either: after a stop it may be deregistered.
        let is_known = self.goal.previous.contains(&primary.revision);
        if self.seen && self.goal.desired == Some(0) && is_known {
            return Self::none_runs(state, primary, late);
        }
        if !self.goal.previous.contains(&primary.revision) {
            return RolloutDecision::Superseded {
                by: primary.revision.to_string(),
            };
        }
        if status == Some(DeploymentStatus::RollbackFailed) {
            return RolloutDecision::Failed {
                reason: self.reason.clone(),
            };
        }
        let is_back = state.settled() || status == Some(DeploymentStatus::RolledBack);
        match (self.seen, is_back) {
            (false, _) if late => RolloutDecision::Failed {
                reason: "ECS never showed the update".to_owned(),
            },
            (false, _) => RolloutDecision::Wait,
            (true, true) => RolloutDecision::RolledBack {
                reason: self.reason.clone(),
            },
            (true, false) if late => RolloutDecision::Failed {
                reason: self.reason.clone(),
            },
            (true, false) => RolloutDecision::RollingBack {
                reason: self.reason.clone(),
            },
        }
    }

    /// Where no task is desired, a deployment that failed before that stays a failed one. One that
    /// can be completed is waited for: ECS goes back to what it completed last.
    fn none_runs(state: &ServiceState, primary: &Deployment, late: bool) -> RolloutDecision {
        let left = state.running + state.pending;
        let is_over = late || primary.state != RolloutState::InProgress;
        if state.desired == 0 && left == 0 && is_over {
            return RolloutDecision::Probe;
        }
        if late {
            let reason = format!("timed out with {left} tasks that have not ended");
            return RolloutDecision::Failed { reason };
        }
        RolloutDecision::Wait
    }

    fn ours(
        &self,
        state: &ServiceState,
        primary: &Deployment,
        deployment: Option<&ServiceDeployment>,
        late: bool,
    ) -> RolloutDecision {
        if self.goal.desired == Some(0) {
            return Self::none_runs(state, primary, late);
        }
        let enough = self
            .goal
            .desired
            .is_none_or(|desired| state.desired == desired);
        let is_completed = match deployment {
            Some(deployment) => deployment.status == DeploymentStatus::Successful,
            None => state.settled(),
        };
        if is_completed && enough {
            return RolloutDecision::Probe;
        }
        match (deployment.map(|it| it.status), primary.state) {
            (Some(DeploymentStatus::Stopped | DeploymentStatus::RollbackFailed), _) => {
                RolloutDecision::Failed {
                    reason: self.reason.clone(),
                }
            }
            (_, RolloutState::Failed) => RolloutDecision::Failed {
                reason: primary.reason.clone(),
            },
            _ if late => RolloutDecision::Failed {
                reason: format!(
                    "timed out with {} of {} tasks running",
                    primary.running, primary.desired
                ),
            },
            _ => RolloutDecision::Wait,
        }
    }
}

/// Whether probes prove that a revision serves requests: this many correct responses in a row.
#[derive(Debug, Clone)]
pub struct Proof {
    needed: u32,
    in_a_row: u32,
}

/// A response of `/health` through the load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAnswer {
    pub status: u16,
    pub revision: Option<Revision>,
}

impl Proof {
    pub fn new(needed: u32) -> Self {
        Self {
            needed,
            in_a_row: 0,
        }
    }

    /// `true` once it is proven. No response, or one of another revision, resets the count, since a
    /// draining task still responds.
    pub fn observe(&mut self, answer: Option<&HealthAnswer>, revision: &Revision) -> bool {
        let right = answer.is_some_and(|health| {
            health.status == 200 && health.revision.as_ref() == Some(revision)
        });
        self.in_a_row = if right { self.in_a_row + 1 } else { 0 };
        self.in_a_row >= self.needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::release::snapshot::RolloutState::{Completed, Failed, InProgress};
    use crate::decide::release::snapshot::testing::{deployment, revision, service};

    fn rollout() -> Rollout {
        Rollout::new(RolloutGoal {
            revision: revision("demo-axon:2"),
            previous: vec![revision("demo-axon:1")],
            desired: Some(2),
        })
    }

    #[test]
    fn a_good_rollout_waits_for_every_task_and_then_probes() {
        let mut rollout = rollout();
        let old = deployment("demo-axon:1", Completed, 2, 2);
        let stale = service(vec![old.clone()]);
        assert_eq!(rollout.observe(&stale, None, false), RolloutDecision::Wait);
        let half = service(vec![
            deployment("demo-axon:2", InProgress, 1, 2),
            old.clone(),
        ]);
        assert_eq!(rollout.observe(&half, None, false), RolloutDecision::Wait);
        let draining = service(vec![deployment("demo-axon:2", Completed, 2, 2), old]);
        assert_eq!(
            rollout.observe(&draining, None, false),
            RolloutDecision::Wait
        );
        let whole = service(vec![deployment("demo-axon:2", Completed, 2, 2)]);
        assert_eq!(rollout.observe(&whole, None, false), RolloutDecision::Probe);
    }

    #[test]
    fn where_none_is_desired_only_the_counts_decide() {
        let goal = RolloutGoal {
            revision: revision("demo-axon-placeholder:1"),
            previous: vec![revision("demo-axon:1")],
            desired: Some(0),
        };
        let decide = |rollout: RolloutState, of: i32, running: i32, late: bool| {
            let name = "demo-axon-placeholder:1";
            let state = ServiceState {
                pending: 0,
                ..service(vec![deployment(name, rollout, running, of)])
            };
            Rollout::new(goal.clone()).observe(&state, None, late)
        };
        assert_eq!(decide(Failed, 0, 0, false), RolloutDecision::Probe);
        assert_eq!(decide(InProgress, 0, 0, false), RolloutDecision::Wait);
        assert_eq!(decide(InProgress, 0, 0, true), RolloutDecision::Probe);
        for (of, running) in [(2, 0), (0, 1)] {
            assert_eq!(decide(Failed, of, running, false), RolloutDecision::Wait);
            let late = decide(Failed, of, running, true);
            assert!(matches!(late, RolloutDecision::Failed { .. }), "{late:?}");
        }
    }

    #[test]
    fn where_none_is_desired_it_does_not_matter_which_revision_ecs_went_back_to() {
        let mut rollout = Rollout::new(RolloutGoal {
            revision: revision("demo-axon:2"),
            previous: vec![revision("demo-axon:1")],
            desired: Some(0),
        });
        let went_back = |of: i32| {
            let ours = deployment("demo-axon:2", Failed, 0, 0);
            let state = service(vec![deployment("demo-axon:1", Completed, 0, of), ours]);
            ServiceState {
                pending: 0,
                ..state
            }
        };
        let decision = rollout.observe(&went_back(2), None, false);
        assert_eq!(decision, RolloutDecision::Wait);
        let decision = rollout.observe(&went_back(0), None, false);
        assert_eq!(decision, RolloutDecision::Probe);
    }

    #[test]
    fn a_rollback_of_ecs_is_followed_to_its_end_and_is_never_a_success() {
        let mut rollout = rollout();
        let ours = Deployment {
            reason: "tasks failed to start".into(),
            ..deployment("demo-axon:2", Failed, 0, 0)
        };
        let going = service(vec![
            deployment("demo-axon:1", InProgress, 1, 2),
            ours.clone(),
        ]);
        let reason = "tasks failed to start".to_owned();
        assert_eq!(
            rollout.observe(&going, None, false),
            RolloutDecision::RollingBack { reason }
        );
        let gone = service(vec![deployment("demo-axon:1", Completed, 2, 2), ours]);
        let reason = "tasks failed to start".to_owned();
        assert_eq!(
            rollout.observe(&gone, None, false),
            RolloutDecision::RolledBack { reason }
        );
    }

    #[test]
    fn another_deployment_is_not_taken_for_ours() {
        let other = service(vec![deployment("demo-axon:9", InProgress, 0, 2)]);
        let by = "demo-axon:9".to_owned();
        assert_eq!(
            rollout().observe(&other, None, false),
            RolloutDecision::Superseded { by }
        );
    }

    #[test]
    fn every_wait_has_an_end() {
        let half = service(vec![deployment("demo-axon:2", InProgress, 1, 2)]);
        assert!(matches!(
            rollout().observe(&half, None, true),
            RolloutDecision::Failed { .. }
        ));
        let stale = service(vec![deployment("demo-axon:1", Completed, 2, 2)]);
        assert!(matches!(
            rollout().observe(&stale, None, true),
            RolloutDecision::Failed { .. }
        ));
    }

    /// All sequences of three observations over a small alphabet: after the time limit none keeps
    /// waiting, and only a completed deployment of our revision is probed.
    #[test]
    fn no_sequence_waits_forever_or_probes_another_revision() {
        let alphabet: Vec<ServiceState> = ["demo-axon:1", "demo-axon:2", "demo-axon:9"]
            .into_iter()
            .flat_map(|revision| {
                [InProgress, Completed, Failed]
                    .into_iter()
                    .flat_map(move |state| [0, 1, 2].map(|running| (revision, state, running)))
            })
            .map(|(revision, state, running)| {
                service(vec![deployment(revision, state, running, 2)])
            })
            .collect();
        for first in &alphabet {
            for second in &alphabet {
                for third in &alphabet {
                    let mut rollout = rollout();
                    for state in [first, second, third] {
                        if rollout.observe(state, None, false) == RolloutDecision::Probe {
                            let primary = state.primary().unwrap();
                            assert_eq!(primary.revision.as_str(), "demo-axon:2");
                            assert!(state.settled());
                        }
                    }
                    let last = rollout.observe(third, None, true);
                    assert!(
                        !matches!(
                            last,
                            RolloutDecision::Wait | RolloutDecision::RollingBack { .. }
                        ),
                        "{last:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_proof_needs_consecutive_responses_of_our_revision() {
        let ours = HealthAnswer {
            status: 200,
            revision: Some(revision("demo-axon:2")),
        };
        let old = HealthAnswer {
            status: 200,
            revision: Some(revision("demo-axon:1")),
        };
        let ours_revision = revision("demo-axon:2");
        let mut proof = Proof::new(2);
        assert!(!proof.observe(Some(&ours), &ours_revision));
        assert!(!proof.observe(Some(&old), &ours_revision));
        assert!(!proof.observe(Some(&ours), &ours_revision));
        assert!(!proof.observe(None, &ours_revision));
        assert!(!proof.observe(Some(&ours), &ours_revision));
        assert!(proof.observe(Some(&ours), &ours_revision));
    }
}
