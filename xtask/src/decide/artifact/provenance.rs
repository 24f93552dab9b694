//! The provenance of an artifact: an in-toto statement (v1) with the SLSA predicate (provenance
//! v1). The same inputs give the same statement, so its only time is that of the commit.

use serde_json::{Value, json};

use crate::catalog::Component;
use crate::decide::artifact::image::Inputs;
use crate::decide::artifact::linked_libc::LinkedLibc;
use crate::decide::artifact::types::{BuilderKind, Digest, Key, Variant};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// Defines the parameters below; their meaning changes only with the version.
const BUILD_TYPE: &str = "urn:xtask:build:v1";

/// An artifact and everything that it was built from.
#[derive(Debug, Clone)]
pub struct BuildRecord<'a> {
    pub component: Component,
    pub variant: Variant,
    pub key: &'a Key,
    pub inputs: &'a Inputs,
    pub builder: BuilderKind,
    /// The digest of the program inside.
    pub program: &'a Digest,
    /// The C library inside.
    pub libc: Option<LinkedLibc>,
    /// The digest of the manifest of an image, or of the zip of a function.
    pub digest: &'a Digest,
}

pub fn statement(built: &BuildRecord<'_>) -> Value {
    let commit = built.inputs.labels.iter().map(|labels| {
        let digest = json!({ "gitCommit": labels.revision });
        json!({ "name": "commit", "digest": digest, "annotations": { "created": labels.created } })
    });
    let files =
        built.inputs.files.iter().map(
            |(path, file)| json!({ "name": path, "digest": { "sha256": file.digest().hex() } }),
        );
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": built.component, "digest": { "sha256": built.digest.hex() } }],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "name": built.component,
                    "target": built.variant.architecture.target(),
                    "profile": built.variant.profile.name(),
                },
                "internalParameters": { "key": built.key },
                "resolvedDependencies": commit.chain(files).collect::<Vec<_>>(),
            },
            "runDetails": {
                "builder": { "id": format!("urn:xtask:builder:{}", built.builder.name()) },
                "byproducts": [{
                    "name": "program",
                    "digest": { "sha256": built.program.hex() },
                }],
            },
        },
    })
}

#[cfg(test)]
pub mod testing {
    use super::*;

    use crate::catalog::testing::AXON;
    use crate::decide::artifact::compilation::testing::X86;
    use crate::decide::artifact::types::Labels;

    pub fn inputs(labels: bool) -> Inputs {
        let files = [
            ("Cargo.lock", LOCK),
            ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95.0\"\n"),
            ("services/axon/src/main.rs", "fn main() {}\n"),
        ];
        Inputs {
            files: files
                .map(|(path, text)| (path.to_owned(), text.into()))
                .into(),
            labels: labels.then(|| Labels {
                revision: "c".repeat(40),
                created: "2026-01-02T03:04:05+00:00".to_owned(),
            }),
        }
    }

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\n\
        source = \"registry\"\nchecksum = \"ab12\"\n\n[[package]]\nname = \"axon\"\nversion = \"0.1.0\"\n\
        dependencies = [\n \"bytes\",\n]\n";

    pub fn built<'a>(inputs: &'a Inputs, key: &'a Key, digest: &'a Digest) -> BuildRecord<'a> {
        BuildRecord {
            component: Component::Service(AXON),
            variant: X86,
            key,
            inputs,
            builder: BuilderKind::Host,
            program: digest,
            libc: None,
            digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{built, inputs};
    use super::*;

    fn of(labels: bool) -> Value {
        let (key, digest) = (Key("5".repeat(64)), Digest::of(b"an image"));
        statement(&built(&inputs(labels), &key, &digest))
    }

    #[test]
    fn a_statement_has_digest_key_builder_commit_and_every_input() {
        let statement = of(true);
        assert_eq!(statement["_type"], STATEMENT_TYPE);
        let subject = &statement["subject"][0];
        assert_eq!(subject["name"], "axon");
        assert_eq!(subject["digest"]["sha256"], Digest::of(b"an image").hex());
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(definition["internalParameters"]["key"], "5".repeat(64));
        let dependencies = definition["resolvedDependencies"].as_array().unwrap();
        assert_eq!(dependencies[0]["digest"]["gitCommit"], "c".repeat(40));
        assert_eq!(dependencies.len(), 4);
        assert_eq!(dependencies[3]["name"], "services/axon/src/main.rs");
        assert_eq!(
            dependencies[3]["digest"]["sha256"],
            Digest::of(b"fn main() {}\n").hex()
        );
        let details = &statement["predicate"]["runDetails"];
        assert_eq!(details["builder"]["id"], "urn:xtask:builder:host");
    }

    #[test]
    fn uncommitted_changes_are_not_attributed_to_a_commit() {
        assert!(!of(false).to_string().contains("gitCommit"));
        assert_eq!(of(false), of(false));
    }
}
