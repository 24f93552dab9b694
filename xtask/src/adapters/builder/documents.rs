//! The documents about an artifact: what it consists of and where it comes from.

use anyhow::{Context, Result};

use super::Artifacts;
use crate::adapters::process::Command;
use crate::decide::artifact::provenance::{Built, statement};
use crate::decide::artifact::referrer::Document;
use crate::decide::artifact::sbom::{Tree, bill, tree_arguments};
use crate::decide::outputs::Architecture;

impl Artifacts<'_> {
    pub(super) async fn documents(&self, built: &Built<'_>) -> Result<[(Document, Vec<u8>); 2]> {
        let tree = self
            .tree
            .get_or_try_init(|| self.linked(built.variant.architecture));
        let bill = bill(built, tree.await?);
        Ok([
            (Document::Bill, bill.to_string().into_bytes()),
            (
                Document::Provenance,
                statement(built).to_string().into_bytes(),
            ),
        ])
    }

    /// What is linked into the programs, as cargo resolves it for the build itself.
    async fn linked(&self, architecture: Architecture) -> Result<Tree> {
        let told = Command::new(self.process_env, "cargo")
            .arguments(tree_arguments(architecture))
            .folder(&self.process_env.root)
            .without_variable("RUSTUP_TOOLCHAIN")
            .without_stderr()
            .succeed()
            .await
            .context("ask cargo what is linked")?;
        Tree::parse(&told).context("read cargo's tree")
    }
}
