//! The documents about an artifact: SBOM and provenance.

use anyhow::{Context, Result};

use super::{Artifacts, packages};
use crate::adapters::process::Command;
use crate::decide::artifact::provenance::{BuildRecord, statement};
use crate::decide::artifact::referrer::ImageDocument;
use crate::decide::artifact::sbom::{CargoTree, sbom, tree_arguments};
use crate::decide::outputs::Architecture;

impl Artifacts<'_> {
    pub(super) async fn documents(
        &self,
        built: &BuildRecord<'_>,
    ) -> Result<[(ImageDocument, Vec<u8>); 2]> {
        let tree = self
            .tree
            .get_or_try_init(|| self.linked(built.variant.architecture));
        let sbom = sbom(built, tree.await?);
        Ok([
            (ImageDocument::Sbom, sbom.to_string().into_bytes()),
            (
                ImageDocument::Provenance,
                statement(built).to_string().into_bytes(),
            ),
        ])
    }

    /// The dependencies of the programs, resolved as for the build.
    async fn linked(&self, architecture: Architecture) -> Result<CargoTree> {
        let output = Command::new(self.process_env, "cargo")
            .arguments(tree_arguments(architecture, &packages(self.catalog)))
            .folder(&self.process_env.root)
            .without_variable("RUSTUP_TOOLCHAIN")
            .without_stderr()
            .succeed()
            .await
            .context("run `cargo tree`")?;
        CargoTree::parse(&output).context("parse the output of `cargo tree`")
    }
}
