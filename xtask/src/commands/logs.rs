//! `logs`: what a service or the function wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::failure::Failure;
use crate::ports::Context;

const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How much later a line of one task may arrive than a younger line of another.
const LATENESS_MAX: SignedDuration = SignedDuration::from_secs(30);

pub async fn logs(
    context: &Context<'_>,
    outputs: &Outputs,
    component: Component,
    since: &str,
    follow: bool,
) -> Result<()> {
    let mut from = start(context.clock.now(), parse_since(since)?);
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

/// `90s`, `15m`, `2h`, `1d`.
fn parse_since(text: &str) -> Result<SignedDuration, Failure> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => 0,
    };
    let count: Option<i64> = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok());
    match count.and_then(|count| count.checked_mul(seconds)) {
        Some(seconds) if seconds > 0 => Ok(SignedDuration::from_secs(seconds)),
        _ => {
            Err(Failure::usage(format!("`{text}` is not a duration"))
                .hint("write 90s, 15m, 2h or 1d"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_with_the_epoch_however_far_back_it_is_asked_for() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let seconds_before = |text| start(now, parse_since(text).unwrap()).as_second();
        assert_eq!(seconds_before("90s"), 1_799_999_910);
        for far in ["99999d", "9999999999d", "99999999999h"] {
            assert_eq!(seconds_before(far), 0, "{far}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_since("15m").unwrap(), SignedDuration::from_mins(15));
        for nonsense in [
            "",
            "m",
            "15",
            "-3m",
            "3w",
            "99999999999999999999d",
            "9223372036854775807d",
        ] {
            assert!(parse_since(nonsense).is_err(), "{nonsense}");
        }
    }
}
