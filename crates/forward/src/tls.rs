//! TLS towards a receiver.

use crate::{Error, SecretRef, Secrets};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whom to trust, and who we are. Without it the public CAs are trusted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM: trust only this CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// PEM: our certificate with its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<SecretRef>,
    /// PEM: the key of `cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
}

impl TlsConfig {
    pub(crate) fn references(&self) -> impl Iterator<Item = &SecretRef> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten()
    }
}

/// The rustls settings for `config`, public CAs where it names none.
pub(crate) fn client_config(
    sink: &str,
    config: &TlsConfig,
    secrets: &Secrets,
) -> Result<ClientConfig, Error> {
    use hyper_rustls::ConfigBuilderExt as _;
    let bad = |what: &str, why: String| Error::Tls { sink: sink.to_owned(), what: what.to_owned(), why };
    let read = |r: &SecretRef| {
        secrets(r).map_err(|why| Error::Secret { sink: sink.to_owned(), reference: r.to_string(), why })
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("protocol versions", e.to_string()))?;
    let builder = match &config.ca {
        None => builder.with_webpki_roots(),
        Some(ca) => {
            let pem = read(ca)?;
            let mut roots = rustls::RootCertStore::empty();
            for cert in CertificateDer::pem_slice_iter(pem.bytes()) {
                let cert = cert.map_err(|e| bad("ca", e.to_string()))?;
                roots.add(cert).map_err(|e| bad("ca", e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("ca", "no certificate in it".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
    };
    let (Some(cert), Some(key)) = (&config.cert, &config.key) else {
        return match (&config.cert, &config.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            _ => Err(bad("cert", "a certificate needs its key and the reverse".to_owned())),
        };
    };
    let chain = CertificateDer::pem_slice_iter(read(cert)?.bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad("cert", e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(read(key)?.bytes()).map_err(|e| bad("key", e.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| bad("cert", e.to_string()))
}
