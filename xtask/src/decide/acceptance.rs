//! The acceptance criteria, with the wording and the order of the original requirements, and the
//! result of each: passed, failed or skipped, with the observations that it rests on.

pub mod figures;
pub mod isolated;
pub mod released;
pub mod responses;

use serde::Serialize;

use crate::catalog::{Function, Service};

/// What the original requirements are about.
pub const AXON: Service = Service::of("axon");
pub const ORBIT: Service = Service::of("orbit");
pub const GOVERNANCE: Function = Function::of("governance");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    AxonHealth,
    AxonReason,
    OrbitHealth,
    GovernanceFirst,
    DenialBlocks,
    CorrelationIds,
    JsonLogs,
    Images,
    UnitTests,
    IntegrationTests,
    OnEcs,
    HealthChecks,
}

use Criterion::{
    AxonHealth, AxonReason, CorrelationIds, DenialBlocks, GovernanceFirst, HealthChecks, Images,
    IntegrationTests, JsonLogs, OnEcs, OrbitHealth, UnitTests,
};

/// Every criterion, in the order of the requirements.
pub const ALL: [Criterion; 12] = [
    AxonHealth,
    AxonReason,
    OrbitHealth,
    GovernanceFirst,
    DenialBlocks,
    CorrelationIds,
    JsonLogs,
    Images,
    UnitTests,
    IntegrationTests,
    OnEcs,
    HealthChecks,
];

/// The first six: what is seen by calling axon and orbit.
pub const DISPATCHES: &[Criterion] = ALL.split_at(6).0;

impl Criterion {
    /// From 1 to 12.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// The wording of the requirements.
    pub fn name(self) -> &'static str {
        match self {
            AxonHealth => "Axon service responds to /health with healthy status",
            AxonReason => "Axon service responds to /reason with heartbeat message",
            OrbitHealth => "Orbit service responds to /health with healthy status",
            GovernanceFirst => "Orbit service calls governance before dispatching",
            DenialBlocks => "Governance denial blocks Axon calls",
            CorrelationIds => "Correlation IDs propagated across services",
            JsonLogs => "Structured JSON logs generated",
            Images => "Docker images build successfully (< 50MB)",
            UnitTests => "Unit tests pass (>80% coverage)",
            IntegrationTests => "Integration tests pass",
            OnEcs => "Services deploy to ECS successfully",
            HealthChecks => "Health checks pass in ECS",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Pass,
    Fail,
    /// The run cannot observe it.
    Skip,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Skip => "SKIP",
        }
    }
}

/// One observation: `Ok` supports the criterion, `Err` contradicts it.
pub type Observation = Result<String, String>;

/// All observations for one criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    right: Vec<String>,
    wrong: Vec<String>,
    unknown: Vec<String>,
}

impl Observations {
    pub fn of(observations: impl IntoIterator<Item = Observation>) -> Self {
        let mut all = Self::default();
        for observation in observations {
            match observation {
                Ok(right) => all.right.push(right),
                Err(wrong) => all.wrong.push(wrong),
            }
        }
        all
    }

    /// Adds a reason why the criterion cannot be observed completely.
    #[must_use]
    pub fn unknown(mut self, why: impl Into<String>) -> Self {
        self.unknown.push(why.into());
        self
    }

    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.right.extend(other.right);
        self.wrong.extend(other.wrong);
        self.unknown.extend(other.unknown);
        self
    }

    /// Any contradiction fails; anything unknown skips. No observation at all is a failure, since a
    /// check must not pass because nothing was checked.
    pub fn judge(self, criterion: Criterion, remedy: &str) -> Check {
        let Self {
            right,
            mut wrong,
            unknown,
        } = self;
        if right.is_empty() && wrong.is_empty() && unknown.is_empty() {
            wrong.push("nothing was observed".to_owned());
        }
        let (status, seen) = if !wrong.is_empty() {
            (Status::Fail, wrong)
        } else if unknown.is_empty() {
            (Status::Pass, right)
        } else {
            (Status::Skip, unknown.into_iter().chain(right).collect())
        };
        Check {
            number: criterion.number(),
            name: criterion.name(),
            status,
            seen,
            remedy: (status == Status::Fail).then(|| remedy.to_owned()),
        }
    }
}

/// The result of one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub number: usize,
    pub name: &'static str,
    pub status: Status,
    /// The contradictions if there are any, else all observations.
    pub seen: Vec<String>,
    /// How to fix a failure: commands to copy.
    pub remedy: Option<String>,
}

impl Check {
    /// A criterion that this run does not check.
    pub fn skip(criterion: Criterion, why: &str) -> Self {
        Observations::default().unknown(why).judge(criterion, "")
    }

    /// A criterion whose check failed to run.
    pub fn fail(criterion: Criterion, wrong: &str, remedy: &str) -> Self {
        Observations::of([Err(wrong.to_owned())]).judge(criterion, remedy)
    }
}

/// The names of the criteria that failed.
pub fn failed(checks: &[Check]) -> Vec<&'static str> {
    let failed = checks.iter().filter(|check| check.status == Status::Fail);
    failed.map(|check| check.name).collect()
}

/// A row for each criterion followed by its observations, and at the end the remedies of all
/// failures.
pub fn table(checks: &[Check]) -> String {
    let mut lines = Vec::new();
    for check in checks {
        let Check { number, name, .. } = check;
        lines.push(format!("{number:>2}  {}  {name}", check.status.word()));
        let seen = check.seen.iter().flat_map(|seen| seen.lines());
        lines.extend(seen.map(|line| format!("          {line}")));
    }
    lines.push(String::new());
    lines.push(counts(checks));
    for check in checks {
        for (index, line) in check.remedy.iter().flat_map(|it| it.lines()).enumerate() {
            if index == 0 {
                lines.push(format!("to fix {} ({}):", check.number, check.name));
            }
            lines.push(format!("  {line}"));
        }
    }
    lines.join("\n")
}

fn counts(checks: &[Check]) -> String {
    let count = |status| checks.iter().filter(|it| it.status == status).count();
    format!(
        "{} passed, {} failed, {} skipped",
        count(Status::Pass),
        count(Status::Fail),
        count(Status::Skip)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the counterpart of `wrong`")]
    fn right(text: &str) -> Observation {
        Ok(text.to_owned())
    }

    fn wrong(text: &str) -> Observation {
        Err(text.to_owned())
    }

    #[test]
    fn criteria_are_numbered_in_order() {
        for (index, criterion) in ALL.into_iter().enumerate() {
            assert_eq!(criterion.number(), index + 1);
        }
        assert_eq!(
            UnitTests.name(),
            "Unit tests pass (>80% coverage)",
            "the wording of the requirements"
        );
    }

    #[test]
    fn one_contradiction_fails_the_criterion_and_is_all_that_is_shown() {
        let check = Observations::of([right("axon 200"), wrong("orbit 503")])
            .unknown("ECS says UNKNOWN")
            .judge(HealthChecks, "cargo xtask logs orbit");
        assert_eq!(check.status, Status::Fail);
        assert_eq!(check.seen, ["orbit 503"]);
        assert_eq!(check.remedy.as_deref(), Some("cargo xtask logs orbit"));
    }

    #[test]
    fn an_unknown_skips_the_criterion_and_is_shown_first() {
        let check = Observations::of([right("axon 200")])
            .unknown("ECS says UNKNOWN")
            .judge(HealthChecks, "fix it");
        assert_eq!(check.status, Status::Skip);
        assert_eq!(check.seen, ["ECS says UNKNOWN", "axon 200"]);
        assert_eq!(check.remedy, None);
    }

    #[test]
    fn no_observation_is_a_failure() {
        let check = Observations::default().judge(Images, "build them");
        assert_eq!(check.status, Status::Fail);
    }

    #[test]
    fn a_table_has_a_row_for_each_criterion_and_the_remedies_at_its_end() {
        let checks = [
            Observations::of([right("200 healthy")]).judge(AxonHealth, "unused"),
            Observations::of([wrong("2 tests failed")]).judge(UnitTests, "cargo test"),
            Check::skip(Images, "left out"),
        ];
        assert_eq!(failed(&checks), [UnitTests.name()]);
        assert_eq!(
            table(&checks),
            " 1  PASS  Axon service responds to /health with healthy status\n\
             \x20         200 healthy\n\
             \x209  FAIL  Unit tests pass (>80% coverage)\n\
             \x20         2 tests failed\n\
             \x208  SKIP  Docker images build successfully (< 50MB)\n\
             \x20         left out\n\
             \n\
             1 passed, 1 failed, 1 skipped\n\
             to fix 9 (Unit tests pass (>80% coverage)):\n\
             \x20 cargo test"
        );
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let check = Observations::of([right("200")]).judge(AxonHealth, "");
        assert_eq!(
            serde_json::to_value(&check).unwrap(),
            serde_json::json!({
                "number": 1,
                "name": "Axon service responds to /health with healthy status",
                "status": "PASS",
                "seen": ["200"],
                "remedy": null,
            })
        );
    }
}
