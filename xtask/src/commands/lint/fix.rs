//! `lint --fix`: mends what needs no thought, in the text as it stands, and shows each change before
//! anything is written.

use anyhow::Result;

use super::{DefinitionFile, LintOptions, facts};
use crate::decide::definition::lint::mend::{Mending, mended};
use crate::decide::definition::lint::suppressions::{self, Suppressions};
use crate::decide::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::ports::WritableSource;
use crate::report::Report;

/// Shows what would change in these files, and with `writes` changes them.
pub fn fix(
    source: &dyn WritableSource,
    environment: &Environment,
    report: &Report,
    files: &[DefinitionFile],
    options: &LintOptions,
    writes: bool,
) -> Result<()> {
    let facts = facts(environment, options);
    let mut mendings = Vec::new();
    let mut changed = Vec::new();
    for DefinitionFile { path, .. } in files {
        let text = source.text(path);
        let text = text.map_err(|error| Failure::usage(format!("{error:#}")))?;
        let beside = suppressions::path_beside(path);
        let accepted = match source.text(&beside) {
            Ok(accepted) => Suppressions::parse(&beside, &accepted)
                .map_err(|fault| Failure::new(Kind::Findings, fault))?,
            Err(_) => Suppressions::default(),
        };
        let (found, mended) = mended(path, &text, &facts, accepted);
        if !found.is_empty() {
            changed.push((path, mended));
        }
        mendings.extend(found);
    }
    let mut lines: Vec<String> = mendings.iter().flat_map(shown).collect();
    if lines.is_empty() {
        lines.push("nothing to fix".to_owned());
    } else if !writes {
        lines.push("nothing is written without --yes".to_owned());
    }
    report.data(&mendings, &lines.join("\n"));
    if writes {
        for (path, text) in changed {
            source.write(path, &text)?;
        }
    }
    Ok(())
}

fn shown(mending: &Mending) -> Vec<String> {
    let Mending {
        subject,
        code,
        json_path,
        line,
        before,
        after,
    } = mending;
    let mut lines = vec![format!("{subject}:{line} {code} {json_path}")];
    lines.extend(before.iter().map(|line| format!("  -{line}")));
    lines.extend(after.iter().map(|line| format!("  +{line}")));
    lines
}
