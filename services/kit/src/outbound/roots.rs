//! The root certificates that TLS trusts: those that are compiled in, because an image from scratch
//! has none, and those of the PEM file that `SSL_CERT_FILE` names.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::settings::{Reader, Setting, SettingKind};

const SETTING: Setting = Setting::new(
    "SSL_CERT_FILE",
    SettingKind::File,
    "PEM file of root certificates that are trusted besides those compiled in, where the service \
     makes calls",
);

#[derive(Clone, Debug, Default)]
pub struct TrustRoots {
    added: Vec<CertificateDer<'static>>,
    /// Built once, for all clients.
    client_config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl TrustRoots {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let Some(content) = reader.file(&SETTING) else {
            return Self::default();
        };
        match parse(&content) {
            Ok(added) => Self {
                added,
                ..Self::default()
            },
            Err(problem) => {
                reader.error(SETTING.name, problem);
                Self::default()
            }
        }
    }

    /// Those compiled in, then those of the file.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .chain(&self.added)
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(
            self.client_config
                .get_or_init(|| Arc::new(self.build_client_config())),
        )
    }

    /// For a target without TLS: parsing the root certificates takes milliseconds.
    pub(crate) fn without_certificates() -> Arc<ClientConfig> {
        Arc::new(client_config_with(RootCertStore::empty()))
    }

    fn build_client_config(&self) -> ClientConfig {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates().cloned());
        client_config_with(store)
    }
}

fn client_config_with(store: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth()
}

fn parse(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("not a file of PEM certificates: {error}"))?;
    if certificates.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store
            .add(certificate.clone())
            .map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    Ok(certificates)
}
