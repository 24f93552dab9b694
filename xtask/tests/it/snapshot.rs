//! Texts that are reviewed as files. `UPDATE=1` writes them as they are now.

use std::path::Path;

#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "snapshots are files, and a variable renews them"
)]
pub(crate) fn matches(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let file = folder.join(format!("{name}.txt"));
    if std::env::var("UPDATE").is_ok_and(|it| it == "1") {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let same = expected == text;
    let renew = "UPDATE=1 cargo test -p xtask --test it";
    assert!(
        same,
        "{name} is not as in its file; if that is right: {renew}\n{text}"
    );
}
