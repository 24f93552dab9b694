//! From a host's name to its addresses. A test answers in the system's place.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// All addresses of a host, with the port to connect to.
pub type ResolvedAddresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

pub trait Resolver: fmt::Debug + Send + Sync {
    fn resolve(&self, host: &str, port: u16) -> ResolvedAddresses;
}

/// The resolver of the C library. It does not say how long an answer may be kept.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> ResolvedAddresses {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Resolves for a connector, with the addresses shuffled. The system sorts them by how much of
/// their prefix is ours (RFC 6724, section 6, rule 9), so the same address would always come first
/// and get all connections.
#[derive(Clone, Debug)]
pub(crate) struct ShuffledResolver(pub(crate) Arc<dyn Resolver>);

impl Default for ShuffledResolver {
    fn default() -> Self {
        Self(Arc::new(SystemResolver))
    }
}

impl Service<Name> for ShuffledResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The connector adds the port, where that is 0.
        let found = self.0.resolve(name.as_str(), 0);
        Box::pin(async move { Ok(shuffled(found.await?).into_iter()) })
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
}
