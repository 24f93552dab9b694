//! Which address a connection goes to. `ConnectTo` replaces the URL's, as curl's `--connect-to`
//! does: Host header, TLS server name and signature stay those of the URL. It is for environments
//! without service discovery.

use std::net::SocketAddr;
use std::str::FromStr;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service;

use super::resolver::ShuffledResolver;

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

impl ConnectTo {
    pub(crate) fn address(address: SocketAddr) -> Self {
        let authority = address.to_string().parse();
        Self(authority.expect("an address with its port is an authority"))
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.0
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TargetConnector {
    pub(crate) inner: HttpConnector<ShuffledResolver>,
    pub(crate) to: Option<ConnectTo>,
}

impl Service<Uri> for TargetConnector {
    type Response = <HttpConnector<ShuffledResolver> as Service<Uri>>::Response;
    type Error = <HttpConnector<ShuffledResolver> as Service<Uri>>::Error;
    type Future = <HttpConnector<ShuffledResolver> as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let uri = match &self.to {
            Some(ConnectTo(authority)) => with_authority(uri, authority),
            None => uri,
        };
        self.inner.call(uri)
    }
}

fn with_authority(uri: Uri, authority: &Authority) -> Uri {
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
        let uri = with_authority(
            Uri::from_static("https://axon.demo/reason?a=b"),
            &Authority::from_static("127.0.0.1:9"),
        );
        assert_eq!(uri, "https://127.0.0.1:9/reason?a=b");
    }
}
