//! What test runs and acceptance checks say, as values.

use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Sums the closing lines of cargo's test runner: `test result: ok. 3 passed; 0 failed; ...`.
pub fn count_tests(output: &str) -> Counts {
    let number = |line: &str, word: &str| -> u64 {
        line.split(word)
            .next()
            .and_then(|before| before.split_whitespace().next_back())
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let mut counts = Counts::default();
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result:"))
    {
        counts += Counts {
            passed: number(line, " passed"),
            failed: number(line, " failed"),
        };
    }
    counts
}

/// The figure of the last `test --coverage`, and what it was measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    pub lines_percent: f64,
    /// Of the sources of `services/` then: the figure says nothing about others.
    pub sources_sha256: String,
}

impl Coverage {
    /// Where the figure is kept.
    pub fn file(state_folder: &Path) -> PathBuf {
        state_folder.join("coverage.json")
    }
}

/// The share of lines covered, of the JSON that `llvm-cov export` writes.
pub fn coverage_of(export: &str) -> Option<f64> {
    let export: Value = serde_json::from_str(export).ok()?;
    export.pointer("/data/0/totals/lines/percent")?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_all_test_binaries_are_summed() {
        let output = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s
";
        assert_eq!(
            count_tests(output),
            Counts {
                passed: 13,
                failed: 2
            }
        );
        assert_eq!(count_tests("no tests here"), Counts::default());
    }

    #[test]
    fn the_figure_is_read_from_the_export() {
        let export = r#"{"data":[{"totals":{"lines":{"count":10,"covered":9,"percent":90.0}}}]}"#;
        assert_eq!(coverage_of(export), Some(90.0));
        assert_eq!(coverage_of("{}"), None);
    }
}
