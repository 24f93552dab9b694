//! What any image has, for lint: its configuration, and the files of all its layers. Reads what
//! `docker save` writes, and a layout of OCI.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::decide::artifact::archive::ArchiveError;
use crate::decide::artifact::scan;
use crate::decide::artifact::types::ImageFacts;
use crate::decide::definition::credential::is_credential;
use crate::decide::outputs::Architecture;

/// A link may lead to a link: `/bin/sh`, by way of `/usr/bin`, to `dash`.
const LINKS_MAX: usize = 4;

/// How much of a file, and of all files, is searched for secrets: those of configuration and keys
/// are near the beginning, and more takes long.
const SEARCHED_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const SEARCHED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How much of a file is in memory at once, and how much of that is searched again with what
/// follows: no secret is longer.
const WINDOW_BYTES: u64 = 64 * 1024;
const OVERLAP_BYTES: usize = 4 * 1024;

/// The files of an archive, or of the folder that it was unpacked into.
pub type LayoutFiles = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RunSettings {
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
}

/// What the layers hold.
#[derive(Debug, Default)]
struct Layers {
    nodes: BTreeMap<String, ImageNode>,
    setuid: BTreeSet<String>,
    /// Of files that an upper layer removes too: whoever has the image reads them.
    leaks: Vec<String>,
    bytes: u64,
    searched_bytes: u64,
    unread: usize,
}

/// What is at a path of the image.
#[derive(Debug, Clone)]
enum ImageNode {
    File { is_executable: bool },
    Link(String),
}

/// The files of an archive.
pub fn unpacked(archive: &[u8]) -> Result<LayoutFiles, ArchiveError> {
    let mut files = LayoutFiles::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = normal(&entry.path()?.to_string_lossy());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(path, bytes);
    }
    Ok(files)
}

/// What lint has to know about the image.
pub fn facts(files: &LayoutFiles) -> Result<ImageFacts, ArchiveError> {
    let (config, layers) = parts(files)?;
    let config: Value = serde_json::from_slice(get(files, &config)?)?;
    let architecture = match config["architecture"].as_str() {
        Some("amd64") => Architecture::X86,
        Some("arm64") => Architecture::Arm,
        other => {
            let name = other.unwrap_or("none").to_owned();
            return Err(ArchiveError::Missing(format!(
                "architecture that ECS has: {name}"
            )));
        }
    };
    let settings: RunSettings = match config.get("config").filter(|it| !it.is_null()) {
        Some(settings) => serde_json::from_value(settings.clone())?,
        None => RunSettings::default(),
    };
    let mut found = Layers::default();
    for layer in layers {
        add_layer(get(files, &layer)?, &mut found)?;
    }
    let variables = settings.env.unwrap_or_default();
    let variables = variables.iter().filter_map(|it| it.split_once('='));
    let secret = variables.filter(|(name, value)| is_credential(name, value));
    found
        .leaks
        .extend(secret.map(|(name, _)| format!("the variable {name}")));
    let (files, not_executable) = resolved(found.nodes);
    Ok(ImageFacts {
        user: settings.user.unwrap_or_default(),
        architecture,
        files,
        not_executable,
        entrypoint: settings.entrypoint.unwrap_or_default(),
        command: settings.cmd.unwrap_or_default(),
        setuid: found.setuid.into_iter().collect(),
        leaks: found.leaks,
        bytes: found.bytes,
        layers_unread: found.unread,
    })
}

fn get<'a>(files: &'a LayoutFiles, path: &str) -> Result<&'a [u8], ArchiveError> {
    let found = files.get(path).map(Vec::as_slice);
    found.ok_or_else(|| ArchiveError::Missing(path.to_owned()))
}

/// The paths of the configuration and of the layers, the lowest first.
fn parts(files: &LayoutFiles) -> Result<(String, Vec<String>), ArchiveError> {
    let texts = |list: &Value, of: &dyn Fn(&Value) -> Option<String>| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(of).collect()
    };
    let path = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(manifest) = files.get("manifest.json") {
        let manifest: Value = serde_json::from_slice(manifest)?;
        let config = path(&manifest[0]["Config"]);
        let config = config.ok_or_else(|| ArchiveError::Missing("configuration".to_owned()))?;
        return Ok((config, texts(&manifest[0]["Layers"], &path)));
    }
    let blob = |part: &Value| {
        let digest = part["digest"].as_str()?;
        Some(format!("blobs/{}", digest.replace(':', "/")))
    };
    let mut document: Value = serde_json::from_slice(get(files, "index.json")?)?;
    // An index may lead to an index, and lists attestations of no platform beside images.
    while let Some(manifests) = document["manifests"].as_array() {
        let is_image = |it: &&Value| it["platform"]["os"].as_str() != Some("unknown");
        let image = manifests.iter().find(is_image).and_then(blob);
        let image = image.ok_or_else(|| ArchiveError::Missing("manifest".to_owned()))?;
        document = serde_json::from_slice(get(files, &image)?)?;
    }
    let config = blob(&document["config"]);
    let config = config.ok_or_else(|| ArchiveError::Missing("configuration".to_owned()))?;
    Ok((config, texts(&document["layers"], &blob)))
}

fn add_layer(layer: &[u8], found: &mut Layers) -> Result<(), ArchiveError> {
    let reader: Box<dyn Read + '_> = match layer {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(layer)),
        // Compressed by zstd.
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            found.unread += 1;
            return Ok(());
        }
        _ => Box::new(layer),
    };
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let path = normal(&entry.path()?.to_string_lossy());
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(gone) = name.strip_prefix(".wh.") {
            let is_all = gone == ".wh..opq";
            let gone = normal(&format!("{folder}/{gone}"));
            let below = if is_all {
                format!("{folder}/")
            } else {
                format!("{gone}/")
            };
            found
                .nodes
                .retain(|path, _| *path != gone && !path.starts_with(&below));
            continue;
        }
        let header = entry.header();
        let node = match header.entry_type() {
            tar::EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default();
                let target = target.to_string_lossy();
                let is_absolute = target.starts_with('/');
                let target = if is_absolute {
                    target.into_owned()
                } else {
                    format!("{folder}/{target}")
                };
                ImageNode::Link(normal(&target))
            }
            kind if kind.is_file() || kind.is_hard_link() => {
                let (mode, size) = (header.mode()?, header.size()?);
                found.bytes = found.bytes.saturating_add(size);
                if mode & 0o6000 != 0 {
                    found.setuid.insert(path.clone());
                }
                let left = SEARCHED_BYTES_MAX.saturating_sub(found.searched_bytes);
                let searched = size.min(SEARCHED_FILE_BYTES_MAX).min(left);
                found.searched_bytes += searched;
                let kinds = search((&mut entry).take(searched))?.into_iter();
                found
                    .leaks
                    .extend(kinds.map(|kind| format!("{kind} in /{path}")));
                ImageNode::File {
                    is_executable: mode & 0o111 != 0,
                }
            }
            _ => continue,
        };
        found.nodes.insert(path, node);
    }
    Ok(())
}

/// The kinds of secrets in a file, of which a part at a time is in memory.
fn search(mut file: impl Read) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut window = Vec::new();
    while (&mut file).take(WINDOW_BYTES).read_to_end(&mut window)? > 0 {
        let leaks = scan::scan(&window, &BTreeMap::new()).into_iter();
        found.extend(leaks.map(|leak| leak.what));
        window.drain(..window.len().saturating_sub(OVERLAP_BYTES));
    }
    Ok(found)
}

/// All paths of files, by links as well, and those of files that cannot be run.
fn resolved(mut nodes: BTreeMap<String, ImageNode>) -> (Vec<String>, Vec<String>) {
    let links: Vec<(String, String)> = nodes
        .iter()
        .filter_map(|(path, node)| match node {
            ImageNode::Link(target) => Some((path.clone(), target.clone())),
            ImageNode::File { .. } => None,
        })
        .collect();
    for _ in 0..LINKS_MAX {
        for (path, target) in &links {
            if let Some(node @ ImageNode::File { .. }) = nodes.get(target).cloned() {
                nodes.insert(path.clone(), node);
                continue;
            }
            let folder = format!("{target}/");
            let below = nodes.range(folder.clone()..);
            let below = below.take_while(|(path, _)| path.starts_with(&folder));
            let aliases: Vec<(String, ImageNode)> = below
                .map(|(found, node)| (format!("{path}/{}", &found[folder.len()..]), node.clone()))
                .collect();
            nodes.extend(aliases);
        }
    }
    let mut not_executable = BTreeSet::new();
    let mut files = Vec::new();
    for (path, node) in nodes {
        if let ImageNode::File { is_executable } = node {
            if !is_executable {
                not_executable.insert(path.clone());
            }
            files.push(path);
        }
    }
    (files, not_executable.into_iter().collect())
}

/// A path relative to the root, without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A layer: a path, and its mode or the target of a link.
    fn layer(entries: &[(&str, Result<u32, &str>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, entry) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            match entry {
                Ok(mode) => {
                    header.set_mode(*mode);
                    builder.append_data(&mut header, path, io::empty()).unwrap();
                }
                Err(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    builder.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    fn saved(layers: &[Vec<u8>]) -> LayoutFiles {
        let names: Vec<String> = (0..layers.len())
            .map(|index| format!("{index}.tar"))
            .collect();
        let config = json!({ "architecture": "arm64", "config": { "User": "app", "Cmd": ["sh"], "Env": ["API_KEY=x", "PATH=/bin"] } });
        let manifest = json!([{ "Config": "config.json", "Layers": names }]);
        let mut files: LayoutFiles = names.into_iter().zip(layers.iter().cloned()).collect();
        files.insert("config.json".into(), config.to_string().into());
        files.insert("manifest.json".into(), manifest.to_string().into());
        files
    }

    #[test]
    fn files_are_those_of_all_layers_by_links_too() {
        let lower = layer(&[
            ("bin", Err("usr/bin")),
            ("usr/bin/dash", Ok(0o755)),
            ("usr/bin/sh", Err("dash")),
            ("etc/a", Ok(0o644)),
            ("tmp/old", Ok(0o644)),
        ]);
        let upper = layer(&[
            ("etc/.wh.a", Ok(0o644)),
            ("tmp/.wh..wh..opq", Ok(0)),
            ("app", Ok(0o644)),
        ]);
        let facts = facts(&saved(&[lower, upper])).unwrap();
        assert_eq!(
            facts.files,
            ["app", "bin/dash", "bin/sh", "usr/bin/dash", "usr/bin/sh"]
        );
        assert_eq!(facts.not_executable, ["app"]);
        assert_eq!(
            (facts.user.as_str(), facts.architecture),
            ("app", Architecture::Arm)
        );
        assert_eq!(
            (facts.entrypoint, facts.command),
            (vec![], vec!["sh".to_owned()])
        );
    }

    #[test]
    fn secrets_and_files_that_run_as_their_owner_are_found() {
        let mut builder = tar::Builder::new(Vec::new());
        let key = format!("AKIA{}", "A".repeat(16));
        let mut header = tar::Header::new_gnu();
        header.set_size(key.len() as u64);
        header.set_mode(0o600);
        builder
            .append_data(&mut header, "srv/.aws/credentials", key.as_bytes())
            .unwrap();
        let secrets = builder.into_inner().unwrap();
        let su = layer(&[("bin/su", Ok(0o4755)), ("bin/sh", Ok(0o755))]);
        let facts = facts(&saved(&[su, secrets])).unwrap();
        assert_eq!(facts.setuid, ["bin/su"]);
        let expected = [
            "an AWS access key in /srv/.aws/credentials",
            "the variable API_KEY",
        ];
        assert_eq!(facts.leaks, expected);
        assert_eq!(facts.bytes, 20);
    }

    #[test]
    fn large_files_are_searched_across_windows() {
        let key = format!(" AKIA{} ", "A".repeat(16));
        let end = usize::try_from(WINDOW_BYTES).unwrap();
        for at in [0, end - 10, end, 3 * end + 1] {
            let mut file = vec![b' '; 4 * end];
            file.splice(at..at + key.len(), key.bytes());
            let found = search(file.as_slice()).unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), ["an AWS access key"]);
        }
        let example = search(&b" AKIAIOSFODNN7EXAMPLE "[..]).unwrap();
        assert!(example.is_empty(), "{example:?}");
    }

    #[test]
    fn a_layout_of_oci_is_read() {
        let blob = |name: &str| json!({ "digest": format!("sha256:{name}") });
        let mut attested = blob("none");
        attested["platform"] = json!({ "os": "unknown" });
        let files: LayoutFiles = [
            ("index.json", json!({ "manifests": [blob("index")] })),
            (
                "blobs/sha256/index",
                json!({ "manifests": [attested, blob("manifest")] }),
            ),
            (
                "blobs/sha256/manifest",
                json!({ "config": blob("config"), "layers": [] }),
            ),
            (
                "blobs/sha256/config",
                json!({ "architecture": "amd64", "config": null }),
            ),
        ]
        .map(|(path, document)| (path.to_owned(), document.to_string().into()))
        .into();
        let facts = facts(&files).unwrap();
        assert_eq!((facts.user.as_str(), facts.files.len()), ("", 0));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = |files: &LayoutFiles| facts(files).unwrap_err().to_string();
        assert_eq!(error(&LayoutFiles::new()), "the archive has no index.json");
        let zstd = facts(&saved(&[vec![0x28, 0xb5, 0x2f, 0xfd]])).unwrap();
        assert_eq!((zstd.layers_unread, zstd.user.as_str()), (1, "app"));
        assert!(unpacked(b"no archive").is_err());
    }
}
