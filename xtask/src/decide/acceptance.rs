//! The acceptance criteria of the document that this project grew out of, in its words and its
//! order, and what is said of each: passed, failed or not to be known, with what was seen.

pub mod alone;
pub mod answers;
pub mod figures;
pub mod released;

use serde::Serialize;

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

/// Every criterion, in the document's order.
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

impl Criterion {
    /// From 1 to 12.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// The document's words.
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
    /// It can't be known in this way, or in this place.
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

/// One component that was looked at: what is right about it, or what is wrong.
pub type Sight = Result<String, String>;

/// All that was looked at for one criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sights {
    right: Vec<String>,
    wrong: Vec<String>,
    unknown: Vec<String>,
}

impl Sights {
    pub fn of(sights: impl IntoIterator<Item = Sight>) -> Self {
        let mut all = Self::default();
        for sight in sights {
            match sight {
                Ok(right) => all.right.push(right),
                Err(wrong) => all.wrong.push(wrong),
            }
        }
        all
    }

    /// Adds what can't be known, and why.
    #[must_use]
    pub fn unknown(mut self, why: impl Into<String>) -> Self {
        self.unknown.push(why.into());
        self
    }

    /// Anything wrong fails; what is not known does not pass. Seeing nothing is a failure: no
    /// check may pass because there was nothing to look at.
    pub fn judge(self, criterion: Criterion, remedy: &str) -> Check {
        let Self {
            right,
            mut wrong,
            unknown,
        } = self;
        if right.is_empty() && wrong.is_empty() && unknown.is_empty() {
            wrong.push("nothing was seen".to_owned());
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

/// What is said of one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub number: usize,
    pub name: &'static str,
    pub status: Status,
    /// What is wrong, where anything is; else all that was looked at.
    pub seen: Vec<String>,
    /// What to do about a failure: commands, ready to be copied.
    pub remedy: Option<String>,
}

impl Check {
    /// A criterion that this run does not look at.
    pub fn skip(criterion: Criterion, why: &str) -> Self {
        Sights::default().unknown(why).judge(criterion, "")
    }

    /// A criterion that could not be looked at, which is no reason to believe in it.
    pub fn fail(criterion: Criterion, wrong: &str, remedy: &str) -> Self {
        Sights::of([Err(wrong.to_owned())]).judge(criterion, remedy)
    }
}

/// The names of the criteria that failed.
pub fn failed(checks: &[Check]) -> Vec<&'static str> {
    let failed = checks.iter().filter(|check| check.status == Status::Fail);
    failed.map(|check| check.name).collect()
}

/// A row for each criterion with what was seen below it, and the remedies of all failures at the
/// end, where they are read.
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
                lines.push(format!("to mend {} ({}):", check.number, check.name));
            }
            lines.push(format!("  {line}"));
        }
    }
    lines.join("\n")
}

fn counts(checks: &[Check]) -> String {
    let count = |status| checks.iter().filter(|it| it.status == status).count();
    format!(
        "{} passed, {} failed, {} not to be known",
        count(Status::Pass),
        count(Status::Fail),
        count(Status::Skip)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the counterpart of `wrong`")]
    fn right(text: &str) -> Sight {
        Ok(text.to_owned())
    }

    fn wrong(text: &str) -> Sight {
        Err(text.to_owned())
    }

    #[test]
    fn the_criteria_are_numbered_as_the_document_lists_them() {
        for (index, criterion) in ALL.into_iter().enumerate() {
            assert_eq!(criterion.number(), index + 1);
        }
        assert_eq!(
            UnitTests.name(),
            "Unit tests pass (>80% coverage)",
            "its words"
        );
    }

    #[test]
    fn one_wrong_component_fails_the_criterion_and_is_all_that_is_told() {
        let check = Sights::of([right("axon 200"), wrong("orbit 503")])
            .unknown("ECS says UNKNOWN")
            .judge(HealthChecks, "cargo xtask logs orbit");
        assert_eq!(check.status, Status::Fail);
        assert_eq!(check.seen, ["orbit 503"]);
        assert_eq!(check.remedy.as_deref(), Some("cargo xtask logs orbit"));
    }

    #[test]
    fn what_is_not_known_does_not_pass_and_is_told_first() {
        let check = Sights::of([right("axon 200")])
            .unknown("ECS says UNKNOWN")
            .judge(HealthChecks, "mend it");
        assert_eq!(check.status, Status::Skip);
        assert_eq!(check.seen, ["ECS says UNKNOWN", "axon 200"]);
        assert_eq!(check.remedy, None);
    }

    #[test]
    fn seeing_nothing_is_a_failure() {
        let check = Sights::default().judge(Images, "build them");
        assert_eq!(check.status, Status::Fail);
    }

    #[test]
    fn a_table_has_a_row_for_each_criterion_and_the_remedies_at_its_end() {
        let checks = [
            Sights::of([right("200 healthy")]).judge(AxonHealth, "unused"),
            Sights::of([wrong("2 tests failed")]).judge(UnitTests, "cargo test"),
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
             1 passed, 1 failed, 1 not to be known\n\
             to mend 9 (Unit tests pass (>80% coverage)):\n\
             \x20 cargo test"
        );
    }

    #[test]
    fn json_has_the_words_of_the_contract() {
        let check = Sights::of([right("200")]).judge(AxonHealth, "");
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
