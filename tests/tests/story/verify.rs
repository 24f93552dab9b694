//! The acceptance checks: all pass on what was deployed, and each fails for its reason. Those of what
//! is deployed fail in the chapter `stop`.

use e2e::Ran;
use serde_json::Value;

use crate::Story;

/// Without LLVM's tools no coverage is measured, and that criterion is skipped.
pub(crate) fn verify(story: &Story) {
    let checkout = story.deployed();
    let before = checkout.changed_files();
    let ran = checkout
        .xtask(&["verify", "--format", "json"])
        .expect(0, &[]);
    assert_eq!(checkout.changed_files(), before);
    let coverage = &checks(&ran)[8];
    let is_unknown = coverage["status"] == "SKIP";
    assert!(
        !is_unknown || coverage["seen"].to_string().contains("llvm-cov"),
        "{coverage:#}"
    );
    let coverage = if is_unknown { "SKIP" } else { "PASS" };
    let expected = format!("PASS PASS PASS PASS PASS PASS PASS PASS {coverage} PASS PASS PASS");
    assert_eq!(statuses(&ran), expected, "{}", ran.stdout);

    let verify = ["verify", "--deployed", "--format", "json"];
    let ran = checkout.xtask(&verify).expect(0, &[]);
    let expected = "PASS PASS PASS SKIP PASS PASS PASS SKIP SKIP SKIP PASS PASS";
    assert_eq!(statuses(&ran), expected, "{}", ran.stdout);

    // Without definitions no image can be run, and a test that does not compile fails.
    checkout.set_in_template("axon", "UNKNOWN", "${UNKNOWN}");
    checkout.write("services/axon/tests/broken.rs", "not a program");
    let ran = checkout
        .xtask(&["verify", "--format", "json"])
        .expect(30, &[]);
    // The tests that do not compile cover nothing, so that the coverage of criterion 9 fails too.
    let coverage = if is_unknown { "SKIP" } else { "FAIL" };
    let expected = format!("FAIL FAIL FAIL FAIL FAIL FAIL FAIL FAIL {coverage} FAIL PASS PASS");
    assert_eq!(statuses(&ran), expected, "{}", ran.stdout);
    checkout.undo_edits();
}

/// The status of each criterion, in their order.
pub(crate) fn statuses(ran: &Ran) -> String {
    let checks = checks(ran);
    let statuses: Vec<_> = checks
        .iter()
        .map(|check| check["status"].as_str().unwrap_or_default())
        .collect();
    statuses.join(" ")
}

fn checks(ran: &Ran) -> Vec<Value> {
    serde_json::from_str(&ran.stdout).expect("a list of checks and nothing else")
}
