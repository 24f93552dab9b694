//! The build context of Docker: the inputs of the content key, and what the build needs besides.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::decide::artifact::image::InputFile;
use crate::decide::artifact::workspace::Workspace;

pub const DOCKERFILE: &str = "services/Dockerfile";

/// Files that the build needs and the content key excludes: the recipe, and the manifests of the
/// other workspace members, since the lock file covers all members.
pub fn beside_inputs(workspace: &Workspace) -> Vec<String> {
    let manifests = workspace.members.iter();
    let manifests = manifests.map(|member| format!("{member}/Cargo.toml"));
    manifests.chain([DOCKERFILE.to_owned()]).collect()
}

/// Packs the files as a gzipped tar archive. Modification times are 0: the cache of the engine
/// ignores them, and the recipe touches what cargo has to compile again.
pub fn pack_context(files: &BTreeMap<String, InputFile>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in files {
        let bytes = file.bytes();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, bytes)?;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&archive.into_inner()?)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::decide::artifact::compilation::cargo_arguments;
    use crate::decide::artifact::compilation::testing::X86;

    const RECIPE: &str = include_str!("../../../../services/Dockerfile");
    const MANIFEST: &str = include_str!("../../../../Cargo.toml");
    const IGNORED: &str = include_str!("../../../../.dockerignore");
    const TOOLCHAIN: &str = include_str!("../../../../rust-toolchain.toml");

    #[test]
    fn the_recipe_compiles_as_the_host_does() {
        let arguments = cargo_arguments(X86, &[]).join(" ");
        // The recipe has variables in their place.
        let target = format!(" --target {}", X86.architecture.target());
        let arguments = arguments.replace(&target, "");
        let arguments = arguments.replace("--profile release", "--profile ${PROFILE}");
        let command = format!("exec cargo {arguments}");
        assert!(RECIPE.contains(&command), "{command}");
        assert!(cargo_arguments(X86, &["a"]).ends_with(&["--package".into(), "a".into()]));
        assert!(RECIPE.contains("\" --package %s\" ${PACKAGES}"));
    }

    /// A manifest that xtask does not send would be another input of the dependencies' layer.
    #[test]
    fn what_is_no_member_is_not_sent_by_plain_docker_either() {
        let excluded = MANIFEST
            .lines()
            .find_map(|line| line.strip_prefix("exclude = "));
        let excluded: Vec<String> = serde_json::from_str(excluded.unwrap()).unwrap();
        assert!(!excluded.is_empty());
        for folder in excluded {
            assert!(IGNORED.lines().any(|line| line == folder), "{folder}");
        }
    }

    #[test]
    fn the_base_image_has_the_toolchain_of_the_checkout() {
        let channel = TOOLCHAIN
            .lines()
            .find_map(|line| line.strip_prefix("channel = "));
        let base = format!(
            "ARG BUILDER_BASE=rust:{}-",
            channel.unwrap().trim_matches('"')
        );
        let line = RECIPE.lines().find(|line| line.starts_with(&base)).unwrap();
        assert!(line.contains("@sha256:"), "{line}");
    }

    #[test]
    fn a_context_has_every_file_under_its_path() {
        let files = ["Cargo.lock", "services/axon/src/main.rs"]
            .map(|path| (path.to_owned(), path.as_bytes().to_vec()));
        let inputs = files.clone().map(|(path, bytes)| (path, bytes.into()));
        let packed = pack_context(&inputs.into()).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let found = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, bytes)
        });
        assert_eq!(found.collect::<Vec<_>>(), files);
    }
}
