//! How components are compiled, and whether a binary can run in an empty image.

use std::path::Path;
use std::str::FromStr;

use crate::decide::artifact::types::{BuilderKind, Variant};
use crate::decide::outputs::Architecture;

/// What compiles the components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildMethod {
    /// The Rust toolchain of this machine.
    Host,
    /// The Docker engine, with `services/Dockerfile`. `base` replaces its base image.
    Docker { base: Option<String> },
}

impl BuildMethod {
    pub fn kind(&self) -> BuilderKind {
        match self {
            Self::Host => BuilderKind::Host,
            Self::Docker { .. } => BuilderKind::Docker,
        }
    }
}

impl FromStr for BuildMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "host" => Ok(Self::Host),
            None if text == "docker" => Ok(Self::Docker { base: None }),
            Some(("docker", base)) if !base.is_empty() => Ok(Self::Docker {
                base: Some(base.to_owned()),
            }),
            _ => Err("expected `host`, `docker` or `docker=IMAGE`".to_owned()),
        }
    }
}

/// The arguments of Cargo. All components are compiled by one invocation, so that features unify
/// the same way in every build and nothing is compiled twice.
pub fn cargo_arguments(variant: Variant, packages: &[&str]) -> Vec<String> {
    // With a target even for the host: RUSTFLAGS then leave out build scripts and macros.
    let profile = variant.profile.name();
    let target = variant.architecture.target();
    let fixed = [
        "build",
        "--profile",
        profile,
        "--locked",
        "--target",
        target,
    ];
    let packages = packages
        .iter()
        .map(|name| ["--package".to_owned(), (*name).to_owned()]);
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(packages.flatten())
        .collect()
}

/// Folders of this machine whose paths the compiler would otherwise embed.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    pub root: &'a Path,
    pub cargo_home: &'a Path,
    pub target: &'a Path,
    /// The libraries of the compiler for the target (`rustc --print target-libdir`).
    pub libraries: &'a Path,
}

/// The value of `CARGO_ENCODED_RUSTFLAGS`: static linking, and paths remapped so that every
/// checkout and machine gives the same bytes. `compiler` is the output of `rustc -vV`.
pub fn rustflags(folders: Folders<'_>, compiler: &str) -> String {
    // The last match wins, and target usually is below root.
    let mut named = vec![
        (folders.root.to_owned(), "/src".to_owned()),
        (folders.cargo_home.to_owned(), "/cargo".to_owned()),
        (folders.target.to_owned(), "/target".to_owned()),
    ];
    // With the component `rust-src` the compiler embeds local paths of the standard library,
    // without it `/rustc/COMMIT`.
    let commit = compiler
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    if let (Some(commit), Some(rustlib)) = (commit, folders.libraries.ancestors().nth(2)) {
        named.push((rustlib.join("src/rust"), format!("/rustc/{commit}")));
    }
    let remapped = named
        .iter()
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()));
    std::iter::once("-Ctarget-feature=+crt-static".to_owned())
        .chain(remapped)
        .collect::<Vec<_>>()
        .join("\u{1f}")
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BinaryError {
    #[error("is not a 64-bit ELF program")]
    NotElf,
    #[error("is for {found}, expected {wanted}")]
    Machine { found: String, wanted: &'static str },
    #[error("is dynamically linked: an empty image has no loader")]
    NotStatic,
    #[error("is not stripped: check `strip` in the Cargo.toml of the workspace")]
    NotStripped,
}

/// Checks the ELF headers of a binary: the architecture, static linking, and no symbol table.
pub fn check_binary(binary: &[u8], architecture: Architecture) -> Result<(), BinaryError> {
    const PT_INTERP: u32 = 3;
    const SHT_SYMTAB: u32 = 2;
    const HEADER: &[u8] = b"\x7fELF\x02\x01"; // 64 bits, little-endian
    if !binary.starts_with(HEADER) {
        return Err(BinaryError::NotElf);
    }
    let machine = u16_at(binary, 18)?;
    let (wanted_machine, wanted) = match architecture {
        Architecture::X86 => (62, "X86_64"),
        Architecture::Arm => (183, "ARM64"),
    };
    if machine != wanted_machine {
        let found = match machine {
            62 => "X86_64".to_owned(),
            183 => "ARM64".to_owned(),
            other => format!("ELF machine {other}"),
        };
        return Err(BinaryError::Machine { found, wanted });
    }
    for segment in table(binary, 32, 54)? {
        if u32_at(binary, segment)? == PT_INTERP {
            return Err(BinaryError::NotStatic);
        }
    }
    for section in table(binary, 40, 58)? {
        if u32_at(binary, section.saturating_add(4))? == SHT_SYMTAB {
            return Err(BinaryError::NotStripped);
        }
    }
    Ok(())
}

/// The offsets of the entries of a header table. The ELF header has the offset of the table at
/// `start`, the size and the number of its entries at `shape`.
fn table(
    binary: &[u8],
    start: usize,
    shape: usize,
) -> Result<impl Iterator<Item = usize>, BinaryError> {
    let begin = usize::try_from(u64_at(binary, start)?).map_err(|_| BinaryError::NotElf)?;
    let entry_bytes = usize::from(u16_at(binary, shape)?);
    let entries = usize::from(u16_at(binary, shape + 2)?);
    Ok((0..entries).map(move |index| begin.saturating_add(index * entry_bytes)))
}

fn u16_at(binary: &[u8], offset: usize) -> Result<u16, BinaryError> {
    bytes_at(binary, offset).map(u16::from_le_bytes)
}

fn u32_at(binary: &[u8], offset: usize) -> Result<u32, BinaryError> {
    bytes_at(binary, offset).map(u32::from_le_bytes)
}

fn u64_at(binary: &[u8], offset: usize) -> Result<u64, BinaryError> {
    bytes_at(binary, offset).map(u64::from_le_bytes)
}

fn bytes_at<const COUNT: usize>(binary: &[u8], offset: usize) -> Result<[u8; COUNT], BinaryError> {
    binary
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(BinaryError::NotElf)
}

#[cfg(test)]
pub mod testing {
    use super::{Architecture, Variant};
    use crate::decide::artifact::types::Profile;

    pub const X86: Variant = Variant {
        architecture: Architecture::X86,
        profile: Profile::Release,
    };

    /// The headers of an x86-64 program with one segment of this type (1 is `PT_LOAD`).
    pub fn elf(segment: u32) -> Vec<u8> {
        let mut binary = vec![0; 64 + 56];
        binary[..6].copy_from_slice(b"\x7fELF\x02\x01");
        binary[18..20].copy_from_slice(&62_u16.to_le_bytes());
        binary[32..40].copy_from_slice(&64_u64.to_le_bytes());
        binary[54..56].copy_from_slice(&56_u16.to_le_bytes());
        binary[56..58].copy_from_slice(&1_u16.to_le_bytes());
        binary[64..68].copy_from_slice(&segment.to_le_bytes());
        binary
    }
}

#[cfg(test)]
mod tests {
    use super::testing::elf;
    use super::*;
    use crate::decide::artifact::types::Profile;

    #[test]
    fn a_build_method_is_parsed() {
        let docker = |base: Option<&str>| BuildMethod::Docker {
            base: base.map(str::to_owned),
        };
        assert_eq!("host".parse(), Ok(BuildMethod::Host));
        assert_eq!("docker".parse(), Ok(docker(None)));
        assert_eq!("docker=ours:1".parse(), Ok(docker(Some("ours:1"))));
        for unknown in ["", "Docker", "docker=", "host=ours"] {
            assert!(unknown.parse::<BuildMethod>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn all_components_are_compiled_by_one_invocation() {
        let variant = Variant {
            architecture: Architecture::Arm,
            profile: Profile::Local,
        };
        assert_eq!(
            cargo_arguments(variant, &["governance", "axon", "orbit"]).join(" "),
            "build --profile local --locked --target aarch64-unknown-linux-gnu \
             --package governance --package axon --package orbit"
        );
    }

    #[test]
    fn flags_remap_every_local_path() {
        let folders = Folders {
            root: Path::new("/home/me/it"),
            cargo_home: Path::new("/home/me/.cargo"),
            target: Path::new("/home/me/it/target"),
            libraries: Path::new("/rust/lib/rustlib/x86_64-unknown-linux-gnu/lib"),
        };
        let flags = rustflags(folders, "rustc 1.95.0\ncommit-hash: 5980\nhost: here");
        let flags: Vec<&str> = flags.split('\u{1f}').collect();
        assert_eq!(
            flags,
            [
                "-Ctarget-feature=+crt-static",
                "--remap-path-prefix=/home/me/it=/src",
                "--remap-path-prefix=/home/me/.cargo=/cargo",
                "--remap-path-prefix=/home/me/it/target=/target",
                "--remap-path-prefix=/rust/lib/rustlib/src/rust=/rustc/5980",
            ]
        );
        assert!(!rustflags(folders, "").contains("/rustc/"));
    }

    #[test]
    fn a_binary_with_symbols_is_rejected() {
        let with_section = |kind: u32| {
            let mut binary = elf(1);
            let begin = binary.len();
            binary.resize(begin + 64, 0);
            binary[40..48].copy_from_slice(&(begin as u64).to_le_bytes());
            binary[58..62].copy_from_slice(&[64, 0, 1, 0]);
            binary[begin + 4..begin + 8].copy_from_slice(&kind.to_le_bytes());
            check_binary(&binary, Architecture::X86)
        };
        assert_eq!(with_section(2), Err(BinaryError::NotStripped));
        assert_eq!(with_section(3), Ok(()));
    }

    #[test]
    fn only_a_static_binary_of_the_architecture_is_accepted() {
        assert_eq!(check_binary(&elf(1), Architecture::X86), Ok(()));
        assert_eq!(
            check_binary(&elf(3), Architecture::X86),
            Err(BinaryError::NotStatic)
        );
        let other = check_binary(&elf(1), Architecture::Arm).unwrap_err();
        assert_eq!(other.to_string(), "is for X86_64, expected ARM64");
        for broken in [&b"#!/bin/sh"[..], b"", &elf(1)[..60]] {
            assert_eq!(
                check_binary(broken, Architecture::X86),
                Err(BinaryError::NotElf)
            );
        }
    }
}
