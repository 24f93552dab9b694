//! The local AWS ends: by a crash, by a clean stop, for good.

use std::net::TcpStream;

use crate::{Story, dispatches_are_answered, releases, status};

/// After a crash it has lost everything since its last clean stop, while Terraform's state remembers
/// it. The next release is the first one again, and if it fails, nothing runs.
pub(crate) fn crash(story: &Story) {
    let checkout = story.deployed();
    checkout.kill_local_aws();
    checkout.set_in_template("orbit", "METRICS_NAMESPACE", "AWS/demo");
    let rolled_back = [
        "orbit       rolled back to none desired",
        "axon        rolled back to none desired",
    ];
    checkout.xtask(&["deploy"]).expect(20, &rolled_back);
    assert_eq!(status(checkout)["services"]["axon"]["desired"], 0);
    checkout.undo_edits();
    checkout
        .xtask(&["deploy"])
        .expect(0, &["rolled out demo-orbit", "answered 200"]);
    dispatches_are_answered(checkout);
}

/// A clean stop keeps the state: the same tasks run again, and nothing is released.
pub(crate) fn restart(story: &Story) {
    let checkout = story.deployed();
    checkout.make_secrets_stale(); // from the next start on: spares the next chapter a restart
    let before = releases(checkout);
    checkout.xtask(&["local", "down"]).expect(0, &[]);
    assert_eq!(checkout.containers(), Vec::<String>::new());
    checkout.xtask(&["local", "up"]).expect(0, &[]);
    checkout.xtask(&["local", "up"]).expect(0, &[]);
    dispatches_are_answered(checkout);
    assert_eq!(releases(checkout), before);
}

/// No container and no listener is left, and a second `down` is harmless.
pub(crate) fn down(story: &Story) {
    let checkout = story.deployed();
    checkout.xtask(&["local", "down"]).expect(0, &[]);
    assert_eq!(checkout.containers(), Vec::<String>::new());
    assert!(
        TcpStream::connect(("127.0.0.1", checkout.port())).is_err(),
        "the port is still taken"
    );
    checkout.xtask(&["local", "down"]).expect(0, &[]);
}
