//! The main job from its beginning to its end, in chapters. They share one checkout and one local
//! AWS, and run in this order; each fails by itself, and can be run alone by its name.

mod catalog;
mod deploy;
mod environments;
mod health;
mod interruption;
mod local_aws;
mod refusals;
mod rollback;
mod rotation;
mod verify;
mod workflows;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use e2e::{CheckoutCopy, eventually, request};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

type Chapter = fn(&Story);

const CHAPTERS: [(&str, Chapter); 29] = [
    ("first_deploy", deploy::first_deploy),
    ("overlay", health::overlay),
    ("door", health::door),
    ("verify", verify::verify),
    ("nothing_to_do", deploy::nothing_to_do),
    ("workflows", workflows::workflows),
    ("refusals_of_input", refusals::input),
    ("refusals_of_a_bundle", refusals::bundle),
    ("refusals_of_a_locked_state", refusals::locked_state),
    ("refusals_of_another_account", refusals::another_account),
    ("change", deploy::change),
    ("broken_image", deploy::broken_image),
    ("never_listens", health::never_listens),
    ("rollback", rollback::rollback),
    ("interruption", deploy::interruption),
    ("killed", interruption::killed),
    ("blackout", interruption::blackout),
    ("hotfix", interruption::hotfix),
    ("cleanup", rollback::cleanup),
    ("wrong_health_check", health::wrong_health_check),
    ("crash_of_the_local_aws", local_aws::crash),
    ("stop", rollback::stop),
    ("restart_of_the_local_aws", local_aws::restart),
    ("third_service", catalog::third_service),
    ("broken_third_service", catalog::broken_third_service),
    ("rotation", rotation::rotation),
    ("retirement", catalog::retirement),
    ("second_environment", environments::second_environment),
    ("down", local_aws::down),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1); // for the order, and because they share a local AWS
    let story = Arc::new(Story::default());
    let trials = CHAPTERS.map(|(name, chapter)| {
        let story = Arc::clone(&story);
        Trial::test(name, move || {
            story.run(chapter);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    drop(story); // stops the local AWS, whatever the chapters left running
    conclusion.exit_code()
}

/// What the chapters share.
struct Story {
    checkout: LazyLock<CheckoutCopy>,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            checkout: LazyLock::new(|| CheckoutCopy::fresh("story")),
        }
    }
}

impl Story {
    /// Runs a chapter. If it passes, its edits of the checkout stay; if not, they are undone.
    fn run(&self, chapter: Chapter) {
        let ended = catch_unwind(AssertUnwindSafe(|| chapter(self)));
        match ended {
            Ok(()) => self.checkout.keep_edits(),
            Err(panic) => {
                self.checkout.undo_edits();
                resume_unwind(panic);
            }
        }
    }

    /// The checkout with all that is in it deployed, whatever ran before.
    fn deployed(&self) -> &CheckoutCopy {
        let checkout = &*self.checkout;
        if checkout.xtask(&["deploy"]).code != Some(0) {
            // An earlier chapter failed, and left a state from which no deploy goes on.
            checkout.xtask(&["local", "reset"]).expect(0, &[]);
            checkout.xtask(&["deploy"]).expect(0, &["answered 200"]);
        }
        checkout
    }
}

fn status(checkout: &CheckoutCopy) -> Value {
    checkout.json(&["status"])
}

/// The revision that a service runs.
fn revision(checkout: &CheckoutCopy, service: &str) -> String {
    let revision = &status(checkout)["services"][service]["revision"];
    revision.as_str().expect("a revision").to_owned()
}

fn releases(checkout: &CheckoutCopy) -> Vec<Value> {
    let releases = checkout.json(&["releases"]);
    releases.as_array().expect("a list").clone()
}

fn base_url(checkout: &CheckoutCopy) -> String {
    let url = &status(checkout)["base_url"];
    url.as_str().expect("a base_url").to_owned()
}

/// A dispatch through the load balancer, one that governance denies, and an unsigned request to axon.
fn dispatches_are_answered(checkout: &CheckoutCopy) {
    let base_url = base_url(checkout);
    let url = format!("{base_url}/dispatch");
    let id = [("X-Correlation-ID", "story-1")];
    let answer = request("POST", &url, &id, "").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.headers.get("x-correlation-id").map(String::as_str),
        Some("story-1")
    );
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (&body["status"], &body["message"]),
        (&"success".into(), &"Axon heartbeat OK".into())
    );

    let json = [("Content-Type", "application/json")];
    let denied = request("POST", &url, &json, r#"{"intent":"shutdown"}"#).expect("an answer");
    assert_eq!(denied.status, 403, "{denied:?}");
    let body: Value = serde_json::from_str(&denied.body).expect("JSON");
    assert_eq!(body["status"], "denied");

    let reason = format!("{base_url}/reason");
    let unsigned = request("GET", &reason, &[], "").expect("an answer");
    assert_eq!(unsigned.status, 401, "{unsigned:?}");

    // The local AWS answers with the oldest 10,000 lines and no token for those after them.
    eventually("the correlation id is in axon's log", || {
        checkout
            .xtask(&["logs", "axon", "--since", "1m"])
            .stdout
            .contains("story-1")
    });
}
