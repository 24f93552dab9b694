//! Workflow commands of GitHub Actions: lines by which a step's output annotates files, folds
//! what belongs together, and could do more than that if it were not kept from it.

use super::event::{Shown, Tone};
use super::text::visible;
use super::{Annotation, layout};

/// An event that is over, as a workflow's log shows it.
pub(super) fn shown(shown: &Shown) -> String {
    let Shown {
        tone,
        subject,
        text,
    } = shown;
    let plain = match tone {
        Tone::Warning => return command("warning", &[("title", subject)], text),
        Tone::Block | Tone::Failed | Tone::Output => match text.trim_end().split_once('\n') {
            Some((title, rest)) => return group(title, &visible(rest)),
            None => text.clone(),
        },
        Tone::Done | Tone::Live => layout(subject, text),
        Tone::Diagnostic => text.clone(),
    };
    inert(&visible(&plain))
}

/// One command. The message may have several lines.
pub(super) fn command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> = properties
        .iter()
        .map(|(property, value)| format!("{property}={}", escaped_property(value)))
        .collect();
    let separator = if properties.is_empty() { "" } else { " " };
    format!(
        "::{name}{separator}{}::{}",
        properties.join(","),
        escaped(message)
    )
}

pub(super) fn annotation(annotation: Annotation<'_>) -> String {
    let line = annotation.line.map(|line| line.to_string());
    let mut properties = vec![("file", annotation.file)];
    properties.extend(line.iter().map(|line| ("line", line.as_str())));
    command(annotation.level, &properties, annotation.text)
}

/// Lines that the log shows folded under their title.
pub(super) fn group(title: &str, text: &str) -> String {
    let opening = command("group", &[], title);
    format!("{opening}\n{}\n::endgroup::", inert(text))
}

/// A section of a job's page, in Markdown. The fence is longer than any in the text.
pub(super) fn section(title: &str, text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    format!(
        "### {title}\n\n{fence}text\n{}\n{fence}\n\n",
        text.trim_end()
    )
}

/// Text of others (a task's log, a compiler's error) must not be taken for commands. The runner
/// reads `::` at the beginning of a line and `##[` anywhere in it.
pub(super) fn inert(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = line.replace("##[", "## [");
        if line.trim_start().starts_with("::") {
            line.replacen("::", ": :", 1)
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// By the runner's own rules: what ends a line, and the sign that begins an escape. What stands
/// in the text and acts on a terminal is shown.
fn escaped(text: &str) -> String {
    visible(text).replace('%', "%25").replace('\n', "%0A")
}

/// In a property also what ends one.
fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::report::testing::{Captured, captured};
    use crate::report::{BuildEvent, CommandEvent, Format, Report};

    fn output(report: &Report, text: &str) {
        report.emit(BuildEvent::ToolFailed {
            subject: "build".to_owned(),
            tool: "cargo".to_owned(),
            output: text.to_owned(),
        });
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(
            command("error", &[("title", "a:b,c%")], "100 %\r\nand: more, here"),
            "::error title=a%3Ab%2Cc%25::100 %25%0Aand: more, here"
        );
        assert_eq!(command("endgroup", &[], ""), "::endgroup::");
    }

    #[test]
    fn a_failure_and_its_hint_are_one_annotation_and_stand_on_the_jobs_page() {
        let (report, data, talk) = captured(Format::Github);
        let page = Captured::default();
        report.summarise_to(Box::new(page.clone()));
        report.emit(CommandEvent::ErrorIgnored {
            subject: "orbit".to_owned(),
            error: "slow".to_owned(),
        });
        report.failure(&Failure::refused("held").hint("wait").into());
        assert_eq!(
            talk.text(),
            "::warning title=orbit::slow\n::error::held%0A  hint: wait\n"
        );
        assert_eq!(data.text(), "");
        assert_eq!(
            page.text(),
            "### Failed\n\n```text\nheld\n  hint: wait\n```\n\n"
        );
    }

    #[test]
    fn what_belongs_together_is_folded_under_its_first_line() {
        let (report, _, talk) = captured(Format::Github);
        output(&report, "release 2 failed\n  why         it crashed\n");
        output(&report, "one line");
        assert_eq!(
            talk.text(),
            "::group::release 2 failed\n  why         it crashed\n::endgroup::\none line\n"
        );
    }

    #[test]
    fn a_place_is_named_by_file_and_line_where_it_is_known() {
        let (report, _, talk) = captured(Format::Github);
        let mut place = Annotation {
            level: "error",
            file: "task-definitions/axon.json",
            line: Some(8),
            text: "no",
        };
        report.annotate(place);
        place.line = None;
        report.annotate(place);
        assert_eq!(
            talk.text(),
            "::error file=task-definitions/axon.json,line=8::no\n\
             ::error file=task-definitions/axon.json::no\n"
        );
        let (report, _, talk) = captured(Format::Human);
        report.annotate(place);
        assert_eq!(talk.text(), "");
    }

    #[test]
    fn text_of_others_gives_no_commands() {
        let (report, data, talk) = captured(Format::Github);
        output(&report, "title\n ::stop-commands::x\nlog ##[add-mask]y");
        report.data(&(), "::set-output name=a::b");
        assert_eq!(
            talk.text(),
            "::group::title\n : :stop-commands::x\nlog ## [add-mask]y\n::endgroup::\n"
        );
        assert_eq!(data.text(), ": :set-output name=a::b\n");
    }

    #[test]
    fn a_fence_is_longer_than_those_in_its_text() {
        assert_eq!(
            section("Plan", "a ``` b"),
            "### Plan\n\n````text\na ``` b\n````\n\n"
        );
    }
}
