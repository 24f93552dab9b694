//! Figures of test runs and artifacts: test counts, coverage and sizes.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Observation;

/// The number of tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TestCounts {
    pub passed: u64,
    pub failed: u64,
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for TestCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Sums the summary lines of `cargo test`: `test result: ok. 3 passed; 0 failed; ...`.
pub fn count_tests(output: &str) -> TestCounts {
    let number = |line: &str, word: &str| -> u64 {
        line.split(word)
            .next()
            .and_then(|before| before.split_whitespace().next_back())
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let mut counts = TestCounts::default();
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result:"))
    {
        counts += TestCounts {
            passed: number(line, " passed"),
            failed: number(line, " failed"),
        };
    }
    counts
}

/// The result of a test run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestRun {
    pub succeeded: bool,
    pub counts: TestCounts,
}

/// Whether a test run passed, which needs at least one test.
pub fn passed(run: TestRun) -> Observation {
    if run.succeeded && run.counts.failed == 0 && run.counts.passed > 0 {
        return Ok(run.counts.to_string());
    }
    let suffix = if run.counts == TestCounts::default() {
        " (no test ran)"
    } else {
        ""
    };
    Err(format!("{}{suffix}", run.counts))
}

/// The coverage has to exceed this.
const COVERAGE_PERCENT_MIN: f64 = 80.0;

/// Whether the coverage is sufficient.
pub fn covered(lines_percent: f64) -> Observation {
    let figure = format!("coverage {lines_percent:.1} % of the lines");
    if lines_percent > COVERAGE_PERCENT_MIN {
        return Ok(figure);
    }
    Err(format!(
        "{figure}, expected more than {COVERAGE_PERCENT_MIN} %"
    ))
}

/// The exclusive limit of both sizes of an image.
const IMAGE_BYTES_MAX: u64 = 50_000_000;

/// Whether an image is small enough, both packed and unpacked.
pub fn small(service: &str, packed_bytes: u64, unpacked_bytes: u64) -> Observation {
    let megabytes =
        |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    let figure = format!(
        "{service}: {} unpacked, {} packed",
        megabytes(unpacked_bytes),
        megabytes(packed_bytes)
    );
    if packed_bytes.max(unpacked_bytes) < IMAGE_BYTES_MAX {
        return Ok(figure);
    }
    Err(format!("{figure}, expected less than 50 MB"))
}

/// The line coverage of the tests, and the sources that it was measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    pub lines_percent: f64,
    /// The hash of the sources of `services/`; the figure is valid for these only.
    pub sources_sha256: String,
}

impl Coverage {
    /// The file of the figure.
    pub fn file(state_folder: &Path) -> PathBuf {
        state_folder.join("coverage.json")
    }
}

/// The percentage of covered lines, from the JSON of `llvm-cov export`.
pub fn coverage_of(export: &str) -> Option<f64> {
    let export: Value = serde_json::from_str(export).ok()?;
    export.pointer("/data/0/totals/lines/percent")?.as_f64()
}

/// The executables in the output of cargo with `--message-format json`.
pub fn programs_of(output: &str) -> BTreeSet<String> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(message.get("executable")?.as_str()?.to_owned())
    };
    let messages = output.lines().filter(|line| line.starts_with('{'));
    messages.filter_map(program).collect()
}

/// The number of inputs that libFuzzer tried, from its last line.
pub fn fuzz_runs_of(output: &str) -> Option<u64> {
    let figure = output.lines().find_map(|line| line.strip_prefix("Done "))?;
    figure.split(' ').next()?.parse().ok()
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
            TestCounts {
                passed: 13,
                failed: 2
            }
        );
        assert_eq!(count_tests("no tests here"), TestCounts::default());
    }

    #[test]
    fn the_figure_is_read_from_the_export() {
        let export = r#"{"data":[{"totals":{"lines":{"count":10,"covered":9,"percent":90.0}}}]}"#;
        assert_eq!(coverage_of(export), Some(90.0));
        assert_eq!(coverage_of("{}"), None);
    }

    #[test]
    fn the_last_line_of_the_fuzzer_has_the_number_of_inputs() {
        let output = "#64 pulse\nDone 123456 runs in 61 second(s)\n";
        assert_eq!(fuzz_runs_of(output), Some(123_456));
        assert_eq!(fuzz_runs_of("error: no such target"), None);
    }

    #[test]
    fn a_run_passes_when_all_tests_pass() {
        let run = |succeeded, passed, failed| {
            let counts = TestCounts { passed, failed };
            super::passed(TestRun { succeeded, counts })
        };
        assert_eq!(run(true, 3, 0), Ok("3 passed, 0 failed".to_owned()));
        assert!(run(false, 3, 1).is_err());
        assert!(run(false, 3, 0).is_err());
        assert!(run(true, 0, 0).is_err());
    }

    #[test]
    fn coverage_has_to_exceed_eighty_percent() {
        assert!(covered(80.1).is_ok());
        assert!(covered(80.0).is_err());
        assert!(covered(f64::NAN).is_err());
    }

    #[test]
    fn programs_are_the_executables_of_cargo() {
        let output = r#"
   Compiling axon v0.1.0
{"reason":"compiler-artifact","target":{"name":"axon"},"executable":"/target/debug/axon"}
{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"build-finished","success":true}
{ this is a line of a test
running 1 test
"#;
        assert_eq!(
            programs_of(output),
            ["/target/debug/axon".to_owned()].into()
        );
    }

    #[test]
    fn both_sizes_have_to_be_below_fifty_megabytes() {
        let figure = small("axon", 1_250_000, 2_600_000).unwrap();
        assert_eq!(figure, "axon: 2.6 MB unpacked, 1.2 MB packed");
        assert!(small("axon", 1, 50_000_000).is_err());
        assert!(small("axon", 50_000_000, 1).is_err());
    }
}
