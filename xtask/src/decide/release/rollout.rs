//! One service, from "updated" to an outcome: what was seen goes in, what follows comes out.
//!
//! It goes by revisions, rollout states and counts alone. Deployment ids, events and the length
//! of the list say less than they seem to: a rollback may re-use an old deployment.

use serde::{Deserialize, Serialize};

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

/// Where a service is to go, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    pub revision: Revision,
    /// What ran before; ECS goes back there by itself when its circuit breaker trips. More than
    /// one only where an earlier rollout was still under way.
    pub previous: Vec<Revision>,
    /// How many tasks must run. `None` where autoscaling may change it on the way.
    pub desired: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Snapshot again later.
    Wait,
    /// All tasks of the goal's revision run: ask them.
    Probe,
    /// ECS goes back to what ran before by itself.
    RollingBack { reason: String },
    /// ECS went back and all of its tasks run.
    RolledBack { reason: String },
    /// It will not get there, and ECS does nothing about it.
    Failed { reason: String },
    /// Another revision is the primary one now.
    Superseded { by: String },
}

/// Follows one service to its goal.
#[derive(Debug, Clone)]
pub struct Rollout {
    goal: Goal,
    /// A look may be older than our update: what ran before as the primary one means "gone back" only
    /// after our revision has been seen.
    seen: bool,
    reason: String,
}

impl Rollout {
    pub fn new(goal: Goal) -> Self {
        Self {
            goal,
            seen: false,
            reason: "its deployment failed".to_owned(),
        }
    }

    /// What follows from this look. `late`: the time for the rollout is over.
    pub fn observe(&mut self, state: &ServiceState, late: bool) -> Decision {
        let Some(primary) = state.primary().filter(|_| state.active) else {
            return Decision::Superseded {
                by: "nothing: the service is gone".to_owned(),
            };
        };
        if let Some(failed) = state.failed(&self.goal.revision) {
            self.seen = true;
            if !failed.reason.is_empty() {
                self.reason.clone_from(&failed.reason);
            }
        }
        if primary.revision == self.goal.revision {
            self.seen = true;
            return self.ours(state, primary, late);
        }
        if !self.goal.previous.contains(&primary.revision) {
            return Decision::Superseded {
                by: primary.revision.to_string(),
            };
        }
        match (self.seen, state.settled()) {
            (false, _) if late => Decision::Failed {
                reason: "the update never showed".to_owned(),
            },
            (false, _) => Decision::Wait,
            (true, true) => Decision::RolledBack {
                reason: self.reason.clone(),
            },
            (true, false) if late => Decision::Failed {
                reason: self.reason.clone(),
            },
            (true, false) => Decision::RollingBack {
                reason: self.reason.clone(),
            },
        }
    }

    fn ours(&self, state: &ServiceState, primary: &Deployment, late: bool) -> Decision {
        let enough = self
            .goal
            .desired
            .is_none_or(|desired| state.desired == desired);
        if state.settled() && enough {
            return Decision::Probe;
        }
        match primary.state {
            RolloutState::Failed => Decision::Failed {
                reason: primary.reason.clone(),
            },
            _ if late => Decision::Failed {
                reason: format!(
                    "only {} of {} tasks run and the time is over",
                    primary.running, primary.desired
                ),
            },
            _ => Decision::Wait,
        }
    }
}

/// Whether the answers of a probe prove that a revision serves: so many right ones in a row.
#[derive(Debug, Clone)]
pub struct Proof {
    needed: u32,
    in_a_row: u32,
}

/// One answer of `/health` through the load balancer.
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

    /// `true` once it is proven. An answer of another revision, or none, starts the count anew: a
    /// draining task still answers.
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
        Rollout::new(Goal {
            revision: revision("demo-axon:2"),
            previous: vec![revision("demo-axon:1")],
            desired: Some(2),
        })
    }

    #[test]
    fn a_good_rollout_waits_for_every_task_and_then_asks_them() {
        let mut rollout = rollout();
        let old = deployment("demo-axon:1", Completed, 2, 2);
        let stale = service(vec![old.clone()]);
        assert_eq!(rollout.observe(&stale, false), Decision::Wait);
        let half = service(vec![
            deployment("demo-axon:2", InProgress, 1, 2),
            old.clone(),
        ]);
        assert_eq!(rollout.observe(&half, false), Decision::Wait);
        let draining = service(vec![deployment("demo-axon:2", Completed, 2, 2), old]);
        assert_eq!(rollout.observe(&draining, false), Decision::Wait);
        let whole = service(vec![deployment("demo-axon:2", Completed, 2, 2)]);
        assert_eq!(rollout.observe(&whole, false), Decision::Probe);
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
            rollout.observe(&going, false),
            Decision::RollingBack { reason }
        );
        let gone = service(vec![deployment("demo-axon:1", Completed, 2, 2), ours]);
        let reason = "tasks failed to start".to_owned();
        assert_eq!(
            rollout.observe(&gone, false),
            Decision::RolledBack { reason }
        );
    }

    #[test]
    fn another_deployment_is_not_taken_for_ours() {
        let other = service(vec![deployment("demo-axon:9", InProgress, 0, 2)]);
        let by = "demo-axon:9".to_owned();
        assert_eq!(
            rollout().observe(&other, false),
            Decision::Superseded { by }
        );
    }

    #[test]
    fn every_wait_has_an_end() {
        let half = service(vec![deployment("demo-axon:2", InProgress, 1, 2)]);
        assert!(matches!(
            rollout().observe(&half, true),
            Decision::Failed { .. }
        ));
        let stale = service(vec![deployment("demo-axon:1", Completed, 2, 2)]);
        assert!(matches!(
            rollout().observe(&stale, true),
            Decision::Failed { .. }
        ));
    }

    /// Every sequence of looks, up to a length, over a small alphabet: after the time is over no
    /// sequence goes on waiting, and only a completed deployment of ours is ever asked to prove
    /// itself.
    #[test]
    fn no_sequence_of_looks_waits_for_ever_or_mistakes_another_for_ours() {
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
                        if rollout.observe(state, false) == Decision::Probe {
                            let primary = state.primary().unwrap();
                            assert_eq!(primary.revision.as_str(), "demo-axon:2");
                            assert!(state.settled());
                        }
                    }
                    let last = rollout.observe(third, true);
                    assert!(
                        !matches!(last, Decision::Wait | Decision::RollingBack { .. }),
                        "{last:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_proof_needs_right_answers_in_a_row_of_our_revision() {
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
