//! Server side TLS for listeners: rustls with ring, TLS 1.2 and 1.3, files read again when they change.

use crate::config::{Clients, FileRef, TlsConfig};
use crate::running::StartError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Certificates of a listener. Open connections keep the configuration with which they began.
pub(crate) struct Tls {
    source: String,
    config: TlsConfig,
    protocols: Vec<Vec<u8>>,
    now: Mutex<Loaded>,
}

struct Loaded {
    server: Arc<ServerConfig>,
    changed: Vec<Option<SystemTime>>,
    looked: Instant,
}

impl Tls {
    pub fn load(source: &str, config: &TlsConfig, protocols: &[&[u8]]) -> Result<Tls, StartError> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|p| p.to_vec()).collect();
        let changed = changed(config);
        let server = build(source, config, &protocols)?;
        Ok(Tls {
            source: source.to_owned(),
            config: config.clone(),
            protocols,
            now: Mutex::new(Loaded { server, changed, looked: Instant::now() }),
        })
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() >= LOOK_EVERY {
            now.looked = Instant::now();
            self.refresh(&mut now);
        }
        Arc::clone(&now.server)
    }

    fn refresh(&self, now: &mut Loaded) {
        let changed = changed(&self.config);
        if changed == now.changed {
            return;
        }
        match build(&self.source, &self.config, &self.protocols) {
            Ok(server) => {
                now.server = server;
                now.changed = changed;
                tracing::info!(source = %self.source, "certificate read again");
            }
            // A half-written file must not close the door: the old certificate stays, and the next look tries again.
            Err(e) => {
                tracing::warn!(source = %self.source, code = e.code(), error = %e, "certificate changed but cannot be used");
            }
        }
    }

    /// Who the peer has proven to be: SHA-256 of its certificate. `Err` when it may not connect.
    pub fn identity(&self, connection: &rustls::ServerConnection) -> Result<Option<String>, &'static str> {
        let shown = connection.peer_certificates().and_then(|c| c.first()).map(|c| model::sha256_hex(c));
        let known = |f: &String| {
            self.config.fingerprints.is_empty()
                || self.config.fingerprints.iter().any(|k| k.replace(':', "").eq_ignore_ascii_case(f))
        };
        match shown {
            Some(f) if known(&f) => Ok(Some(f)),
            Some(_) => Err("the certificate is not on the list of fingerprints"),
            None => Ok(None),
        }
    }
}

fn changed(config: &TlsConfig) -> Vec<Option<SystemTime>> {
    [Some(&config.cert), Some(&config.key), config.ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|f| std::fs::metadata(f.path()).and_then(|m| m.modified()).ok())
        .collect()
}

fn build(source: &str, config: &TlsConfig, protocols: &[Vec<u8>]) -> Result<Arc<ServerConfig>, StartError> {
    let bad = |file: &FileRef, why: String| StartError::Tls {
        source_name: source.to_owned(),
        file: file.path().display().to_string(),
        why,
    };
    let chain = |file: &FileRef| -> Result<Vec<CertificateDer<'static>>, StartError> {
        let certs: Vec<_> = CertificateDer::pem_file_iter(file.path())
            .and_then(Iterator::collect)
            .map_err(|e| bad(file, e.to_string()))?;
        if certs.is_empty() { Err(bad(file, "it holds no certificate".to_owned())) } else { Ok(certs) }
    };
    let certs = chain(&config.cert)?;
    let key = PrivateKeyDer::from_pem_file(config.key.path()).map_err(|e| bad(&config.key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&config.cert, e.to_string()))?;
    let builder = match (config.clients, &config.ca) {
        (Clients::Off, _) | (_, None) => builder.with_no_client_auth(),
        (clients, Some(ca)) => {
            let mut roots = rustls::RootCertStore::empty();
            for cert in chain(ca)? {
                roots.add(cert).map_err(|e| bad(ca, e.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if clients == Clients::Optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| bad(ca, e.to_string()))?)
        }
    };
    let mut server = builder.with_single_cert(certs, key).map_err(|e| bad(&config.cert, e.to_string()))?;
    server.alpn_protocols = protocols.to_vec();
    Ok(Arc::new(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let data = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/tests/data/tls";
        let dir = std::env::temp_dir().join(format!("collect-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let put = |from: &str| {
            for end in ["pem", "key"] {
                std::fs::copy(format!("{data}/{from}.{end}"), dir.join(format!("now.{end}"))).unwrap();
            }
        };
        put("server");
        let file = |end: &str| FileRef(format!("file:{}", dir.join(format!("now.{end}")).display()));
        let config = TlsConfig {
            cert: file("pem"),
            key: file("key"),
            clients: Clients::Off,
            ca: None,
            fingerprints: Vec::new(),
        };
        let tls = Tls::load("s", &config, &[]).unwrap();
        let first = tls.current();
        // Whatever the file system's resolution of times is.
        let look = || {
            let mut now = tls.now.lock().unwrap();
            now.changed = vec![None];
            tls.refresh(&mut now);
            Arc::clone(&now.server)
        };
        std::fs::write(dir.join("now.pem"), "half a certi").unwrap();
        assert!(Arc::ptr_eq(&first, &look()), "a broken file changes nothing");
        put("stranger");
        assert!(!Arc::ptr_eq(&first, &look()));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
