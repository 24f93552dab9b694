//! What decides an artifact's bytes, and the artifact itself: its key, its digest, its archive.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::catalog::Component;
use crate::decide::artifact::compilation::Variant;
use crate::decide::artifact::referrer::Document;
use crate::decide::definition::hex;

/// Inputs of every component: who builds it, from which versions, with which settings.
const SHARED_INPUTS: [&str; 4] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    ".cargo/config.toml",
];

/// What of a source folder goes into a binary.
const FOLDER_INPUTS: [&str; 4] = ["src", "policies", "build.rs", "Cargo.toml"];

/// The version of how components are compiled and packed, part of every key: other bytes of the same
/// sources need another key. A test fails where the bytes change and this number does not.
const RECIPE_VERSION: u32 = 2;

/// The files and folders below the root that decide a component's bytes. Not all of them need exist.
pub fn input_paths(component: Component) -> Vec<String> {
    let of_folders = component.source_folders().iter().flat_map(|folder| {
        FOLDER_INPUTS
            .iter()
            .map(move |input| format!("{folder}/{input}"))
    });
    of_folders.chain(SHARED_INPUTS.map(str::to_owned)).collect()
}

/// Editors leave swap and lock files next to what they edit; nothing compiles those.
pub fn is_hidden(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with('.'))
}

/// All that decides the bytes of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Path below the root, and the file's bytes.
    pub files: BTreeMap<String, Vec<u8>>,
    pub labels: Option<Labels>,
}

/// The last commit that touched the inputs; there is none where they hold changes on top of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub revision: String,
    /// RFC 3339.
    pub created: String,
}

/// The hash of all that decides an artifact's bytes: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub String);

/// `sha256:` and 64 hexadecimal digits: the name of an image's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let lower_hex = |character: char| matches!(character, '0'..='9' | 'a'..='f');
        (hex.len() == 64 && hex.chars().all(lower_hex)).then(|| Self(text.to_owned()))
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits alone.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
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
            // Each field with its length, so that no two lists of fields look the same.
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
        for (path, bytes) in &inputs.files {
            put(path.as_bytes());
            put(bytes);
        }
        Self(hex(&hash.finalize()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A packed image or function on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub component: Component,
    pub key: Key,
    /// Of an image's manifest; of a function's zip.
    pub digest: Digest,
    /// The packed file: an OCI layout as a tar archive, or a zip.
    pub file: PathBuf,
    /// What the registry stores and what a task downloads.
    pub packed_bytes: u64,
    /// What it takes unpacked.
    pub unpacked_bytes: u64,
}

impl Artifact {
    /// Where a document about it lies: beside it.
    pub fn document(&self, document: Document) -> PathBuf {
        self.file.with_extension(document.ending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Service;
    use crate::decide::artifact::archive::{pack_function, pack_image};
    use crate::decide::artifact::compilation::testing::X86;
    use crate::decide::artifact::compilation::{Folders, Profile, cargo_arguments, rustflags};
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
        Key::of(Component::Service(Service::Axon), &inputs, X86)
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
                Component::Service(Service::Axon),
                &inputs(),
                Variant {
                    architecture: Architecture::Arm,
                    ..X86
                },
            ),
            Key::of(
                Component::Service(Service::Axon),
                &inputs(),
                Variant {
                    profile: Profile::Local,
                    ..X86
                },
            ),
            Key::of(Component::Service(Service::Orbit), &inputs(), X86),
        ];
        let different: std::collections::BTreeSet<&Key> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "{keys:?}");
        assert_eq!(key(|_| {}), keys[0]);
        assert!(keys[0].0.len() == 64, "{}", keys[0]);
    }

    /// How a fixed program is compiled and packed, as one digest.
    fn recipe_digest() -> Digest {
        let labels = inputs().labels;
        // Long and uneven enough that each level of compression packs it differently.
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
            "the same sources give other bytes now: raise RECIPE_VERSION, and write down both"
        );
    }

    #[test]
    fn what_moves_from_one_field_to_the_next_is_another_key() {
        let split = |path: &str, text: &str| {
            key(|inputs| inputs.files = [(path.to_owned(), text.into())].into())
        };
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }

    #[test]
    fn tests_and_readmes_are_no_inputs() {
        let paths = input_paths(Component::Service(Service::Orbit));
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
