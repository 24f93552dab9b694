//! Connecting elsewhere than the URL says, as curl's `--connect-to` does: URL, Host header, TLS
//! server name and signature stay what they are. For places without service discovery.

use std::str::FromStr;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service;

/// `host:port`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo(Authority);

impl FromStr for ConnectTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected host:port";
        let authority: Authority = text.parse().map_err(|_| expected)?;
        let complete = !authority.host().is_empty() && authority.port_u16().is_some();
        let plain = !authority.as_str().contains('@');
        if complete && plain {
            Ok(Self(authority))
        } else {
            Err(expected)
        }
    }
}

#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) inner: HttpConnector,
    pub(crate) to: Option<ConnectTo>,
}

impl Service<Uri> for Connector {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let uri = match &self.to {
            Some(ConnectTo(authority)) => elsewhere(uri, authority),
            None => uri,
        };
        self.inner.call(uri)
    }
}

fn elsewhere(uri: Uri, authority: &Authority) -> Uri {
    let mut parts = uri.into_parts();
    parts.authority = Some(authority.clone());
    Uri::from_parts(parts).expect("only the authority of a whole URI was replaced")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_both_needed() {
        for text in ["host.docker.internal:8080", "127.0.0.1:1", "[::1]:80"] {
            assert!(text.parse::<ConnectTo>().is_ok(), "{text}");
        }
        for text in [
            "",
            "host",
            "host:",
            ":80",
            "host:99999",
            "http://host:80",
            "u@host:80",
            "h:80/p",
        ] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_authority_changes() {
        let uri = elsewhere(
            Uri::from_static("https://axon.demo/reason?a=b"),
            &Authority::from_static("127.0.0.1:9"),
        );
        assert_eq!(uri, "https://127.0.0.1:9/reason?a=b");
    }
}
