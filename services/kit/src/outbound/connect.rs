//! Which address a connection goes to. `ConnectTo` replaces the URL's, as curl's `--connect-to`
//! does: Host header, TLS server name and signature stay those of the URL. It is for environments
//! without service discovery.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
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

/// The system's resolver, with its addresses shuffled. The system sorts them by how much of their
/// prefix is ours (RFC 6724, section 6, rule 9), so the same address would always come first and
/// get all connections.
#[derive(Clone, Debug)]
pub(crate) struct ShuffledResolver(GaiResolver);

impl Default for ShuffledResolver {
    fn default() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for ShuffledResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move { Ok(shuffled(found.await?.collect()).into_iter()) })
    }
}

/// The family that the system puts first stays first: the system knows which of them has a route.
fn shuffled(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v4_first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    fastrand::shuffle(&mut addresses);
    addresses.sort_by_key(|address| address.is_ipv4() != is_v4_first);
    addresses
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn any_address_may_be_the_first_but_none_of_the_other_family() {
        let addresses = |texts: [&str; 5]| texts.map(|text| text.parse().unwrap()).to_vec();
        let (one, two, three) = ("10.0.0.1:0", "10.0.0.2:0", "10.0.1.1:0");
        let (four, five) = ("[fd00::1]:0", "[fd00::2]:0");
        for (system, first) in [
            ([one, two, three, four, five], vec![one, two, three]),
            ([five, four, three, two, one], vec![four, five]),
        ] {
            let mut seen = BTreeSet::new();
            for _ in 0..200 {
                let ordered = shuffled(addresses(system));
                assert_eq!(ordered.len(), 5);
                seen.insert(ordered[0].to_string());
            }
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), first);
        }
        assert!(shuffled(Vec::new()).is_empty());
    }

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
