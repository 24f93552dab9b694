//! CloudWatch Logs.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use jiff::Timestamp;

use super::aws::{explain, is_code};
use crate::world::{LogLine, Logs};

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
        let events = self
            .client
            .get_log_events()
            .log_group_name(group)
            .log_stream_name(stream)
            .limit(lines)
            .start_from_head(false)
            .send()
            .await;
        match events {
            Ok(events) => {
                let text = |event: &aws_sdk_cloudwatchlogs::types::OutputLogEvent| {
                    event.message().unwrap_or_default().trim_end().to_owned()
                };
                Ok(events.events().iter().map(text).collect())
            }
            // A task that never started has no stream.
            Err(error) if is_code(&error, "ResourceNotFoundException") => Ok(Vec::new()),
            Err(error) => Err(explain(error)).with_context(|| format!("read the log {stream}")),
        }
    }

    async fn since(&self, group: &str, from: Timestamp) -> Result<Vec<LogLine>> {
        self.filter(group, from, None).await
    }

    async fn mentions(&self, group: &str, from: Timestamp, text: &str) -> Result<Vec<LogLine>> {
        // In quotes: a dash in a pattern leaves words out.
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
