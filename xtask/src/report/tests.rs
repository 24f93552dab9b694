//! What people, programs and workflows read.

use super::testing::{Captured, captured};
use super::*;
use crate::catalog::testing::AXON;
use crate::failure::Failure;

/// What another program says on its way.
fn at(report: &Report, subject: &str, line: &str) {
    report.emit(BuildEvent::ToolOutput {
        subject: subject.to_owned(),
        tool: "cargo".to_owned(),
        line: line.to_owned(),
    });
}

fn warn(report: &Report, subject: &str, error: &str) {
    report.emit(CommandEvent::ErrorIgnored {
        subject: subject.to_owned(),
        error: error.to_owned(),
    });
}

fn failed(report: &Report, text: &str) {
    report.emit(BuildEvent::ToolFailed {
        subject: "build".to_owned(),
        tool: "cargo".to_owned(),
        output: text.to_owned(),
    });
}

#[tokio::test(start_paused = true)]
async fn live_lines_are_printed_now_and_then_where_nothing_is_redrawn() {
    let (report, data, talk) = captured(Format::Human);
    at(&report, "axon", "0/2 running");
    at(&report, "orbit", "0/2 running");
    at(&report, "axon", "1/2 running");
    tokio::time::advance(LIVE_INTERVAL).await;
    at(&report, "axon", "2/2 running");
    report.emit(RollbackEvent::AlarmsOn {
        component: AXON.into(),
    });
    assert_eq!(
        talk.text(),
        "axon        0/2 running\norbit       0/2 running\naxon        2/2 running\naxon        its alarms are on again\n"
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
fn json_puts_every_event_on_a_line_of_stderr() {
    let (report, data, talk) = captured(Format::Json);
    report.emit(RollbackEvent::AlarmsOn {
        component: AXON.into(),
    });
    report.failure(&Failure::refused("held").into());
    assert_eq!(
        talk.text(),
        "{\"event\":\"alarms_on\",\"component\":\"axon\"}\n\
         {\"event\":\"failure\",\"exit_code\":11,\"error\":\"held\",\"hint\":null}\n"
    );
    assert_eq!(data.text(), "");
}

#[test]
fn quiet_json_has_warnings_and_the_failure_alone() {
    let (data, talk) = (Captured::default(), Captured::default());
    let mode = OutputMode {
        format: Format::Json,
        quiet: true,
        terminal: false,
    };
    let report = Report::new(mode, Box::new(data.clone()), Box::new(talk.clone()));
    report.emit(RollbackEvent::AlarmsOn {
        component: AXON.into(),
    });
    failed(&report, "error[E0425]");
    report.emit(BuildEvent::BuildUpToDate);
    warn(&report, "orbit", "slow");
    let code = report.end(Err(Failure::refused("held").into()));
    assert_eq!(code, 11);
    assert_eq!(data.text(), "");
    let events: Vec<serde_json::Value> = talk
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|it| it["event"].as_str())
        .collect();
    assert_eq!(names, ["error_ignored", "failure"]);
}

/// Text as others may have written it: a log, a reason, a name.
const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\u{7f}\re";

#[test]
fn whatever_is_told_acts_on_no_terminal() {
    for format in [Format::Human, Format::Github, Format::Json] {
        let (report, data, talk) = captured(format);
        let page = Captured::default();
        report.summarise_to(Box::new(page.clone()));
        report.emit(MachineEvent::Fixing {
            subject: HOSTILE.to_owned(),
            reason: HOSTILE.to_owned(),
        });
        at(&report, HOSTILE, HOSTILE);
        warn(&report, HOSTILE, HOSTILE);
        failed(&report, &format!("{HOSTILE}\n  log  {HOSTILE}\r\n"));
        report.emit(ReleaseEvent::Plan {
            plan: json!({ HOSTILE: HOSTILE }),
            text: HOSTILE.to_owned(),
        });
        report.annotate(Annotation {
            level: "error",
            file: HOSTILE,
            line: None,
            text: HOSTILE,
        });
        report.summary("Plan", HOSTILE);
        report.data(&json!({ HOSTILE: HOSTILE }), HOSTILE);
        report.emit(CommandEvent::Diagnostic {
            text: HOSTILE.to_owned(),
        });
        report.failure(&Failure::refused(HOSTILE).hint(HOSTILE).into());
        for text in [data.text(), talk.text(), page.text()] {
            let acts = |letter: char| letter == '\u{202e}' || letter.is_control() && letter != '\n';
            assert!(!text.contains(acts), "{text:?}");
            assert!(!text.contains("%0D"), "{text:?}");
        }
        assert!(
            data.text().contains("\\u009b31mc\\u202ed\\u007f"),
            "{}",
            data.text()
        );
    }
}

#[test]
fn a_live_line_is_redrawn_and_what_it_says_is_not_obeyed() {
    let talk = Captured::default();
    let mode = OutputMode {
        format: Format::Human,
        quiet: false,
        terminal: true,
    };
    let report = Report::new(mode, Box::new(Captured::default()), Box::new(talk.clone()));
    at(&report, "build", "compiling \u{1b}[31mred");
    report.emit(BuildEvent::Compiled { seconds: 3 });
    assert_eq!(
        talk.text(),
        "build       compiling \\u001b[31mred\n\r\u{1b}[1A\u{1b}[Jbuild       compiled in 3 s\n"
    );
}

/// Where nothing can be written, and why.
struct BrokenStream(io::ErrorKind);

impl Write for BrokenStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_result_that_is_lost_outweighs_success_and_no_failure() {
    let changes = || {
        Failure::new(
            crate::failure::Kind::Changes,
            "a release would change something",
        )
    };
    for (kind, ended, code, text) in [
        (
            io::ErrorKind::StorageFull,
            Ok(()),
            1,
            "error: write the result: no storage space\n",
        ),
        (
            io::ErrorKind::StorageFull,
            Err(changes().into()),
            1,
            "error: write the result: ",
        ),
        (
            io::ErrorKind::StorageFull,
            Err(Failure::refused("held").into()),
            11,
            "error: held\n",
        ),
        (io::ErrorKind::BrokenPipe, Ok(()), 0, ""),
        (io::ErrorKind::BrokenPipe, Err(changes().into()), 13, ""),
    ] {
        let (broken, talk) = (Box::new(BrokenStream(kind)), Captured::default());
        let report = Report::new(
            captured(Format::Human).0.mode(),
            broken,
            Box::new(talk.clone()),
        );
        assert!(report.is_read());
        report.data(&(), "the result");
        assert!(!report.is_read());
        assert_eq!(report.end(ended), code, "{}", talk.text());
        assert!(talk.text().contains(text), "{}", talk.text());
    }
}

#[test]
fn a_page_of_a_workflows_job_that_cannot_be_written_is_a_lost_result() {
    let (report, _, talk) = captured(Format::Github);
    report.summarise_to(Box::new(BrokenStream(io::ErrorKind::StorageFull)));
    report.summary("Plan", "nothing to do");
    assert_eq!(report.end(Ok(())), 1);
    assert!(
        talk.text().contains("::error::write the result: "),
        "{}",
        talk.text()
    );
}
