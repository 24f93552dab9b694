//! HTTP probes of what was deployed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;

use super::transport::{Client, Transport};
use crate::ports::{Probe, ProbeAnswer, ProbeRequest};

const LIMIT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 64 * 1024;

pub struct Http {
    client: Client,
}

impl Http {
    /// Keeps no connections, so that the load balancer chooses a target for each request.
    pub fn new(transport: &Transport) -> Self {
        Self {
            client: transport.client(Some(0)),
        }
    }
}

#[async_trait]
impl Probe for Http {
    async fn send(&self, request: ProbeRequest<'_>) -> Result<ProbeAnswer> {
        let mut built = http::Request::builder()
            .method(request.method)
            .uri(request.url);
        for (name, value) in request.headers {
            built = built.header(name, value);
        }
        if !request.body.is_empty() {
            built = built.header(http::header::CONTENT_TYPE, "application/json");
        }
        let built = built
            .body(Bytes::from(request.body.to_owned()))
            .context("build a request")?;
        let answered = async {
            let response = self.client.exchange(built, BODY_BYTES_MAX).await?;
            let (parts, body) = response.into_parts();
            let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            };
            Ok(ProbeAnswer {
                status: parts.status.as_u16(),
                headers: parts.headers.iter().map(header).collect(),
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        match tokio::time::timeout(LIMIT, answered).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer within {} s", LIMIT.as_secs()),
        }
    }
}
