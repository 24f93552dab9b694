//! The bill of materials (SBOM) of a program, in the format of `CycloneDX` 1.6. It lists the crates
//! that are linked, without build scripts, macros and tests, then the standard library and the C
//! library, which are linked too. The same inputs give the same document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::decide::artifact::image::{InputFile, Inputs};
use crate::decide::artifact::linked_libc::LinkedLibc;
use crate::decide::artifact::provenance::BuildRecord;
use crate::decide::outputs::Architecture;

/// The arguments of `cargo tree` for the crates that are linked into each program. All components
/// are in one invocation, as in the build, so that features unify the same way.
pub fn tree_arguments(architecture: Architecture, packages: &[&str]) -> Vec<String> {
    let fixed = "tree --locked --offline --prefix depth --edges normal,no-proc-macro --target";
    let format = ["--format", " {p}\t{l}"].map(str::to_owned);
    let packages = packages.iter();
    let packages = packages.map(|name| ["--package".to_owned(), (*name).to_owned()]);
    fixed
        .split(' ')
        .map(str::to_owned)
        .chain([architecture.target().to_owned()])
        .chain(format)
        .chain(packages.flatten())
        .collect()
}

/// Name and version of a crate.
type Crate = (String, String);

/// The dependency graph of `cargo tree`.
#[derive(Debug, Default)]
pub struct CargoTree {
    links: BTreeMap<Crate, BTreeSet<Crate>>,
    licenses: BTreeMap<Crate, String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unexpected line in the output of `cargo tree`: `{0}`")]
pub struct CargoTreeError(String);

impl CargoTree {
    /// Parses lines such as `2 bytes v1.12.2\tMIT`, where the number is the depth. `(*)` marks a
    /// crate whose dependencies are listed at an earlier line.
    pub fn parse(output: &str) -> Result<Self, CargoTreeError> {
        let mut tree = Self::default();
        let mut path: Vec<Crate> = Vec::new();
        for line in output.lines().filter(|line| !line.is_empty()) {
            let (depth, package, license) =
                parse_line(line).ok_or_else(|| CargoTreeError(line.to_owned()))?;
            path.truncate(depth);
            if let Some(parent) = path.last() {
                let links = tree.links.entry(parent.clone()).or_default();
                links.insert(package.clone());
            }
            tree.links.entry(package.clone()).or_default();
            tree.licenses.insert(package.clone(), license);
            path.push(package);
        }
        Ok(tree)
    }

    /// The program and its direct and transitive dependencies.
    fn reached_from(&self, name: &str) -> BTreeSet<&Crate> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&Crate> = self.links.keys().filter(|it| it.0 == name).collect();
        while let Some(package) = next.pop() {
            if reached.insert(package) {
                next.extend(&self.links[package]);
            }
        }
        reached
    }
}

fn parse_line(line: &str) -> Option<(usize, Crate, String)> {
    let (depth, rest) = line.split_once(' ')?;
    let (package, license) = rest.split_once('\t')?;
    let mut words = package.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('v')?.to_owned();
    let license = license.trim_end_matches(" (*)").trim();
    // The syntax for several licenses before SPDX expressions.
    let license = license.replace(" / ", " OR ").replace('/', " OR ");
    Some((depth.parse().ok()?, (name, version), license))
}

/// The SBOM of one program.
pub fn sbom(built: &BuildRecord<'_>, tree: &CargoTree) -> Value {
    let name = built.component.name();
    let checksums = checksums(&text_of(built.inputs, "Cargo.lock"));
    let reached = tree.reached_from(name);
    let (programs, crates): (Vec<&Crate>, Vec<&Crate>) =
        reached.iter().partition(|package| package.0 == name);
    let components = crates.iter().map(|package| {
        let mut component = component("library", package);
        component["licenses"] = json!([{ "expression": tree.licenses[*package] }]);
        // A crate of ours has none, and no purl: in the registry that name may be another's.
        if let Some(checksum) = checksums.get(*package) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
            component["purl"] = component["bom-ref"].clone();
        }
        component
    });
    let below = Below {
        standard: standard_library(built.inputs),
        libc: built.libc.as_ref(),
    };
    let program = programs.first().map(|package| {
        let mut program = component("application", package);
        program["hashes"] = json!([{ "alg": "SHA-256", "content": built.program.hex() }]);
        program["properties"] = json!([
            { "name": "xtask:key", "value": built.key },
            { "name": "xtask:target", "value": built.variant.architecture.target() },
        ]);
        program
    });
    let mut metadata = json!({ "component": program });
    if let Some(labels) = &built.inputs.labels {
        metadata["timestamp"] = json!(labels.created);
    }
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": components.chain(below.components()).collect::<Vec<_>>(),
        "dependencies": below.dependencies(tree, &reached),
    })
}

/// The libraries below all crates.
struct Below<'a> {
    standard: Option<Value>,
    libc: Option<&'a LinkedLibc>,
}

impl Below<'_> {
    fn components(&self) -> impl Iterator<Item = Value> {
        let libc = self.libc.map(libc_component);
        self.standard.clone().into_iter().chain(libc)
    }

    /// Every crate depends on the standard library, and that on the C library.
    fn dependencies(&self, tree: &CargoTree, reached: &BTreeSet<&Crate>) -> Vec<Value> {
        let standard = { self.standard.iter() }.map(|it| it["bom-ref"].clone());
        let of_crates = reached.iter().map(|package| {
            let links = tree.links[*package].iter();
            let links = links.map(|linked| json!(reference(linked)));
            let links: Vec<_> = links.chain(standard.clone()).collect();
            json!({ "ref": reference(package), "dependsOn": links })
        });
        let libc = self.libc.map(LinkedLibc::package_url);
        let of_standard = { standard.clone() }
            .map(|standard| json!({ "ref": standard, "dependsOn": Vec::from_iter(&libc) }));
        let of_libc = { libc.iter() }.map(|libc| json!({ "ref": libc }));
        of_crates.chain(of_standard).chain(of_libc).collect()
    }
}

fn component(kind: &str, package: &Crate) -> Value {
    let (name, version) = package;
    json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": name,
        "version": version,
    })
}

/// The package URL, by which scanners identify a package.
fn reference((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The standard library: linked into every program, but in no lock file.
fn standard_library(inputs: &Inputs) -> Option<Value> {
    let toolchain = text_of(inputs, "rust-toolchain.toml");
    let version = values(&toolchain, "channel").next()?.to_owned();
    let reference = format!("pkg:generic/rust-std@{version}");
    Some(json!({
        "type": "library",
        "bom-ref": reference,
        "name": "rust-std",
        "version": version,
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        "purl": reference,
    }))
}

fn libc_component(libc: &LinkedLibc) -> Value {
    json!({
        "type": "library",
        "bom-ref": libc.package_url(),
        "name": "glibc",
        "version": libc.version,
        "licenses": [{ "expression": "LGPL-2.1-or-later" }],
        "purl": libc.package_url(),
    })
}

/// The checksums of a lock file: SHA-256 of the packed crates.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|package| {
            let value = |key| values(package, key).next().map(str::to_owned);
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}

/// The values of lines such as `key = "value"`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let value = move |line: &'a str| line.strip_prefix(key)?.trim().strip_prefix('=');
    text.lines()
        .filter_map(value)
        .map(|value| value.trim().trim_matches('"'))
}

fn text_of(inputs: &Inputs, path: &str) -> String {
    let file = inputs.files.get(path);
    String::from_utf8_lossy(file.map_or(&[], InputFile::bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::artifact::provenance::testing::{built, inputs};
    use crate::decide::artifact::types::{Digest, Key};

    const TREE: &str = "0 axon v0.1.0 (/somewhere/services/axon)\tMIT\n\
        1 http v1.5.0\tApache-2.0 / MIT\n\
        2 bytes v1.12.2\tMIT\n\
        1 bytes v1.12.2\tMIT\n\
        \n\
        0 orbit v0.1.0 (/somewhere/services/orbit)\tMIT\n\
        1 http v1.5.0\tApache-2.0 / MIT (*)\n\
        1 ring v0.17.14\tApache-2.0 AND ISC\n";

    const RUST_STD: &str = "pkg:generic/rust-std@1.95.0";
    const GLIBC: &str = "pkg:deb/debian/glibc@2.36-9%2Bdeb12u14?arch=source";

    fn of(tree: &str) -> Value {
        let (key, digest) = (Key("5".repeat(64)), Digest::of(b"a program"));
        let inputs = inputs(true);
        let text = b"GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\n";
        let built = BuildRecord {
            libc: LinkedLibc::find(text),
            ..built(&inputs, &key, &digest)
        };
        sbom(&built, &CargoTree::parse(tree).unwrap())
    }

    #[test]
    fn an_sbom_lists_what_the_program_links_and_nothing_else() {
        let sbom = of(TREE);
        let names: Vec<&str> = sbom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["bom-ref"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "pkg:cargo/bytes@1.12.2",
                "pkg:cargo/http@1.5.0",
                RUST_STD,
                GLIBC,
            ]
        );
        let program = &sbom["metadata"]["component"];
        assert_eq!(program["bom-ref"], "pkg:cargo/axon@0.1.0");
        assert_eq!(
            program["hashes"][0]["content"],
            Digest::of(b"a program").hex()
        );
        assert_eq!(sbom["metadata"]["timestamp"], "2026-01-02T03:04:05+00:00");
        assert!(!sbom.to_string().contains("/somewhere"), "{sbom}");
    }

    #[test]
    fn a_crate_has_its_license_checksum_and_dependencies() {
        let sbom = of(TREE);
        let bytes = &sbom["components"][0];
        assert_eq!(bytes["hashes"][0]["content"], "ab12");
        assert_eq!(
            sbom["components"][1]["licenses"][0]["expression"],
            "Apache-2.0 OR MIT"
        );
        let axon = &sbom["dependencies"][0];
        assert_eq!(axon["ref"], "pkg:cargo/axon@0.1.0");
        assert_eq!(
            axon["dependsOn"],
            json!(["pkg:cargo/bytes@1.12.2", "pkg:cargo/http@1.5.0", RUST_STD])
        );
    }

    #[test]
    fn the_c_library_hangs_at_the_standard_library() {
        let sbom = of(TREE);
        let links = sbom["dependencies"].as_array().unwrap();
        let of = |reference: &Value| links.iter().find(|it| it["ref"] == *reference).unwrap();
        assert_eq!(of(&json!(RUST_STD))["dependsOn"], json!([GLIBC]));
        let components = sbom["components"].as_array().unwrap();
        for component in components {
            of(&component["bom-ref"]);
        }
        assert_eq!(components.last().unwrap()["version"], "2.36-9+deb12u14");
    }

    #[test]
    fn a_crate_of_ours_is_no_package_of_the_registry() {
        let sbom = of(TREE);
        assert_eq!(sbom["metadata"]["component"]["purl"], Value::Null);
        assert_eq!(sbom["components"][0]["purl"], "pkg:cargo/bytes@1.12.2");
    }

    #[test]
    fn a_repeated_crate_keeps_its_dependencies() {
        let tree = CargoTree::parse(TREE).unwrap();
        let names = |root| -> Vec<String> {
            let reached = tree.reached_from(root).into_iter();
            reached.map(|package| package.0.clone()).collect()
        };
        assert_eq!(names("orbit"), ["bytes", "http", "orbit", "ring"]);
    }

    #[test]
    fn an_unexpected_line_is_an_error() {
        let error = CargoTree::parse("error: no such package").unwrap_err();
        assert!(error.to_string().contains("no such package"), "{error}");
    }
}
