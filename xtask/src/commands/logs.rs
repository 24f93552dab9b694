//! `logs`: what a service or the function wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::ports::Context;

const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How much later a line of one task may arrive than a younger line of another.
const LATENESS_MAX: SignedDuration = SignedDuration::from_secs(30);

pub async fn logs(
    context: &Context<'_>,
    outputs: &Outputs,
    component: Component,
    since: SignedDuration,
    follow: bool,
) -> Result<()> {
    let mut from = start(context.clock.now(), since);
    let group = outputs.log_group(component);
    let mut newest = from;
    let mut seen = BTreeSet::new();
    loop {
        for line in context.logs.since(group, from).await? {
            newest = newest.max(line.at);
            if seen.insert((line.at, line.id)) {
                let value = serde_json::from_str(&line.text)
                    .unwrap_or_else(|_| serde_json::Value::String(line.text.clone()));
                context.report.data(&value, &line.text);
            }
        }
        if !follow || !context.report.is_read() {
            return Ok(());
        }
        from = from.max(newest - LATENESS_MAX);
        seen = seen.split_off(&(from, String::new()));
        tokio::select! {
            biased;
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            () = context.interrupt.wait() => return Ok(()),
        }
    }
}

/// No log is older than the time that CloudWatch counts from.
fn start(now: Timestamp, since: SignedDuration) -> Timestamp {
    let start = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    start.max(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_with_the_epoch_however_far_back_it_is_asked_for() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let seconds_before = |since| start(now, SignedDuration::from_secs(since)).as_second();
        assert_eq!(seconds_before(90), 1_799_999_910);
        for far in [99_999 * 86_400, i64::MAX] {
            assert_eq!(seconds_before(far), 0, "{far}");
        }
    }
}
