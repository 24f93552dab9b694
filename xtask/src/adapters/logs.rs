//! CloudWatch Logs.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use jiff::Timestamp;

use super::aws::{explain, is_code};
use crate::ports::{LogLine, Logs};

/// The limit of pages that are read from the end of a stream; more empty ones count as an empty
/// stream.
const PAGES_MAX: u32 = 20;

pub struct CloudWatch {
    client: Client,
}

impl CloudWatch {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            client: Client::new(config),
        }
    }
}

#[async_trait]
impl Logs for CloudWatch {
    async fn tail(&self, group: &str, stream: &str, lines: i32) -> Result<Vec<String>> {
        let mut tail: Vec<String> = Vec::new();
        let mut token: Option<String> = None;
        let wanted = usize::try_from(lines).context("count lines")?;
        for _ in 0..PAGES_MAX {
            let page = self
                .client
                .get_log_events()
                .log_group_name(group)
                .log_stream_name(stream)
                .limit(lines)
                .start_from_head(false)
                .set_next_token(token.clone())
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                // A task that never started has no stream.
                Err(error) if is_code(&error, "ResourceNotFoundException") => break,
                Err(error) => {
                    return Err(explain(error)).with_context(|| format!("read the log {stream}"));
                }
            };
            let text =
                |event: &OutputLogEvent| event.message().unwrap_or_default().trim_end().to_owned();
            tail.splice(..0, page.events().iter().map(text));
            // Pages may be empty. The last one returns the token of its request.
            let older = page
                .next_backward_token
                .filter(|older| Some(older) != token.as_ref());
            if tail.len() >= wanted || older.is_none() {
                break;
            }
            token = older;
        }
        Ok(tail.split_off(tail.len().saturating_sub(wanted)))
    }

    async fn since(&self, group: &str, from: Timestamp) -> Result<Vec<LogLine>> {
        self.filter(group, from, None).await
    }

    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>> {
        // Quoted, because a dash in a pattern excludes terms.
        let mut lines = self
            .filter(group, from, Some(format!("\"{text}\"")))
            .await?;
        lines.retain(|line| line.text.contains(text));
        Ok(lines)
    }
}

impl CloudWatch {
    async fn filter(
        &self,
        group: &str,
        from: Timestamp,
        pattern: Option<String>,
    ) -> Result<Vec<LogLine>> {
        let mut pages = self
            .client
            .filter_log_events()
            .log_group_name(group)
            .start_time(from.as_millisecond())
            .set_filter_pattern(pattern)
            .into_paginator()
            .send();
        let mut lines = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(explain)
                .with_context(|| format!("read the log {group}"))?;
            for event in page.events() {
                lines.push(LogLine {
                    id: event.event_id().unwrap_or_default().to_owned(),
                    at: Timestamp::from_millisecond(event.timestamp().unwrap_or_default())?,
                    stream: event.log_stream_name().unwrap_or_default().to_owned(),
                    text: event.message().unwrap_or_default().trim_end().to_owned(),
                });
            }
        }
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::fake_aws;

    /// The tail of a stream with these pages, from its end. The last page returns the token of its
    /// request, like CloudWatch.
    async fn tail(pages: &'static [&'static [&'static str]], lines: i32) -> Vec<String> {
        let config = fake_aws::config(move |operation, input| {
            assert_eq!(operation, "GetLogEvents");
            assert_eq!(input["startFromHead"], json!(false));
            let asked = input["nextToken"]
                .as_str()
                .map_or(0, |it| it.parse().unwrap());
            let page = pages.get(asked).copied().unwrap_or_default();
            let events = page
                .iter()
                .map(|line| json!({ "message": line, "timestamp": 1 }));
            let older = (asked + 1).min(pages.len());
            Ok(json!({
                "events": events.collect::<Vec<Value>>(),
                "nextBackwardToken": older.to_string(),
                "nextForwardToken": "f",
            }))
        });
        let logs = CloudWatch::new(&config.await);
        logs.tail("group", "stream", lines).await.unwrap()
    }

    #[tokio::test]
    async fn empty_pages_are_skipped() {
        assert_eq!(tail(&[&["one", "two"]], 8).await, ["one", "two"]);
        let pages: &[&[&str]] = &[&[], &["three"], &[], &["one", "two"], &[]];
        assert_eq!(tail(pages, 8).await, ["one", "two", "three"]);
        assert_eq!(tail(pages, 2).await, ["two", "three"]);
        assert_eq!(tail(&[], 8).await, [""; 0]);
        assert_eq!(tail(&[&[] as &[&str]; 19], 8).await, [""; 0]);
    }

    #[tokio::test]
    async fn an_endless_stream_is_not_read_forever() {
        let config = fake_aws::config(|_, input| {
            let asked = input["nextToken"].as_str().unwrap_or("0").to_owned();
            Ok(json!({ "events": [], "nextBackwardToken": asked + "0" }))
        });
        let logs = CloudWatch::new(&config.await);
        assert_eq!(logs.tail("group", "stream", 8).await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn a_task_that_never_started_has_no_stream() {
        let config = fake_aws::config(|_, _| Err("ResourceNotFoundException")).await;
        let logs = CloudWatch::new(&config);
        assert_eq!(logs.tail("group", "stream", 8).await.unwrap(), [""; 0]);
    }
}
