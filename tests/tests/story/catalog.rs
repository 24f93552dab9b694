//! A third service and a second function: they come, are called, fail, are retired and come back.

use std::path::PathBuf;

use e2e::{CheckoutCopy, eventually, request};
use serde_json::{Value, json};

use crate::{Story, base_url, dispatches_are_answered, revision, status};

const CATALOG: &str = "services/catalog.json";
const SETTINGS: &str = "services/scout/settings.json";
/// The sources of a service that calls axon, in the place of those that `new` writes.
const SCOUT: [(&str, &str); 4] = [
    ("lib", include_str!("scout/lib.rs")),
    ("main", include_str!("scout/main.rs")),
    ("routes", include_str!("scout/routes.rs")),
    ("settings", include_str!("scout/settings.rs")),
];
const AXON_URL: &str = "http://axon.${NAMESPACE}/reason";
/// At most so many files that were there before change, `Cargo.lock` included.
const CHANGED_FILES_MAX: usize = 10;

/// From one command each to an answered request: scout calls axon, signed, and limits answers its
/// check.
pub(crate) fn third_service(story: &Story) {
    let checkout = story.deployed();
    write_both(checkout);
    a_first_release_fails(checkout);
    let ran = checkout.xtask(&["deploy"]);
    let released = ["limits", "rolled out demo-scout:", "answered 200"];
    ran.expect(0, &released);
    assert_eq!(
        status(checkout)["services"]["scout"]["running"],
        Value::from(2)
    );
    assert_ne!(
        status(checkout)["functions"]["limits"]["release"],
        Value::Null
    );
    scout_is_answered(checkout);
    dispatches_are_answered(checkout);
    checkout.xtask(&["deploy"]).expect(0, &["nothing to do"]);
    nothing_is_left_to_apply(checkout);
}

/// Nothing of scout runs after that, and the others run as before.
fn a_first_release_fails(checkout: &CheckoutCopy) {
    let before = ["axon", "orbit"].map(|service| revision(checkout, service));
    checkout.set_in_template("scout", "METRICS_NAMESPACE", "AWS/demo");
    checkout
        .xtask(&["deploy"])
        .expect(20, &["METRICS_NAMESPACE", "scout"]);
    let scout = &status(checkout)["services"]["scout"];
    assert_eq!(
        (&scout["desired"], &scout["running"], &scout["release"]),
        (&Value::from(0), &Value::from(0), &Value::Null)
    );
    let after = ["axon", "orbit"].map(|service| revision(checkout, service));
    assert_eq!(before, after);
    dispatches_are_answered(checkout);
    checkout.set_in_template("scout", "METRICS_NAMESPACE", "${PROJECT_NAME}");
}

/// A third service that cannot start takes the others back with it.
pub(crate) fn broken_third_service(story: &Story) {
    let checkout = with_both(story);
    let before = ["axon", "scout"].map(|service| revision(checkout, service));
    checkout.set_in_template("axon", "RUST_LOG", "info,axon=trace");
    checkout.set_in_template("scout", "METRICS_NAMESPACE", "AWS/demo");
    let explained = [
        "exit code",
        "METRICS_NAMESPACE",
        &format!("axon        rolled back to {}", before[0]),
        &format!("scout       rolled back to {}", before[1]),
    ];
    checkout.xtask(&["deploy"]).expect(20, &explained);
    let after = ["axon", "scout"].map(|service| revision(checkout, service));
    assert_eq!(before, after);
    scout_is_answered(checkout);
    checkout.undo_edits();
}

/// Out of service and back: what is not retired cannot be deleted, what is retired ends after the
/// others were released, and what was deleted can be made again.
pub(crate) fn retirement(story: &Story) {
    let checkout = with_both(story);
    let both = BothComponents::of(checkout);

    let before = newest_release(checkout);
    BothComponents::delete(checkout);
    let refused = ["terraform would destroy", "limits", "scout", "which runs"];
    checkout.xtask(&["deploy"]).expect(11, &refused);
    assert_eq!(newest_release(checkout), before);
    scout_is_answered(checkout);
    both.restore(checkout);

    for name in ["scout", "limits"] {
        edit_entry(checkout, name, |entry| entry["retired"] = json!(true));
    }
    let retired = ["scout       will be retired", "limits      will be retired"];
    checkout.xtask(&["deploy"]).expect(0, &retired);
    assert_eq!(status(checkout)["services"].get("scout"), None);
    let answer = request("GET", &format!("{}/scout", base_url(checkout)), &[], "");
    assert_eq!(answer.expect("orbit's answer").status, 404);
    dispatches_are_answered(checkout);
    nothing_is_left_to_apply(checkout);

    BothComponents::delete(checkout);
    checkout.xtask(&["deploy"]).expect(0, &[]);
    nothing_is_left_to_apply(checkout);

    both.restore(checkout);
    checkout
        .xtask(&["deploy"])
        .expect(0, &["rolled out demo-scout:"]);
    scout_is_answered(checkout);
    dispatches_are_answered(checkout);
    nothing_is_left_to_apply(checkout);
}

/// The deployed checkout with both, whatever ran before.
pub(crate) fn with_both(story: &Story) -> &CheckoutCopy {
    let checkout = story.deployed();
    if !checkout.root().join("services/scout").exists() {
        third_service(story);
        checkout.keep_edits();
    }
    checkout
}

fn write_both(checkout: &CheckoutCopy) {
    let before = checkout.changed_files();
    checkout
        .xtask(&["new", "service", "scout"])
        .expect(0, &["services/scout/src/lib.rs", "cargo xtask deploy"]);
    checkout
        .xtask(&["new", "function", "limits"])
        .expect(0, &["services/limits/src/lib.rs"]);
    for (name, text) in SCOUT {
        checkout.write(&format!("services/scout/src/{name}.rs"), text);
    }
    // What a test of scout writes, too, as its program prints it.
    let mut settings: Value = serde_json::from_str(&checkout.read(SETTINGS)).expect("JSON");
    let known = settings.as_array_mut().expect("a list");
    for (name, kind) in [("AXON_SERVICE_URL", "url"), ("AXON_CONNECT_TO", "text")] {
        known.push(json!({ "name": name, "type": kind, "required": kind == "url" }));
    }
    checkout.write(SETTINGS, &format!("{settings:#}\n"));
    edit_entry(checkout, "scout", |entry| {
        entry["calls"] = json!([{ "service": "axon", "path": "/reason" }]);
    });
    checkout.set_in_template("scout", "AXON_SERVICE_URL", AXON_URL);
    let is_changed = |line: &&str| line.starts_with(" M") && !before.contains(*line);
    let after = checkout.changed_files();
    let changed: Vec<&str> = after.lines().filter(is_changed).collect();
    assert!(changed.len() <= CHANGED_FILES_MAX, "{changed:?}");
    checkout.xtask(&["lint"]).expect(0, &["no findings"]);
}

/// Changes one entry of the catalog.
fn edit_entry(checkout: &CheckoutCopy, name: &str, edit: impl FnOnce(&mut Value)) {
    let mut catalog: Value = serde_json::from_str(&checkout.read(CATALOG)).expect("JSON");
    let entries = catalog["components"].as_array_mut().expect("a list");
    let entry = entries.iter_mut().find(|it| it["name"] == name);
    edit(entry.expect("its entry"));
    checkout.write(CATALOG, &format!("{catalog:#}\n"));
}

/// Axon's answer comes through scout, by a call whose signature axon has verified.
fn scout_is_answered(checkout: &CheckoutCopy) {
    let url = format!("{}/scout", base_url(checkout));
    let id = format!("scout-{}", newest_release(checkout));
    let answer = request("GET", &url, &[("X-Correlation-ID", &id)], "").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("Axon heartbeat OK"), "{answer:?}");
    let is_verified = |line: &str| line.contains(&id) && line.contains("\"signature\":\"valid\"");
    eventually("axon has verified the signature of scout", || {
        let log = checkout.xtask(&["logs", "axon", "--since", "1m"]).stdout;
        log.lines().any(is_verified)
    });
}

fn newest_release(checkout: &CheckoutCopy) -> u64 {
    let number = &status(checkout)["newest_release"]["number"];
    number.as_u64().expect("a number")
}

fn nothing_is_left_to_apply(checkout: &CheckoutCopy) {
    let planned = checkout.terraform_plan();
    assert!(planned.contains("No changes."), "{planned}");
}

/// What the checkout has of scout and limits, to remove and restore it.
struct BothComponents {
    shared: Vec<(&'static str, String)>,
}

impl BothComponents {
    /// Files and folders that are theirs alone.
    const OWN: [&str; 3] = [
        "services/scout",
        "services/limits",
        "task-definitions/scout.json",
    ];

    fn of(checkout: &CheckoutCopy) -> Self {
        let shared = ["Cargo.toml", "Cargo.lock", CATALOG];
        Self {
            shared: shared.map(|path| (path, checkout.read(path))).into(),
        }
    }

    fn delete(checkout: &CheckoutCopy) {
        let removed = folder_of_removed(checkout);
        std::fs::create_dir_all(&removed).expect("a folder for what is removed");
        for path in Self::OWN {
            let name = path.replace('/', "-");
            std::fs::rename(checkout.root().join(path), removed.join(name)).expect("remove it");
        }
        for member in [", \"services/scout\"", ", \"services/limits\""] {
            checkout.edit("Cargo.toml", member, "");
        }
        let mut catalog: Value = serde_json::from_str(&checkout.read(CATALOG)).expect("JSON");
        let entries = catalog["components"].as_array_mut().expect("a list");
        entries.retain(|it| it["name"] != "scout" && it["name"] != "limits");
        checkout.write(CATALOG, &format!("{catalog:#}\n"));
        checkout.update_lock_file();
    }

    fn restore(&self, checkout: &CheckoutCopy) {
        let removed = folder_of_removed(checkout);
        for path in Self::OWN {
            let name = path.replace('/', "-");
            std::fs::rename(removed.join(name), checkout.root().join(path)).expect("restore it");
        }
        for (path, text) in &self.shared {
            checkout.write(path, text);
        }
    }
}

fn folder_of_removed(checkout: &CheckoutCopy) -> PathBuf {
    checkout.root().join("target/removed")
}
