//! A new signing key.

use e2e::Traffic;

use crate::catalog::with_both;
use crate::{Story, base_url};

/// Loses no request of either caller of axon, although Secrets Manager returns stale values for longer than tasks take to read
/// again: they switch between both keys meanwhile.
pub(crate) fn rotation(story: &Story) {
    let checkout = with_both(story);
    if checkout.make_secrets_stale() {
        checkout.xtask(&["local", "down"]).expect(0, &[]);
        checkout.xtask(&["local", "up"]).expect(0, &[]);
    }
    let base_url = base_url(checkout);
    let traffic = [("POST", "/dispatch"), ("GET", "/scout")]
        .map(|(method, path)| Traffic::start(method, &format!("{base_url}{path}")));
    let ran = checkout.xtask(&["secrets", "rotate"]);
    let served = traffic.map(Traffic::stop);
    let steps = [
        "new key in its secret, beside the old one",
        "new key to sign with in its secret",
        "old key removed from its secret",
    ];
    ran.expect(0, &steps);
    for served in served {
        assert!(served.answered > 100, "{served:?}");
        assert_eq!(served.lost, Vec::<String>::new(), "of {}", served.answered);
    }
}
