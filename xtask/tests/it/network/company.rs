//! A company's network on loopback: a proxy that notes what it is asked and leads every tunnel to
//! one TLS server, which plays all hosts; and the authority that signed that server's certificate.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use xtask::ports::ProcessEnv;

/// Names that only the proxy leads here, and an address of this machine that is not loopback's.
const HOSTS: [&str; 4] = [
    "aws.test",
    "orbit.test",
    "sts.us-east-1.amazonaws.com",
    "0.0.0.0",
];

/// The first line of a request and its `Proxy-Authorization`.
pub(super) type Asked = (String, Option<String>);

pub(super) struct Company {
    /// Where the server itself listens.
    pub(super) server_port: u16,
    pub(super) proxy_port: u16,
    /// Every request of the proxy.
    asked: Arc<Mutex<Vec<Asked>>>,
    /// A file with the authority's certificate; it goes with this value.
    pub(super) authority: PathBuf,
}

impl Company {
    pub(super) fn new() -> Self {
        Self::named("company", None)
    }

    /// Its proxy answers so instead of making a tunnel.
    pub(super) fn refusing(refusal: &'static str) -> Self {
        Self::named("company", Some(refusal))
    }

    /// `name`: of its authority.
    pub(super) fn named(name: &str, refusal: Option<&'static str>) -> Self {
        let (config, pem) = server_config(name);
        let server_port = serve(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(StreamOwned::new(connection, stream));
        });
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let proxy_port = serve(move |stream| {
            let (line, authorization) = head(&mut BufReader::new(&stream));
            noted.lock().unwrap().push((line.clone(), authorization));
            match refusal {
                Some(refusal) => write!(&stream, "HTTP/1.1 {refusal}\r\n\r\n").unwrap(),
                None if line.starts_with("CONNECT ") => tunnel(&stream, server_port),
                None => respond(&stream, "by the proxy"),
            }
        });
        let authority = std::env::temp_dir().join(format!("authority-{proxy_port}.pem"));
        write(&authority, &pem);
        Self {
            server_port,
            proxy_port,
            asked,
            authority,
        }
    }

    /// With a password in which nothing stands for itself.
    pub(super) fn proxy(&self) -> String {
        format!("http://ada:s%40cret@127.0.0.1:{}", self.proxy_port)
    }

    pub(super) fn authority(&self) -> String {
        self.authority.display().to_string()
    }

    /// A shell that names the authority, and these variables.
    pub(super) fn shell(&self, variables: &[(&str, &str)]) -> ProcessEnv {
        let bundle = [("AWS_CA_BUNDLE".to_owned(), self.authority())];
        let own = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ProcessEnv {
            root: ".".into(),
            here: ".".into(),
            variables: bundle.into_iter().chain(own).collect(),
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Company {
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.authority));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
pub(super) fn write(file: &std::path::Path, text: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// A server's certificate for all hosts, and the authority that signed it.
fn server_config(authority: &str) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(HOSTS.map(str::to_owned)).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into());
    (Arc::new(config.unwrap()), authority.pem())
}

fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(stream));
        }
    });
    port
}

/// A request's head. Its body is read too.
fn head(reader: &mut impl BufRead) -> Asked {
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let value = |name: &str| {
        let header = lines.iter().filter_map(|line| line.split_once(": "));
        let mut found = header.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    if let Some(text) = value("content-length") {
        length = text.parse().unwrap();
    }
    let mut body = vec![0; length];
    drop(reader.read_exact(&mut body));
    (
        lines.first().cloned().unwrap_or_default(),
        value("proxy-authorization"),
    )
}

fn respond(mut stream: impl Write, body: &str) {
    let length = body.len();
    let text =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    drop(stream.write_all(text.as_bytes()));
    drop(stream.flush());
}

/// Plays AWS and what was deployed: a POST is a question who one is.
fn answer(stream: impl Read + Write) {
    let mut reader = BufReader::new(stream);
    let (line, _) = head(&mut reader);
    let body = if line.starts_with("POST ") {
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    } else {
        "healthy"
    };
    respond(reader.into_inner(), body);
}

fn tunnel(mut client: &TcpStream, server_port: u16) {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)).unwrap();
    write!(client, "HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
    drop(std::io::copy(&mut &server, &mut client));
    drop(client.shutdown(std::net::Shutdown::Both));
}
