//! The inputs that determine the bytes of an artifact, the content key of them, and the artifact.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::catalog::Component;
use crate::decide::artifact::referrer::ImageDocument;
pub use crate::decide::artifact::types::{Digest, Key};
use crate::decide::artifact::types::{Labels, Variant};

/// Inputs of every component: toolchain, versions and settings.
const SHARED_INPUTS: [&str; 4] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    ".cargo/config.toml",
];

/// The parts of a source folder that are compiled into a binary: tests and READMEs are not.
const FOLDER_INPUTS: [&str; 4] = ["src", "policies", "build.rs", "Cargo.toml"];

/// The version of how components are compiled and packed. It is part of every key, because other
/// bytes of the same sources need another key. A test fails if the bytes change and this number
/// does not.
const RECIPE_VERSION: u32 = 2;

/// The files and folders, relative to the root, that determine the bytes of a component which is
/// compiled from these folders. Some may not exist.
pub fn input_paths(folders: &[String]) -> Vec<String> {
    let of_folders = folders.iter().flat_map(|folder| {
        FOLDER_INPUTS
            .iter()
            .map(move |input| format!("{folder}/{input}"))
    });
    of_folders.chain(SHARED_INPUTS.map(str::to_owned)).collect()
}

/// Hidden files, such as the swap and lock files of editors, are never compiled.
pub fn is_hidden(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with('.'))
}

/// Everything that determines the bytes of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// By the path relative to the root.
    pub files: BTreeMap<String, InputFile>,
    pub labels: Option<Labels>,
}

/// The content of a file that several components may share: it is kept and hashed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    bytes: Arc<[u8]>,
    digest: Digest,
}

impl InputFile {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl From<Vec<u8>> for InputFile {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        }
    }
}

impl From<&str> for InputFile {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl Key {
    /// `None` for what is not a key, such as the description of a version that is not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (text.len() == 64 && is_hex).then(|| Self(text.to_owned()))
    }

    pub fn of(component: Component, inputs: &Inputs, variant: Variant) -> Self {
        let mut hash = Sha256::new();
        let mut put = |field: &[u8]| {
            // With their lengths, so that no two lists of fields hash the same.
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        };
        put(&RECIPE_VERSION.to_le_bytes());
        put(component.name().as_bytes());
        put(variant.architecture.target().as_bytes());
        put(variant.profile.name().as_bytes());
        let labels = inputs.labels.as_ref();
        put(labels.map_or("", |labels| &labels.revision).as_bytes());
        put(labels.map_or("", |labels| &labels.created).as_bytes());
        for (path, file) in &inputs.files {
            put(path.as_bytes());
            put(file.digest.as_str().as_bytes());
        }
        Self(hex::encode(hash.finalize()))
    }
}

/// A packed image or function on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub component: Component,
    pub key: Key,
    /// The digest of the manifest of an image, or of the zip of a function.
    pub digest: Digest,
    /// An OCI layout as a tar archive, or a zip.
    pub file: PathBuf,
    /// Compressed size: what the registry stores and a task downloads.
    pub packed_bytes: u64,
    /// Uncompressed size.
    pub unpacked_bytes: u64,
}

impl Artifact {
    /// The file of a document about the artifact, beside its own.
    pub fn document(&self, document: ImageDocument) -> PathBuf {
        self.file.with_extension(document.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::catalog::testing::{AXON, ORBIT};
    use crate::decide::artifact::archive::{pack_function, pack_image};
    use crate::decide::artifact::compilation::testing::X86;
    use crate::decide::artifact::compilation::{Folders, cargo_arguments, rustflags};
    use crate::decide::artifact::types::Profile;
    use crate::decide::outputs::Architecture;

    fn inputs() -> Inputs {
        Inputs {
            files: [("Cargo.lock", "a"), ("services/axon/src/main.rs", "b")]
                .map(|(path, text)| (path.to_owned(), text.into()))
                .into(),
            labels: Some(Labels {
                revision: "c".repeat(40),
                created: "2026-01-02T03:04:05+00:00".to_owned(),
            }),
        }
    }

    fn key(change: impl FnOnce(&mut Inputs)) -> Key {
        let mut inputs = inputs();
        change(&mut inputs);
        Key::of(Component::Service(AXON), &inputs, X86)
    }

    #[test]
    fn every_input_changes_the_key() {
        let labels = |inputs: &mut Inputs| inputs.labels.clone().unwrap();
        let keys = [
            key(|_| {}),
            key(|inputs| drop(inputs.files.insert("Cargo.lock".into(), "other".into()))),
            key(|inputs| drop(inputs.files.insert("Cargo.toml".into(), "a".into()))),
            key(|inputs| drop(inputs.files.remove("Cargo.lock"))),
            key(|inputs| inputs.labels = None),
            key(|inputs| {
                let labels = labels(inputs);
                inputs.labels = Some(Labels {
                    revision: "d".repeat(40),
                    ..labels
                });
            }),
            key(|inputs| {
                let labels = labels(inputs);
                inputs.labels = Some(Labels {
                    created: "2027".into(),
                    ..labels
                });
            }),
            Key::of(
                Component::Service(AXON),
                &inputs(),
                Variant {
                    architecture: Architecture::Arm,
                    ..X86
                },
            ),
            Key::of(
                Component::Service(AXON),
                &inputs(),
                Variant {
                    profile: Profile::Local,
                    ..X86
                },
            ),
            Key::of(Component::Service(ORBIT), &inputs(), X86),
        ];
        let different: std::collections::BTreeSet<&Key> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "{keys:?}");
        assert_eq!(key(|_| {}), keys[0]);
        assert!(keys[0].0.len() == 64, "{}", keys[0]);
    }

    /// One digest over how a fixed program is compiled and packed.
    fn recipe_digest() -> Digest {
        let labels = inputs().labels;
        // Long and irregular enough to differ at each level of compression.
        let program: Vec<u8> = (0..100_000_u64)
            .map(|n| ((n * n) >> 7).to_le_bytes()[0] % 61)
            .collect();
        let mut recipe = Vec::new();
        for architecture in [Architecture::X86, Architecture::Arm] {
            let folders = Folders {
                root: "/checkout".as_ref(),
                cargo_home: "/cargo-home".as_ref(),
                target: "/checkout/target".as_ref(),
                libraries: "/rust/lib/rustlib/target/lib".as_ref(),
            };
            recipe.extend(rustflags(folders, "commit-hash: 5980").into_bytes());
            for profile in [Profile::Local, Profile::Release] {
                let variant = Variant {
                    architecture,
                    profile,
                };
                recipe.extend(cargo_arguments(variant, &["axon"]).join(" ").into_bytes());
            }
            for labels in [None, labels.as_ref()] {
                let image = pack_image("axon", architecture, &program, labels);
                recipe.extend(image.unwrap().bytes);
            }
        }
        recipe.extend(pack_function(&program, &Key("5".repeat(64))).unwrap().bytes);
        Digest::of(&recipe)
    }

    #[test]
    fn another_recipe_has_another_version() {
        const KNOWN: (u32, &str) = (
            2,
            "sha256:9670d07975da5f926756f32417b850b33314eae93895f2cd6ba6f7664d687b30",
        );
        let digest = recipe_digest();
        assert_eq!(
            (RECIPE_VERSION, digest.as_str()),
            KNOWN,
            "the same sources give other bytes now: raise RECIPE_VERSION and update both values here"
        );
    }

    #[test]
    fn field_boundaries_are_part_of_the_key() {
        let split = |path: &str, text: &str| {
            key(|inputs| inputs.files = [(path.to_owned(), text.into())].into())
        };
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }

    #[test]
    fn tests_and_readmes_are_not_inputs() {
        let paths = input_paths(&["services/orbit".to_owned(), "services/kit".to_owned()]);
        assert!(paths.contains(&"services/kit/src".to_owned()), "{paths:?}");
        assert!(paths.contains(&"Cargo.lock".to_owned()), "{paths:?}");
        let strays = ["tests", "README", "axon", "xtask"];
        assert!(
            !paths
                .iter()
                .any(|path| strays.iter().any(|stray| path.contains(stray))),
            "{paths:?}"
        );
    }

    #[test]
    fn a_digest_is_sixty_four_lower_case_digits() {
        let digest = Digest::of(b"abc");
        assert_eq!(Digest::parse(digest.as_str()), Some(digest.clone()));
        assert_eq!(digest.hex().len(), 64);
        assert_eq!(Digest::parse(&digest.as_str().to_uppercase()), None);
        assert_eq!(Digest::parse("sha256:abc"), None);
    }
}
