//! Prints, as JSON, how many requests are answered in time with a fixed limit of requests in flight
//! and with one that follows the time of answers. Time is simulated, so that the figures are the
//! same on every machine. `cargo xtask bench` runs it.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::io::Write as _;

use serde_json::json;
use service_kit::ServiceIdentity;

#[path = "../tests/kit/simulated_load.rs"]
mod simulated_load;
#[path = "../tests/kit/test_app.rs"]
mod test_app;

use simulated_load::{ASKED, LimitFloor, TargetTime, load};

const SERVICE: ServiceIdentity = ServiceIdentity {
    name: "admission",
    version: "0",
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    tokio::time::pause();
    let mut rows = Vec::new();
    for time in TargetTime::ALL {
        rows.push(json!({
            "target": time.to_string(),
            "asked": ASKED,
            "fixed": load(time, LimitFloor::Most).await.in_time,
            "adaptive": load(time, LimitFloor::Default).await.in_time,
        }));
    }
    writeln!(std::io::stdout(), "{}", json!(rows))
}
