//! What people, programs and workflows read.

use super::testing::captured;
use super::*;
use crate::failure::Failure;

#[tokio::test(start_paused = true)]
async fn live_lines_are_printed_now_and_then_where_nothing_is_redrawn() {
    let (report, data, talk) = captured(Format::Human);
    report.live("axon", "0/2 running");
    report.live("orbit", "0/2 running");
    report.live("axon", "1/2 running");
    tokio::time::advance(LIVE_INTERVAL).await;
    report.live("axon", "2/2 running");
    report.line("axon", "landed");
    assert_eq!(
        talk.text(),
        "axon        0/2 running\norbit       0/2 running\naxon        2/2 running\naxon        landed\n"
    );
    assert_eq!(data.text(), "");
}

#[test]
fn a_failure_has_its_hint_on_a_line_of_its_own() {
    let (report, _, talk) = captured(Format::Human);
    report.failure(
        &Failure::not_ready("docker does not answer")
            .hint("start it")
            .into(),
    );
    assert_eq!(
        talk.text(),
        "error: docker does not answer\n  hint: start it\n"
    );
}

#[test]
fn json_puts_every_event_on_a_line_of_stdout() {
    let (report, data, talk) = captured(Format::Json);
    report.line("axon", "landed");
    report.failure(&Failure::refused("held").into());
    assert_eq!(
        data.text(),
        "{\"event\":\"line\",\"subject\":\"axon\",\"text\":\"landed\"}\n\
         {\"event\":\"failure\",\"exit_code\":11,\"error\":\"held\",\"hint\":null}\n"
    );
    assert_eq!(talk.text(), "");
}
