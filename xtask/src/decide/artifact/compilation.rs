//! How services and function are compiled, and whether what came out can run in an empty image.

use std::path::Path;
use std::str::FromStr;

use crate::decide::artifact::provenance::BuilderKind;
use crate::decide::environment::Environment;
use crate::decide::outputs::Architecture;

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildMethod {
    /// The Rust of this machine.
    Host,
    /// The Docker engine, by `services/Dockerfile`, on the base that it names or on another one.
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
            _ => Err("there are host, docker and docker=IMAGE".to_owned()),
        }
    }
}

/// How much is done for the speed and the size of a program: two profiles of the root's `Cargo.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Where a change is to run at once: crate by crate.
    Local,
    /// Where a program runs for weeks: all its crates as one, which takes minutes for each change.
    Release,
}

impl Profile {
    pub fn of(environment: &Environment) -> Self {
        if environment.emulated {
            Self::Local
        } else {
            Self::Release
        }
    }

    /// Cargo's name of it, and of the folder that its programs come to lie in.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Release => "release",
        }
    }
}

/// What the same sources are compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub architecture: Architecture,
    pub profile: Profile,
}

/// Cargo's arguments: one invocation for all components, whichever is asked for, so that they are
/// compiled with the same features and nothing is compiled twice.
pub fn cargo_arguments(variant: Variant, packages: &[&str]) -> Vec<String> {
    // Always with a target: without it the flags would reach build scripts and macros too.
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

/// Folders of this machine whose names the compiler would otherwise write into a binary.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    pub root: &'a Path,
    pub cargo_home: &'a Path,
    pub target: &'a Path,
    /// The compiler's libraries for the target (`rustc --print target-libdir`).
    pub libraries: &'a Path,
}

/// The value of `CARGO_ENCODED_RUSTFLAGS`: no shared library, and the same bytes in every checkout
/// and on every machine. `compiler` is what `rustc -vV` says.
pub fn rustflags(folders: Folders<'_>, compiler: &str) -> String {
    // The last prefix that matches wins, and target usually lies below root.
    let mut named = vec![
        (folders.root.to_owned(), "/src".to_owned()),
        (folders.cargo_home.to_owned(), "/cargo".to_owned()),
        (folders.target.to_owned(), "/target".to_owned()),
    ];
    // Where the component `rust-src` is installed, the compiler names the standard library's
    // sources by where they lie on this machine; elsewhere by the commit they are of.
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
pub enum Unfit {
    #[error("is no 64-bit ELF program")]
    NotElf,
    #[error("is made for {found}, not for {wanted}")]
    Machine { found: String, wanted: &'static str },
    #[error("needs the shared loader that an empty image has not: it was not linked statically")]
    NotStatic,
    #[error(
        "has its symbols still: cargo has not stripped it, for which see the root's Cargo.toml"
    )]
    NotStripped,
}

/// Reads the ELF headers of a binary: it must be of the architecture, need no loader, and hold
/// nothing that only a debugger reads.
pub fn check_binary(binary: &[u8], architecture: Architecture) -> Result<(), Unfit> {
    const PT_INTERP: u32 = 3;
    const SHT_SYMTAB: u32 = 2;
    const HEADER: &[u8] = b"\x7fELF\x02\x01"; // 64 bits, little-endian
    if !binary.starts_with(HEADER) {
        return Err(Unfit::NotElf);
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
        return Err(Unfit::Machine { found, wanted });
    }
    for segment in table(binary, 32, 54)? {
        if u32_at(binary, segment)? == PT_INTERP {
            return Err(Unfit::NotStatic);
        }
    }
    for section in table(binary, 40, 58)? {
        if u32_at(binary, section.saturating_add(4))? == SHT_SYMTAB {
            return Err(Unfit::NotStripped);
        }
    }
    Ok(())
}

/// Where the entries of a table begin: at one offset the header says where it lies, at the other how
/// long an entry is and how many there are.
fn table(binary: &[u8], place: usize, shape: usize) -> Result<impl Iterator<Item = usize>, Unfit> {
    let begin = usize::try_from(u64_at(binary, place)?).map_err(|_| Unfit::NotElf)?;
    let entry_bytes = usize::from(u16_at(binary, shape)?);
    let entries = usize::from(u16_at(binary, shape + 2)?);
    Ok((0..entries).map(move |index| begin.saturating_add(index * entry_bytes)))
}

fn u16_at(binary: &[u8], offset: usize) -> Result<u16, Unfit> {
    bytes_at(binary, offset).map(u16::from_le_bytes)
}

fn u32_at(binary: &[u8], offset: usize) -> Result<u32, Unfit> {
    bytes_at(binary, offset).map(u32::from_le_bytes)
}

fn u64_at(binary: &[u8], offset: usize) -> Result<u64, Unfit> {
    bytes_at(binary, offset).map(u64::from_le_bytes)
}

fn bytes_at<const COUNT: usize>(binary: &[u8], offset: usize) -> Result<[u8; COUNT], Unfit> {
    binary
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(Unfit::NotElf)
}

#[cfg(test)]
pub mod testing {
    use super::{Architecture, Profile, Variant};

    pub const X86: Variant = Variant {
        architecture: Architecture::X86,
        profile: Profile::Release,
    };

    /// The headers of a program for x86-64 with one segment of this type (1 is a part to load).
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

    #[test]
    fn a_way_is_the_hosts_or_dockers_on_some_base() {
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
    fn flags_name_no_folder_of_this_machine_in_the_binary() {
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
    fn a_binary_with_its_symbols_is_refused() {
        let with_section = |kind: u32| {
            let mut binary = elf(1);
            let begin = binary.len();
            binary.resize(begin + 64, 0);
            binary[40..48].copy_from_slice(&(begin as u64).to_le_bytes());
            binary[58..62].copy_from_slice(&[64, 0, 1, 0]);
            binary[begin + 4..begin + 8].copy_from_slice(&kind.to_le_bytes());
            check_binary(&binary, Architecture::X86)
        };
        assert_eq!(with_section(2), Err(Unfit::NotStripped));
        assert_eq!(with_section(3), Ok(()));
    }

    #[test]
    fn only_a_static_binary_of_the_right_machine_is_fit() {
        assert_eq!(check_binary(&elf(1), Architecture::X86), Ok(()));
        assert_eq!(
            check_binary(&elf(3), Architecture::X86),
            Err(Unfit::NotStatic)
        );
        let other = check_binary(&elf(1), Architecture::Arm).unwrap_err();
        assert_eq!(other.to_string(), "is made for X86_64, not for ARM64");
        for broken in [&b"#!/bin/sh"[..], b"", &elf(1)[..60]] {
            assert_eq!(check_binary(broken, Architecture::X86), Err(Unfit::NotElf));
        }
    }
}
