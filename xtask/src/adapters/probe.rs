//! HTTP requests to what was deployed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::tls;
use crate::world::{Probe, ProbeAnswer, ProbeRequest};

const LIMIT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 64 * 1024;

pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    /// `https`: whether what is asked may speak TLS. No connection is kept: each answer shall
    /// come from wherever the load balancer sends a new one.
    pub fn new(https: bool) -> Result<Self> {
        let connector = tls::connector(https)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self { client })
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
            .body(Full::from(request.body.to_owned()))
            .context("make a request")?;
        let answered = async {
            let response = self.client.request(built).await.map_err(chain)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
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

/// hyper's errors hide their reason in their sources.
fn chain(error: hyper_util::client::legacy::Error) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    anyhow::anyhow!("{error:#}")
}
