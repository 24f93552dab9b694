//! The line coverage of `services/`. LLVM counts the lines while the tests run for another reason,
//! so nothing is compiled or run twice for the figure.

use anyhow::Result;
use serde_json::json;

use super::doctor;
use crate::catalog::{Catalog, CatalogEntry, Component};
use crate::decide::acceptance::figures::{Coverage, covered, programs_of};
use crate::decide::machine::readiness::{LLVM_MISSING, llvm_faults};
use crate::failure::{Failure, Kind};
use crate::ports::{Depth, Machine, Source, Toolchain};
use crate::report::{BuildEvent, CommandEvent, Report};

/// The kit and every component, as cargo's arguments.
pub(super) fn packages(catalog: &Catalog) -> Vec<&'static str> {
    let components = catalog.components().into_iter().map(Component::name);
    let names = std::iter::once("service-kit").chain(components);
    names.flat_map(|name| ["--package", name]).collect()
}

/// The sources whose lines count. Integration tests, in folders of their own, do not.
fn folders(catalog: &Catalog) -> Vec<String> {
    let entries = catalog.entries().iter().map(CatalogEntry::common);
    let components = entries.filter(|entry| !entry.retired);
    let folders = components.map(|entry| entry.folder.as_str());
    let folders = std::iter::once("services/kit").chain(folders);
    folders.map(|folder| format!("{folder}/src")).collect()
}

/// The command that installs LLVM's tools.
pub(super) const INSTALL_LLVM: &str = "cargo xtask test --fix";

/// Makes cargo print the paths of the test programs, from which the counts are read.
pub(super) const NAMING_PROGRAMS: &str = "--message-format=json-render-diagnostics";

/// The part of a line of cargo's JSON output that is shown to people; `None`: nothing of it.
pub(super) fn shown(line: &str) -> Option<&str> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('{')).then_some(line)
}

/// The line coverage of the tests that ran since `Toolchain::counting`. `output` is that of cargo.
/// It is kept as the one of these sources; `None`: it is of tests that failed.
pub(super) async fn measure(
    toolchain: &dyn Toolchain,
    catalog: &Catalog,
    output: &str,
    sources_sha256: Option<String>,
) -> Result<f64> {
    let programs: Vec<String> = programs_of(output).into_iter().collect();
    let lines_percent = toolchain
        .lines_covered(&programs, &folders(catalog))
        .await?;
    if let Some(sources_sha256) = sources_sha256 {
        let figure = Coverage {
            lines_percent,
            sources_sha256,
        };
        toolchain.keep_coverage(&figure).await?;
    }
    Ok(lines_percent)
}

/// As `measure`, but coverage below the limit is a failure. Returns the figure as text.
pub(super) async fn require(
    toolchain: &dyn Toolchain,
    catalog: &Catalog,
    output: &str,
    sources_sha256: String,
) -> Result<String> {
    let lines_percent = measure(toolchain, catalog, output, Some(sources_sha256)).await?;
    let text = covered(lines_percent);
    text.map_err(|text| Failure::new(Kind::CheckFailed, text).into())
}

/// `--fix`: installs LLVM's tools in the first way that works. If none works, that is reported, and
/// what needs the tools is skipped or fails by itself.
pub(super) async fn install_llvm(
    machine: &dyn Machine,
    toolchain: &dyn Toolchain,
    report: &Report,
) -> Result<()> {
    for fault in llvm_faults(machine.inspect(Depth::Quick).await.means) {
        if toolchain.counting().await?.is_some() {
            break;
        }
        if let Err(error) = doctor::fix_fault(&fault, machine, report).await {
            report.emit(CommandEvent::ErrorIgnored {
                subject: "coverage".to_owned(),
                error: format!("{error:#}"),
            });
        }
    }
    Ok(())
}

/// `test --coverage`: runs the tests for the coverage alone.
pub async fn coverage(
    (machine, toolchain): (&dyn Machine, &dyn Toolchain),
    report: &Report,
    source: &dyn Source,
    catalog: &Catalog,
    fix: bool,
) -> Result<()> {
    if fix {
        install_llvm(machine, toolchain, report).await?;
    }
    let Some(counting) = toolchain.counting().await? else {
        let faults = llvm_faults(machine.inspect(Depth::Quick).await.means);
        let remedies = faults.each_ref().map(|fault| fault.remedy.as_str());
        let hint = format!(
            "{}\ncargo xtask test --coverage --fix    # runs the first that works",
            remedies.join("\n")
        );
        return Err(Failure::not_ready(LLVM_MISSING).hint(hint).into());
    };
    let sources_sha256 = source.services_sha256().await?;
    let arguments = [
        &["test", "--locked", NAMING_PROGRAMS],
        &packages(catalog)[..],
    ]
    .concat();
    let mut watch = |line: &str| {
        if let Some(line) = shown(line) {
            report.emit(BuildEvent::ToolOutput {
                subject: "coverage".to_owned(),
                tool: "cargo".to_owned(),
                line: line.to_owned(),
            });
        }
    };
    let run = toolchain.cargo(&arguments, &counting, &mut watch).await?;
    if !run.succeeded {
        report.emit(BuildEvent::ToolFailed {
            subject: "coverage".to_owned(),
            tool: "cargo".to_owned(),
            output: run.last_lines(120),
        });
        return Err(Failure::new(Kind::CheckFailed, "the tests failed").into());
    }
    let text = require(toolchain, catalog, &run.output, sources_sha256).await?;
    report.data(&json!({ "coverage": text }), &text);
    Ok(())
}
