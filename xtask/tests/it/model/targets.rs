//! Targets of the load balancer and their health checks. One passed check makes a new target
//! healthy; several failed ones in a row make it unhealthy ("Health checks for Application Load
//! Balancer target groups").

use super::{Millis, NEVER};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
}

#[derive(Debug, Clone)]
pub(super) struct ModelTarget {
    pub(super) state: TargetState,
    pub(super) check_at: Millis,
    checked: bool,
    in_a_row: u32,
}

/// How a target group checks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    /// The first check comes after this, and within an interval.
    pub(super) first_after: Millis,
    pub(super) interval: Millis,
    pub(super) unhealthy_after: u32,
    pub(super) healthy_after: u32,
}

impl ModelTarget {
    pub(super) fn registered(first_check: Millis) -> Self {
        Self {
            state: TargetState::Initial,
            check_at: first_check,
            checked: false,
            in_a_row: 0,
        }
    }

    pub(super) fn check(&mut self, passes: bool, now: Millis, checks: Checks) {
        self.check_at = now + checks.interval;
        self.checked = true;
        let is_as_before = match self.state {
            TargetState::Healthy => passes,
            TargetState::Unhealthy => !passes,
            TargetState::Initial => false,
            TargetState::Draining => return,
        };
        self.in_a_row = if is_as_before { 0 } else { self.in_a_row + 1 };
        let (next, after) = match (self.state, passes) {
            (TargetState::Initial, true) => (TargetState::Healthy, 1),
            (_, true) => (TargetState::Healthy, checks.healthy_after),
            (_, false) => (TargetState::Unhealthy, checks.unhealthy_after),
        };
        if self.state == TargetState::Initial && passes || self.in_a_row >= after {
            self.state = next;
            self.in_a_row = 0;
        }
    }

    /// Checks before this find what is known.
    pub(super) fn skip_to(&mut self, change: Millis, checks: Checks) {
        if self.state == TargetState::Healthy && self.in_a_row == 0 && change > self.check_at {
            let skipped = (change - self.check_at).div_ceil(checks.interval);
            let by = skipped.saturating_mul(checks.interval);
            self.check_at = self.check_at.saturating_add(by);
        }
    }

    pub(super) fn drain(&mut self) {
        self.state = TargetState::Draining;
        self.check_at = NEVER;
    }

    /// State and reason as the load balancer answers them.
    pub(super) fn words(&self) -> (&'static str, Option<&'static str>) {
        match self.state {
            TargetState::Initial if self.checked => ("initial", Some("Elb.InitialHealthChecking")),
            TargetState::Initial => ("initial", Some("Elb.RegistrationInProgress")),
            TargetState::Healthy => ("healthy", None),
            TargetState::Unhealthy => ("unhealthy", Some("Target.FailedHealthChecks")),
            TargetState::Draining => ("draining", Some("Target.DeregistrationInProgress")),
        }
    }
}
