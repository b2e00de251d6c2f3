//! One HTTP/1.1 exchange, with what went wrong sorted into what the engine must do about it.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model::Time;
use std::error::Error as StdError;
use std::time::Duration;

/// Largest answer that is read: 5,000 refusals of 1 KiB fit six times.
const ANSWER_BYTES_MAX: usize = 32 << 20;

pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// `Retry-After` in seconds, as µs.
    pub fn retry_after(&self) -> Option<i64> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<i64>().ok()?;
        Some(seconds.max(0).saturating_mul(Time::SECOND))
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// Nothing was processed: the node is away.
    Connect(String),
    /// The other side is not who it should be, or does not want us: a person has to look.
    Identity(String),
    /// It may or may not have been processed.
    Unclear(String),
}

impl Http {
    pub fn new(tls: rustls::ClientConfig, timeout: Duration) -> Http {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Http { client: Client::builder(TokioExecutor::new()).build(connector), timeout }
    }

    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| sort(&e, e.is_connect()))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|e| Broken::Unclear(format!("the answer was cut: {e}")))?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(Broken::Unclear(format!("no answer within {} s", self.timeout.as_secs()))),
        }
    }
}

fn sort(e: &(dyn StdError + 'static), is_connect: bool) -> Broken {
    let text = chain(e);
    if is_identity(e) {
        Broken::Identity(text)
    } else if is_connect {
        Broken::Connect(text)
    } else {
        Broken::Unclear(text)
    }
}

/// The error with its causes, each once.
pub(crate) fn chain(e: &dyn StdError) -> String {
    let mut out = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}

/// Whether a certificate stands in the way, ours or theirs.
pub(crate) fn is_identity(e: &(dyn StdError + 'static)) -> bool {
    use rustls::AlertDescription as A;
    let mut next: Option<&(dyn StdError + 'static)> = Some(e);
    while let Some(e) = next {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::UnsupportedNameType => true,
                rustls::Error::AlertReceived(a) => matches!(
                    a,
                    A::BadCertificate
                        | A::UnsupportedCertificate
                        | A::CertificateRevoked
                        | A::CertificateExpired
                        | A::CertificateUnknown
                        | A::CertificateRequired
                        | A::UnknownCA
                        | A::AccessDenied
                ),
                _ => false,
            };
        }
        // An io::Error gives the causes of what it wraps, not what it wraps.
        if let Some(inner) = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && is_identity(inner)
        {
            return true;
        }
        next = e.source();
    }
    false
}
