//! The proxy for a request, from the variables of the shell. It follows the rules of Go's
//! `httpproxy`, which Terraform uses, so that xtask and Terraform connect the same way.
//! <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;

use http::Uri;

#[derive(Debug, Default)]
pub struct Proxies {
    by_scheme: BTreeMap<&'static str, Proxy>,
    exceptions: Vec<ProxyException>,
}

/// A proxy, shown without its user and password.
#[derive(Clone)]
pub struct Proxy {
    variable: String,
    url: Uri,
}

#[derive(Debug)]
struct ProxyException {
    hosts: Hosts,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// An address and the length of its prefix in bits.
    Network(IpAddr, u32),
    /// Hosts with this suffix, which starts with a dot. `itself`: the name after the dot as well.
    Domain {
        suffix: String,
        itself: bool,
    },
}

/// Without the value, which may contain a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProxyError {
    #[error("{variable} is not the URL of a proxy")]
    NoAddress { variable: String },
    #[error("{variable} has the unsupported scheme {scheme}")]
    Kind { variable: String, scheme: String },
}

impl Proxies {
    /// `variable` returns the value of a variable of the shell, unless it is empty.
    pub fn parse<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ProxyError> {
        let first = |names: [&'static str; 2]| {
            let found = names.into_iter().map(|name| Some((name, variable(name)?)));
            found.flatten().next()
        };
        let mut by_scheme = BTreeMap::new();
        for (scheme, names) in [
            ("http", ["HTTP_PROXY", "http_proxy"]),
            ("https", ["HTTPS_PROXY", "https_proxy"]),
        ] {
            if let Some((name, value)) = first(names) {
                by_scheme.insert(scheme, Proxy::parse(name, value)?);
            }
        }
        let (_, exceptions) = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Ok(Self {
            by_scheme,
            exceptions: exceptions
                .split(',')
                .filter_map(ProxyException::parse)
                .collect(),
        })
    }

    /// Every proxy with the scheme of the requests that it is for.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Proxy)> {
        self.by_scheme
            .iter()
            .map(|(scheme, proxy)| (*scheme, proxy))
    }

    /// The proxy for a request.
    pub fn of(&self, target: &Uri) -> Option<&Proxy> {
        let scheme = target.scheme_str()?;
        let proxy = self.by_scheme.get(scheme)?;
        let host = target.host()?.trim_matches(['[', ']']).to_lowercase();
        let port = target
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        let address: Option<IpAddr> = host.parse().ok();
        let is_this_machine = host == "localhost" || address.is_some_and(is_local);
        let excepted = |it: &ProxyException| {
            it.port.is_none_or(|only| only == port) && it.hosts.contain(&host, address)
        };
        (!is_this_machine && !self.exceptions.iter().any(excepted)).then_some(proxy)
    }
}

/// Includes link-local addresses, where the credentials of an instance or task are served.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

impl Proxy {
    fn parse(variable: &str, value: &str) -> Result<Self, ProxyError> {
        let variable = variable.to_owned();
        let whole = if value.contains("://") {
            value.to_owned()
        } else {
            format!("http://{value}")
        };
        let url: Option<Uri> = whole.parse().ok();
        // With two `@`, programs disagree on where the password ends.
        let is_unambiguous = |url: &Uri| {
            let authority = url.authority().map_or("", |it| it.as_str());
            !url.host().unwrap_or_default().is_empty() && authority.matches('@').count() < 2
        };
        let Some(url) = url.filter(is_unambiguous) else {
            return Err(ProxyError::NoAddress { variable });
        };
        match url.scheme_str().unwrap_or_default() {
            "http" | "https" => Ok(Self { variable, url }),
            other => Err(ProxyError::Kind {
                variable,
                scheme: other.to_owned(),
            }),
        }
    }

    /// Including user and password.
    pub fn url(&self) -> &Uri {
        &self.url
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.host().unwrap_or_default();
        write!(formatter, "{scheme}://{host}")?;
        if let Some(port) = self.url.port() {
            write!(formatter, ":{port}")?;
        }
        write!(formatter, " ({})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl ProxyException {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_lowercase();
        if let Some(network) = network(&entry) {
            return Some(Self {
                hosts: network,
                port: None,
            });
        }
        let alone: Option<IpAddr> = entry.parse().ok();
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if alone.is_none() => (host, Some(port.parse().ok()?)),
            _ => (entry.as_str(), None),
        };
        let host = host.trim_matches(['[', ']']);
        Some(Self {
            hosts: Hosts::parse(host)?,
            port,
        })
    }
}

/// `10.0.0.0/8`, `fd00::/8`.
fn network(entry: &str) -> Option<Hosts> {
    let (address, bits) = entry.split_once('/')?;
    Some(Hosts::Network(address.parse().ok()?, bits.parse().ok()?))
}

impl Hosts {
    fn parse(host: &str) -> Option<Self> {
        if host == "*" {
            return Some(Self::All);
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Network(address, 128));
        }
        let host = host
            .strip_prefix('*')
            .filter(|it| it.starts_with('.'))
            .unwrap_or(host);
        let itself = !host.starts_with('.');
        let dot = if itself { "." } else { "" };
        (!host.is_empty()).then(|| Self::Domain {
            suffix: format!("{dot}{host}"),
            itself,
        })
    }

    fn contain(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Network(network, bits), Some(address)) => share_prefix(*network, address, *bits),
            (Self::Domain { suffix, itself }, None) => {
                host.ends_with(suffix) || (*itself && host == &suffix[1..])
            }
            (Self::Network(..), None) | (Self::Domain { .. }, Some(_)) => false,
        }
    }
}

/// Whether the first `bits` bits of two addresses are equal. More bits than an address has mean
/// all.
fn share_prefix(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let (differing, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(u32::from(one) ^ u32::from(other)), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other), 128),
        _ => return false,
    };
    let rest = u32::saturating_sub(width, bits);
    differing.checked_shr(rest).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        Proxies::parse(|name| {
            variables
                .get(name)
                .copied()
                .filter(|value| !value.is_empty())
        })
    }

    fn proxy_for(variables: &[(&str, &str)], target: &str) -> Option<String> {
        let proxies = proxies(variables).unwrap();
        proxies
            .of(&target.parse().unwrap())
            .map(ToString::to_string)
    }

    #[test]
    fn upper_case_variables_come_first() {
        let both = [
            ("HTTPS_PROXY", "http://proxy.corp:3128"),
            ("https_proxy", "http://other.corp"),
            ("http_proxy", "proxy.corp:80"),
        ];
        let https = proxy_for(&both, "https://ecs.us-east-1.amazonaws.com/");
        assert_eq!(https.unwrap(), "http://proxy.corp:3128 (HTTPS_PROXY)");
        let http = proxy_for(&both, "http://aws.corp/").unwrap();
        assert_eq!(http, "http://proxy.corp:80 (http_proxy)");
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "https://tls.corp")];
        let small = proxy_for(&empty, "https://aws.test/").unwrap();
        assert_eq!(small, "https://tls.corp (https_proxy)");
        assert_eq!(proxy_for(&[], "https://aws.test/"), None);
        // Terraform and the AWS CLI ignore it.
        assert_eq!(
            proxy_for(&[("ALL_PROXY", "http://p")], "https://aws.test/"),
            None
        );
    }

    /// The table of `proxy_test.go` in Go, and common values of companies.
    #[test]
    fn exceptions_are_those_of_go() {
        let direct = |no_proxy: &str, target: &str| {
            let variables = [("HTTPS_PROXY", "proxy"), ("NO_PROXY", no_proxy)];
            proxy_for(&variables, &format!("https://{target}/")).is_none()
        };
        for (no_proxy, target) in [
            ("", "localhost"),
            ("", "127.0.0.1:4577"),
            ("", "127.1.2.3"),
            ("", "[::1]:443"),
            ("", "169.254.169.254"),
            ("*", "aws.test"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:8443", "10.1.2.3:8443"),
            ("fd00::/8", "[fd00::7]"),
            ("[fd00::7]:443", "[fd00::7]"),
            ("fd00::7", "[fd00::7]"),
            ("corp.test", "corp.test"),
            ("corp.test", "a.b.corp.test"),
            ("CORP.test", "a.Corp.test"),
            (".corp.test", "a.corp.test"),
            ("*.corp.test", "a.corp.test"),
            ("x, corp.test:443 ,y", "corp.test"),
            ("0.0.0.0/0", "8.8.8.8"),
        ] {
            assert!(direct(no_proxy, target), "{no_proxy} {target}");
        }
        for (no_proxy, target) in [
            ("", "aws.test"),
            (",,", "aws.test"),
            ("10.0.0.0/8", "11.1.2.3"),
            ("10.1.2.3:80", "10.1.2.3"),
            ("10.1.2.3/33x", "10.1.2.3"),
            ("corp.test", "notcorp.test"),
            ("corp.test:80", "corp.test"),
            (".corp.test", "corp.test"),
            ("*.corp.test", "corp.test"),
            ("fd00::/8", "10.1.2.3"),
            (":443", "aws.test"),
        ] {
            assert!(!direct(no_proxy, target), "{no_proxy} {target}");
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let variables = [("HTTPS_PROXY", "http://ada:s%40cret@proxy.corp:3128")];
        let proxies = proxies(&variables).unwrap();
        let proxy = proxies.of(&Uri::from_static("https://aws.test")).unwrap();
        assert!(proxy.url().to_string().contains("ada:s%40cret@"));
        for shown in [format!("{proxies:?}"), proxy.to_string()] {
            assert!(shown.contains("proxy.corp:3128"), "{shown}");
            assert!(!shown.contains("ada") && !shown.contains("cret"), "{shown}");
        }
    }

    #[test]
    fn an_error_does_not_show_the_password() {
        let refused = |value| proxies(&[("https_proxy", value)]).unwrap_err().to_string();
        for value in [
            "http://",
            "ada:s@cret@proxy",
            "http://ada:secret @proxy",
            ":3128",
        ] {
            assert_eq!(
                refused(value),
                "https_proxy is not the URL of a proxy",
                "{value}"
            );
        }
        let socks = refused("socks5://ada:secret@proxy:1080");
        assert_eq!(socks, "https_proxy has the unsupported scheme socks5");
    }
}
