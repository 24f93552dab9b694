//! How services and function are compiled, and whether what came out can run in an empty image.

use std::path::Path;
use std::str::FromStr;

use crate::decide::provenance::BuilderKind;
use crate::decide::site::Architecture;

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The Rust of this machine.
    Host,
    /// The Docker engine, by `services/Dockerfile`, on the base that it names or on another one.
    Docker { base: Option<String> },
}

impl Way {
    pub fn kind(&self) -> BuilderKind {
        match self {
            Self::Host => BuilderKind::Host,
            Self::Docker { .. } => BuilderKind::Docker,
        }
    }
}

impl FromStr for Way {
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

/// Cargo's arguments: one invocation for all things, whichever is asked for, so that they are
/// compiled with the same features and nothing is compiled twice.
pub fn cargo_arguments(architecture: Architecture, packages: &[&str]) -> Vec<String> {
    // Always with a target: without it the flags would reach build scripts and macros too.
    let fixed = ["build", "--release", "--locked", "--target"].map(str::to_owned);
    let packages = packages
        .iter()
        .map(|name| ["--package".to_owned(), (*name).to_owned()]);
    fixed
        .into_iter()
        .chain([architecture.target().to_owned()])
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
}

/// Reads the ELF headers of a binary: it must be of the architecture, and need no loader.
pub fn check_binary(binary: &[u8], architecture: Architecture) -> Result<(), Unfit> {
    const PT_INTERP: u32 = 3;
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
    let table = usize::try_from(u64_at(binary, 32)?).map_err(|_| Unfit::NotElf)?;
    let entry_bytes = usize::from(u16_at(binary, 54)?);
    for index in 0..usize::from(u16_at(binary, 56)?) {
        let entry = table.saturating_add(index * entry_bytes);
        if u32_at(binary, entry)? == PT_INTERP {
            return Err(Unfit::NotStatic);
        }
    }
    Ok(())
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
        let docker = |base: Option<&str>| Way::Docker {
            base: base.map(str::to_owned),
        };
        assert_eq!("host".parse(), Ok(Way::Host));
        assert_eq!("docker".parse(), Ok(docker(None)));
        assert_eq!("docker=ours:1".parse(), Ok(docker(Some("ours:1"))));
        for unknown in ["", "Docker", "docker=", "host=ours"] {
            assert!(unknown.parse::<Way>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn all_things_are_compiled_by_one_invocation() {
        assert_eq!(
            cargo_arguments(Architecture::Arm, &["governance", "axon", "orbit"]).join(" "),
            "build --release --locked --target aarch64-unknown-linux-gnu \
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
