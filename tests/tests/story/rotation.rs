//! A new signing key.

use e2e::Traffic;

use crate::{Story, base_url};

/// Loses no request, although Secrets Manager returns stale values for longer than tasks take to read
/// again: they switch between both keys meanwhile.
pub(crate) fn rotation(story: &Story) {
    let checkout = story.deployed();
    if checkout.make_secrets_stale() {
        checkout.xtask(&["local", "down"]).expect(0, &[]);
        checkout.xtask(&["local", "up"]).expect(0, &[]);
    }
    let traffic = Traffic::start("POST", format!("{}/dispatch", base_url(checkout)));
    let ran = checkout.xtask(&["secrets", "rotate"]);
    let served = traffic.stop();
    let steps = [
        "new key in its secret, beside the old one",
        "new key to sign with in its secret",
        "old key removed from its secret",
    ];
    ran.expect(0, &steps);
    assert!(served.answered > 100, "{served:?}");
    assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
}
