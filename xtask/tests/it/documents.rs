//! What the READMEs say about the code is true of the code.

use std::collections::BTreeSet;
use std::path::Path;

use crate::rules::{SourceFile, sources};

fn source(folder: &str) -> String {
    let files = sources(&[&format!("services/{folder}/src")], ".rs");
    let code: Vec<String> = files.iter().map(SourceFile::code).collect();
    code.join("\n")
}

fn document(folder: &str, name: &str) -> String {
    sources(&[&format!("services/{folder}")], name)
        .remove(0)
        .text
}

#[test]
fn every_route_is_in_the_readme_and_in_the_openapi_document() {
    for folder in ["axon", "orbit"] {
        let readme = document(folder, "README.md");
        let openapi: serde_json::Value =
            serde_json::from_str(&document(folder, "openapi.json")).unwrap();
        let code = source(folder);
        let paths_after = |call: &str| -> Vec<&str> {
            let routes = code.split(call).skip(1);
            routes.filter_map(|rest| rest.split('"').next()).collect()
        };
        let signed = paths_after(".signed(\"");
        let paths: BTreeSet<&str> = [paths_after(".open(\""), signed.clone()]
            .concat()
            .into_iter()
            .collect();
        assert!(paths.contains("/health"));
        for path in &paths {
            assert!(
                readme.contains(&format!(" {path}`")),
                "{folder}/README.md lacks {path}"
            );
            let mut operations = { openapi["paths"][path].as_object() }.unwrap().values();
            let refuses = operations.any(|it| it["responses"].get("401").is_some());
            assert_eq!(refuses, signed.contains(path), "401 of {folder}{path}");
        }
        let documented = openapi["paths"].as_object().unwrap().keys();
        assert_eq!(
            documented.map(String::as_str).collect::<BTreeSet<_>>(),
            paths
        );
    }
}

/// A status that the document has and the README does not, or the other way round, would be a
/// failure that is never looked for.
#[test]
fn every_status_of_the_openapi_document_is_in_a_readme() {
    let kit = document("kit", "README.md");
    for folder in ["axon", "orbit"] {
        let readmes = document(folder, "README.md") + &kit;
        let openapi: serde_json::Value =
            serde_json::from_str(&document(folder, "openapi.json")).unwrap();
        for (path, item) in openapi["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    assert!(
                        readmes.contains(status.as_str()),
                        "{folder}: {path}: {status}"
                    );
                }
            }
        }
    }
}

/// The texts in backquotes of a document, without those in blocks of code.
fn quoted(document: &str) -> Vec<String> {
    let prose = document.lines().filter(|line| !line.starts_with("    "));
    let prose: Vec<&str> = prose.collect();
    let quoted = prose.join("\n");
    let quoted = quoted.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

fn is_path(quoted: &str) -> bool {
    let endings = [
        ".rs", ".md", ".json", ".toml", ".tf", ".hcl", ".yml", ".txt",
    ];
    let is_word = !quoted.contains([' ', ':']);
    is_word && (quoted.contains('/') || endings.iter().any(|ending| quoted.ends_with(ending)))
}

/// A file's name alone is one of the driver's; a path is below the repository's root, the driver's
/// folder or its sources. Of a path with a `NAME` in it the folder exists.
fn exists(path: &str) -> bool {
    if !path.contains('/') && !sources(&["xtask"], path).is_empty() {
        return true;
    }
    let path = match path.split_once("NAME") {
        Some((before, _)) => before.rsplit_once('/').map_or("", |(folder, _)| folder),
        None => path,
    };
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [driver.join(".."), driver.to_owned(), driver.join("src")];
    folders.iter().any(|folder| folder.join(path).exists())
}

/// `update_service` and `UpdateService` are the same name.
fn same_name(word: &str) -> String {
    word.replace('_', "").to_lowercase()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words.filter(|word| !word.is_empty()).map(same_name)
}

#[test]
fn what_the_drivers_readme_names_exists() {
    let readme = sources(&["xtask"], "README.md").remove(0);
    assert_eq!(readme.path, "xtask/README.md");
    let code = sources(&["xtask"], ".rs");
    let code = code
        .iter()
        .filter(|file| !file.path.ends_with("documents.rs"));
    let known: BTreeSet<String> = code.flat_map(|file| words(&file.text)).collect();
    let (paths, names): (Vec<_>, Vec<_>) = quoted(&readme.text)
        .into_iter()
        .partition(|quoted| is_path(quoted));
    assert!(paths.len() > 30 && names.len() > 50);
    let missing: Vec<_> = paths.iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "no such files: {missing:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !words(name).all(|word| known.contains(&word)))
        .collect();
    assert!(missing.is_empty(), "no such names in the code: {missing:?}");
}
